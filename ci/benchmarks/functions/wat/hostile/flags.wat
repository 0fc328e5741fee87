;; Maps 64 MiB of state and flags it as changed in an endless loop; each flag compares all of it.
(module
    (import "env" "__faasm_read_state_ptr" (func $map (param i32 i32) (result i32)))
    (import "env" "__faasm_write_state" (func $write (param i32 i32 i32)))
    (import "env" "__faasm_flag_state_dirty" (func $flag (param i32 i32)))
    (memory (export "memory") 2100)
    (data (i32.const 16) "k\00")
    (func (export "malloc") (param i32) (result i32) (i32.const 67174400))
    (func (export "_start")
        (call $write (i32.const 16) (i32.const 65536) (i32.const 67108864))
        (drop (call $map (i32.const 16) (i32.const 67108864)))
        (loop $again
            (call $flag (i32.const 16) (i32.const 67108864))
            (br $again))))

;; Writes 16 MiB to one value after the other, and never pushes.
(module
    (import "env" "__faasm_write_state" (func $write (param i32 i32 i32)))
    (memory (export "memory") 260)
    (func (export "_start") (local $key i32)
        (loop $again
            (local.set $key (i32.add (local.get $key) (i32.const 1)))
            (i32.store8 (i32.const 16) (local.get $key))
            (call $write (i32.const 16) (i32.const 65536) (i32.const 16777216))
            (br_if $again (i32.lt_u (local.get $key) (i32.const 255))))))

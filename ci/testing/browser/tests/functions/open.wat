;; Writes 7 to state "gate". With an input: writes 0 and empties list "ticks".
(module
  (import "env" "__faasm_read_input" (func $input (param i32 i32) (result i32)))
  (import "env" "__faasm_clear_appended_state" (func $clear (param i32)))
  (import "env" "__faasm_write_state" (func $write (param i32 i32 i32)))
  (import "env" "__faasm_push_state" (func $push (param i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "ticks\00")
  (data (i32.const 8) "gate\00\07")
  (func (export "_start")
    (if (call $input (i32.const 0) (i32.const 0))
      (then
        (i32.store8 (i32.const 13) (i32.const 0))
        (call $clear (i32.const 0))))
    (call $write (i32.const 8) (i32.const 13) (i32.const 1))
    (call $push (i32.const 8))))

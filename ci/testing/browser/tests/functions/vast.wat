;; Gives state `vast` a size of 257 MiB, and pushes the single byte that it wrote.
(module
  (import "env" "__faasm_write_state_offset" (func $write (param i32 i32 i32 i32 i32)))
  (import "env" "__faasm_push_state" (func $push_state (param i32)))
  (memory (export "memory") 1)
  (data (i32.const 256) "vast\00")
  (func (export "_start")
    (call $write (i32.const 256) (i32.const 269484032) (i32.const 0) (i32.const 256) (i32.const 1))
    (call $push_state (i32.const 256))))

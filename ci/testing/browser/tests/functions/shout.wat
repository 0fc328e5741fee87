;; Writes its input to state `k`, and pushes it.
(module
  (import "env" "__faasm_read_input" (func $read_input (param i32 i32) (result i32)))
  (import "env" "__faasm_write_state" (func $write_state (param i32 i32 i32)))
  (import "env" "__faasm_push_state" (func $push_state (param i32)))
  (memory (export "memory") 1)
  (data (i32.const 256) "k\00")
  (func (export "_start")
    (call $write_state (i32.const 256) (i32.const 512) (call $read_input (i32.const 512) (i32.const 64)))
    (call $push_state (i32.const 256))))

;; Pulls state `mine/k`, and returns its first byte; 0 if the value does not exist.
(module
  (import "env" "__faasm_pull_state" (func $pull_state (param i32 i32)))
  (import "env" "__faasm_read_state" (func $read_state (param i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 256) "mine/k\00")
  (func (export "main") (result i32)
    (call $pull_state (i32.const 256) (i32.const 0))
    (drop (call $read_state (i32.const 256) (i32.const 512) (i32.const 64)))
    (i32.load8_u (i32.const 512))))

;; Pulls the state value named by the input and outputs it.
(module
  (import "env" "__faasm_read_input" (func $read_input (param i32 i32) (result i32)))
  (import "env" "__faasm_write_output" (func $write_output (param i32 i32)))
  (import "env" "__faasm_pull_state" (func $pull_state (param i32 i32)))
  (import "env" "__faasm_read_state" (func $read_state (param i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start")
    (drop (call $read_input (i32.const 1024) (i32.const 64)))
    (call $pull_state (i32.const 1024) (i32.const 0))
    (call $write_output
      (i32.const 2048)
      (call $read_state (i32.const 1024) (i32.const 2048) (i32.const 4096)))))

;; Its `malloc` tries to suspend by pulling a state value. The host is inside a host call and must reject it.
(module
  (import "env" "__faasm_chain_name" (func $chain (param i32 i32 i32) (result i32)))
  (import "env" "__faasm_await_call_output" (func $await (param i32 i32 i32) (result i32)))
  (import "env" "__faasm_pull_state" (func $pull (param i32 i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "echo\00k\00")
  (func (export "malloc") (param i32) (result i32)
    (call $pull (i32.const 21) (i32.const 4))
    (i32.const 1024))
  (func (export "_start")
    (drop (call $await
      (call $chain (i32.const 16) (i32.const 16) (i32.const 4)) (i32.const 0) (i32.const 4)))))

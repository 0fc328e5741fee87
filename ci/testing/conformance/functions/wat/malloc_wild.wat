;; Its `malloc` returns an address outside memory.
(module
  (import "env" "__faasm_chain_name" (func $chain (param i32 i32 i32) (result i32)))
  (import "env" "__faasm_await_call_output" (func $await (param i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "echo\00")
  (func (export "malloc") (param i32) (result i32) (i32.const 65534))
  (func (export "_start")
    (drop (call $await
      (call $chain (i32.const 16) (i32.const 16) (i32.const 4)) (i32.const 0) (i32.const 4)))))

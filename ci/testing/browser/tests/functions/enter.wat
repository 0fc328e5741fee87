;; Chains "gate" in the cluster, awaits it, and returns its return value.
(module
  (import "env" "__faasm_chain_name" (func $chain (param i32 i32 i32) (result i32)))
  (import "env" "__faasm_await_call" (func $await (param i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "gate\00")
  (func (export "main") (result i32)
    (call $await (call $chain (i32.const 0) (i32.const 0) (i32.const 0)))))

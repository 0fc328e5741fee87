;; Chains itself without end, and returns one more than the return value of that call.
(module
  (import "env" "__faasm_chain_ptr" (func $chain (param i32 i32 i32) (result i32)))
  (import "env" "__faasm_await_call" (func $await (param i32) (result i32)))
  (memory (export "memory") 1)
  (table (export "table") 2 2 funcref)
  (elem (i32.const 1) $down)
  (func $down (result i32)
    (i32.add (i32.const 1) (call $await (call $chain (i32.const 1) (i32.const 0) (i32.const 0)))))
  (func (export "main") (result i32) (call $down)))

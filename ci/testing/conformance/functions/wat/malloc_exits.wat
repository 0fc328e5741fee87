;; Its `malloc` exits.
(module
  (import "env" "__faasm_chain_name" (func $chain (param i32 i32 i32) (result i32)))
  (import "env" "__faasm_await_call_output" (func $await (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "echo\00")
  (func (export "malloc") (param i32) (result i32) (call $exit (i32.const 33)) (unreachable))
  (func (export "_start")
    (drop (call $await
      (call $chain (i32.const 16) (i32.const 16) (i32.const 4)) (i32.const 0) (i32.const 4)))))

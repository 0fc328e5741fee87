;; Its `malloc` makes host calls that do not block, one of them a call that may block.
(module
  (import "env" "__faasm_chain_name" (func $chain (param i32 i32 i32) (result i32)))
  (import "env" "__faasm_await_call" (func $await_value (param i32) (result i32)))
  (import "env" "__faasm_await_call_output" (func $await (param i32 i32 i32) (result i32)))
  (import "env" "__faasm_conf_flag" (func $flag (param i32) (result i32)))
  (import "env" "__faasm_write_output" (func $write_output (param i32 i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "echo\00ALWAYS_ON\00")
  (func (export "malloc") (param i32) (result i32)
    ;; 1000 + 24 * 1 * 1: a flag that is set, and an unknown call id, whose await returns at once.
    (i32.add (i32.const 1000)
      (i32.mul (i32.const 24)
        (i32.mul (call $flag (i32.const 21)) (call $await_value (i32.const 77))))))
  (func (export "_start")
    (drop (call $await
      (call $chain (i32.const 16) (i32.const 16) (i32.const 4)) (i32.const 0) (i32.const 4)))
    (call $write_output (i32.load (i32.const 0)) (i32.load (i32.const 4)))
    (call $exit (i32.sub (i32.load (i32.const 0)) (i32.const 1000)))))

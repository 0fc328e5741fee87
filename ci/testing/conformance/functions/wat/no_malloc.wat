;; Awaits the output of `echo`, exports no `malloc`, copies the output over a text, and returns its length. An empty
;; output needs no memory.
(module
  (import "env" "__faasm_read_input" (func $read_input (param i32 i32) (result i32)))
  (import "env" "__faasm_write_output" (func $write_output (param i32 i32)))
  (import "env" "__faasm_chain_name" (func $chain (param i32 i32 i32) (result i32)))
  (import "env" "__faasm_await_call_output" (func $await (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "echo\00awaited")
  (func (export "_start") (local $size i32)
    (local.set $size (call $read_input (i32.const 100) (i32.const 50)))
    ;; Pointer and length of the output, which the call overwrites.
    (i32.store (i32.const 0) (i32.const 7))
    (i32.store (i32.const 4) (i32.const 7))
    (drop (call $await
      (call $chain (i32.const 16) (i32.const 100) (local.get $size)) (i32.const 0) (i32.const 4)))
    (memory.copy (i32.const 21) (i32.load (i32.const 0)) (i32.load (i32.const 4)))
    (call $write_output (i32.const 21) (i32.const 7))
    (call $exit (i32.load (i32.const 4)))))

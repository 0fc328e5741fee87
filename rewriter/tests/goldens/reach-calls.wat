;; RUN: reach
;; Direct calls, recursion, and functions that only seem to suspend.
(module
  (import "env" "__faasm_await_call" (func $await (param i32) (result i32)))
  (import "env" "__faasm_read_input" (func $input (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func $leaf (result i32) (call $await (i32.const 1)))
  (func $caller (result i32) (call $leaf))
  (func $recursive (param i32) (result i32)
    (if (result i32) (local.get 0)
      (then (call $mutual (i32.sub (local.get 0) (i32.const 1))))
      (else (call $caller))))
  (func $mutual (param i32) (result i32) (call $recursive (local.get 0)))
  (func $reads (result i32) (call $input (i32.const 0) (i32.const 0)))
  (func $unused (result i32) (call $reads))
  (func (export "_start") (drop (call $recursive (i32.const 3))) (drop (call $reads))))

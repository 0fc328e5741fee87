;; RUN: reach
(module
  (import "env" "__faasm_await_call" (func $await (param i32) (result i32)))
  (memory 1)
  (table 2 funcref)
  (elem (i32.const 0) func $waits $plain)
  (func $plain (param i32 i32) (result i32) (local.get 0))
  (func $waits (param i32) (result i32) (return_call $await (local.get 0)))
  (func $by_pointer (param i32) (result i32)
    (return_call_indirect (param i32) (result i32) (i32.const 7) (local.get 0)))
  (func $elsewhere (param i32) (result i32)
    (return_call_indirect (param i32 i32) (result i32) (i32.const 7) (i32.const 7) (local.get 0)))
  (func $forever (return_call $forever))
  (func (export "_start") (drop (call $by_pointer (i32.const 0)))))

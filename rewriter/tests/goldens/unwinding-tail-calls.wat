;; RUN: unwinding
;; In a function that can suspend, tail calls become plain ones; `$forever` keeps its own.
(module
  (import "env" "__faasm_await_call" (func $await (param i32) (result i32)))
  (memory 1)
  (func $waits (param i32) (result i32) (return_call $await (local.get 0)))
  (func $forever (return_call $forever))
  (func (export "_start") (drop (call $waits (i32.const 0)))))

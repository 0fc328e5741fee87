;; RUN: unwinding
;; `$even` and `$odd` call each other before they wait, one of them by pointer.
(module
  (import "env" "__faasm_await_call" (func $await (param i32) (result i32)))
  (memory 1)
  (table 1 funcref)
  (elem (i32.const 0) func $odd)
  (func $even (param i32) (result i32)
    (if (local.get 0) (then (return (call_indirect (param i32) (result i32)
      (i32.sub (local.get 0) (i32.const 1)) (i32.const 0)))))
    (call $await (i32.const 1)))
  (func $odd (param i32) (result i32) (call $even (i32.sub (local.get 0) (i32.const 1))))
  (func (export "_start") (drop (call $even (i32.const 6)))))

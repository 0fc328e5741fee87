;; RUN: reach
;; The import is there, and nothing calls it: Binaryen would take an empty list for everything.
(module
  (import "env" "__faasm_await_call" (func $await (param i32) (result i32)))
  (memory (export "memory") 1)
  (table 1 funcref)
  (elem (i32.const 0) $pure)
  (func $pure)
  (func (export "_start") (call_indirect (i32.const 0))))

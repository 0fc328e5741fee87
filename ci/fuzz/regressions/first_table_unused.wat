;; The first table is dropped, so that the second one gets its number.
(module
  (import "env" "__faasm_await_call" (func $await (param i32) (result i32)))
  (memory 1)
  (table $unused 4 externref)
  (table $used 2 funcref)
  (elem (table $used) (i32.const 1) func $await)
  (func (export "_start")
    (drop (call_indirect $used (param i32) (result i32) (i32.const 1) (i32.const 1)))))

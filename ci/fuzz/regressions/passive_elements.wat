;; A passive segment of functions requires bulk operations, but Binaryen requires reference types for it.
(module
  (import "env" "__faasm_await_call" (func $await (param i32) (result i32)))
  (memory 1)
  (table 1 funcref)
  (elem func $await)
  (func (export "_start") (drop (call $await (i32.const 1)))))

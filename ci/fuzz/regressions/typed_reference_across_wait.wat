;; A reference that is known to be of one function is kept while the function waits: without typed references, a local for it is of any
;; function's type.
(module
  (import "env" "__faasm_await_call" (func $await (param i32) (result i32)))
  (memory (export "memory") 1)
  (table (export "table") 1 externref)
  (table $functions 1 funcref)
  (elem declare func $f)
  (func $f)
  (func (export "_start")
    (i32.const 0)
    (ref.func $f)
    (block (drop (call $await (i32.const 1))))
    (table.set $functions)))

;; An unused table: Binaryen drops it together with its contents.
(module
  (import "env" "__faasm_await_call" (func $await (param i32) (result i32)))
  (memory 1)
  (table $used 1 funcref)
  (table $unused 2 funcref)
  (elem (table $unused) (i32.const 1) func $await)
  (func (export "_start") (drop (call $await (i32.const 1)))))

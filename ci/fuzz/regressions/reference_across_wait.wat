;; A reference lives across a wait.
(module
  (import "env" "__faasm_await_call" (func $await (param i32) (result i32)))
  (memory 1)
  (table $table 2 funcref)
  (elem (i32.const 0) func $await)
  (func (export "_start") (local $kept funcref)
    (local.set $kept (table.get $table (i32.const 0)))
    (drop (call $await (i32.const 1)))
    (table.set $table (i32.const 1) (local.get $kept))))

;; RUN: instrument
;; The result of Asyncify after outlining, polishing and `-O2`: `$waits` saves a local, `$plain` and its call by pointer
;; are unchanged.
(module
  (import "env" "__faasm_await_call" (func $await (param i32) (result i32)))
  (memory (export "memory") 1)
  (table 2 funcref)
  (elem (i32.const 1) $plain)
  (global $sum (mut i32) (i32.const 0))
  (func $plain (param i64) (global.set $sum (i32.wrap_i64 (local.get 0))))
  (func $waits (export "_start")
    (local $kept i32)
    (local.set $kept (global.get $sum))
    (drop (call $await (i32.const 1)))
    (call_indirect (param i64) (i64.const 5) (global.get $sum))
    (global.set $sum (i32.add (local.get $kept) (call $await (local.get $kept))))
    (memory.grow (i32.const 1))
    (drop)))

;; RUN: own
;; Calls by pointer: to find the same function again, the index is kept.
(module
  (type $takes (func (param i32) (result i32)))
  (import "env" "__faasm_await_call" (func $await (param i32) (result i32)))
  (memory (export "memory") 1)
  (table 4 funcref)
  (elem (i32.const 0) $wait $twice $await)
  (data (i32.const 8) "\01\00\00\00")
  (global $sum (export "sum") (mut i32) (i32.const 0))
  (func $wait (param i32) (result i32) (i32.add (i32.const 1) (call $await (local.get 0))))
  (func $twice (param i32) (result i32)
    (call_indirect (type $takes) (call_indirect (type $takes) (local.get 0) (i32.const 0)) (local.get 0)))
  (func $pointer (param $at i32) (result i32)
    ;; What the pointer lies in is overwritten before the call is over.
    (i32.store (i32.const 12) (i32.const 2))
    (i32.add
      (i32.load (i32.const 16))
      (call_indirect (type $takes) (i32.const 2) (i32.load (local.get $at)))))
  (func (export "_start")
    (global.set $sum (call $pointer (i32.const 8)))
    (global.set $sum (i32.add (global.get $sum) (call $pointer (i32.const 12))))))

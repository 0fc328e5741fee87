;; RUN: own-whole
;; Calls in a row. One function has one call that can suspend, so that it needs no number; one has four, some with values below
;; their arguments. `$plain` is copied.
(module
  (import "env" "__faasm_await_call" (func $await (param i32) (result i32)))
  (memory (export "memory") 1)
  (global $sum (export "sum") (mut i32) (i32.const 0))
  (func $plain (param i32) (global.set $sum (i32.add (global.get $sum) (local.get 0))))
  (func $one (param $kept i64) (result i64)
    (call $plain (call $await (i32.wrap_i64 (local.get $kept))))
    (local.get $kept))
  (func (export "_start") (local $x i32) (local $f f64)
    (local.set $x (i32.const 5))
    (local.set $f (f64.const 2.5))
    ;; A number and a local are made again; what was in memory is kept.
    (i32.store offset=4
      (i32.const 16)
      (i32.sub (i32.load (i32.const 16)) (i32.add (local.get $x) (call $await (local.get $x)))))
    (f64.store (i32.const 24) (f64.add (local.get $f) (f64.convert_i32_s (call $await (i32.const 7)))))
    ;; Arguments that are made by calls.
    (call $plain (i32.mul (call $await (i32.const 1)) (call $await (i32.const 2))))
    (i64.store (i32.const 32) (call $one (i64.const 9)))))

;; RUN: own
;; Blocks, alternatives and a switch that hold calls: they begin where the function does. With parameters and results, and with values
;; around them.
(module
  (import "env" "__faasm_await_call" (func $await (param i32) (result i32)))
  (memory (export "memory") 1)
  (global $sum (export "sum") (mut i32) (i32.const 0))
  (func $choose (param $which i32) (result i32)
    (i32.add
      (i32.load (i32.const 8))
      (if (result i32) (i32.and (local.get $which) (i32.const 1))
        (then (i32.add (local.get $which) (call $await (i32.const 1))))
        (else
          (local.set $which (i32.const 3))
          (i32.sub (call $await (i32.const 2)) (local.get $which))))))
  (func $params (param $which i32) (result i32) (local $kept i32)
    (local.get $which)
    (local.tee $kept (i32.load (i32.const 4)))
    (local.get $which)
    (if (param i32 i32) (result i32 i32)
      (then (call $await) (local.set $kept (i32.const 2)))
      (else (i32.const 1) (i32.add) (call $await) (i32.add) (i32.const 4)))
    (i32.mul)
    (local.get $which)
    (if (param i32) (result i32) (then (call $await)))
    (block (param i32) (result i32)
      (br_if 0 (local.get $kept))
      (call $await (i32.const 3))
      (i32.add))
    (local.get $kept)
    (i32.xor))
  (func $switch (param $which i32) (result i32)
    (block $end (result i32)
      (block $two
        (block $one
          (block $zero (br_table $zero $one $two (local.get $which)))
          (br $end (call $await (i32.const 10))))
        (drop (call $await (i32.const 11))))
      (i32.const 12)))
  (func (export "_start") (local $i i32)
    (loop $next
      (global.set $sum (i32.add (i32.mul (global.get $sum) (i32.const 31))
        (i32.add (call $choose (local.get $i))
          (i32.add (call $params (local.get $i)) (call $switch (local.get $i))))))
      (br_if $next (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 4))))))

;; Suspends as many times as the input says, two calls below the entry, with live locals in each function.
(module
  (import "env" "__faasm_await_call" (func $await (param i32) (result i32)))
  (memory (export "memory") 1)
  (func $inner (param $call i32) (result i32)
    (i32.add (call $await (local.get $call)) (local.get $call)))
  (func $outer (param $call i32) (param $sum i32) (result i32)
    (i32.xor (call $inner (local.get $call)) (local.get $sum)))
  (func (export "_start")
    (local $left i32) (local $sum i32)
    (local.set $left (i32.load (i32.const 0)))
    (loop $again
      (if (local.get $left)
        (then
          (local.set $sum (call $outer (local.get $left) (local.get $sum)))
          (local.set $left (i32.sub (local.get $left) (i32.const 1)))
          (br $again))))
    (i32.store (i32.const 4) (local.get $sum))))

;; Suspends in every kind of control flow: branch tables, both arms of an if, an indirect call, a chain of calls. The
;; output lists the visited points.
(module
  (type $step (func (param i32) (result i32)))
  (import "env" "__faasm_pull_state" (func $pull (param i32 i32)))
  (import "env" "__faasm_write_output" (func $write_output (param i32 i32)))
  (memory (export "memory") 1)
  (table 4 funcref)
  (elem (i32.const 1) $a $b)
  (data (i32.const 500) "k\00")
  (global $length (mut i32) (i32.const 0))
  (func $wait (call $pull (i32.const 500) (i32.const 4)))
  (func $mark (param $letter i32)
    (i32.store8 (global.get $length) (local.get $letter))
    (global.set $length (i32.add (global.get $length) (i32.const 1))))
  (func $a (type $step) (call $mark (i32.const 97)) (call $wait) (i32.mul (local.get 0) (i32.const 3)))
  (func $b (type $step) (call $wait) (call $mark (i32.const 98)) (i32.add (local.get 0) (i32.const 5)))
  (func $choose (param $n i32)
    (block $two
      (block $one
        (block $zero
          (br_table $zero $one $two (local.get $n)))
        (call $wait) (call $mark (i32.const 48)) (return))
      (call $mark (i32.const 49)) (call $wait) (return))
    (call $wait) (call $mark (i32.const 50)) (call $wait))
  (func $arms (param $n i32)
    (if (local.get $n)
      (then (call $wait) (call $mark (i32.const 84)))
      (else (call $mark (i32.const 70)) (call $wait))))
  (func (export "_start") (local $n i32)
    (loop $next
      (call $choose (local.get $n))
      (local.set $n (i32.add (local.get $n) (i32.const 1)))
      (br_if $next (i32.lt_u (local.get $n) (i32.const 4))))
    (call $arms (i32.const 1))
    (call $arms (i32.const 0))
    (call $mark (i32.add (i32.const 60)
      (call_indirect (type $step) (call_indirect (type $step) (i32.const 4) (i32.const 1)) (i32.const 2))))
    (call $write_output (i32.const 0) (global.get $length))))

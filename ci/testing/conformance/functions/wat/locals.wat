;; Values of every type live across a suspension: as locals, on the operand stack, in globals, in nested blocks. The
;; output is the values afterwards, 8 or 16 bytes each.
(module
  (import "env" "__faasm_pull_state" (func $pull (param i32 i32)))
  (import "env" "__faasm_write_output" (func $write_output (param i32 i32)))
  (memory (export "memory") 1)
  (data (i32.const 200) "k\00")
  (global $kept (mut i64) (i64.const 0))
  (func $wait (call $pull (i32.const 200) (i32.const 4)))
  (func $seven (result i32) (call $wait) (i32.const 7))
  (func $two (param f32) (result i32 f32) (call $wait) (i32.const 2) (local.get 0))
  (func (export "_start") (local $i i32) (local $l i64) (local $f f32) (local $d f64) (local $v v128)
    (local.set $i (i32.const -5))
    (local.set $l (i64.const -6000000000))
    ;; NaNs with distinct payloads.
    (local.set $f (f32.const nan:0x200001))
    (local.set $d (f64.const nan:0x4000000000123))
    (local.set $v (v128.const i32x4 1 2 3 0xffffffff))
    (global.set $kept (i64.const 0x1122334455667788))
    (block $outer
      (loop $again
        (call $wait)
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br_if $outer (i32.eq (local.get $i) (i32.const -2)))
        (br $again)))
    (i64.store (i32.const 0) (i64.extend_i32_s (local.get $i)))
    (i64.store (i32.const 8) (local.get $l))
    (f32.store (i32.const 16) (local.get $f))
    (f64.store (i32.const 24) (local.get $d))
    (v128.store (i32.const 32) (local.get $v))
    (i64.store (i32.const 48) (global.get $kept))
    ;; Several operands are on the stack at the same time.
    (i32.store (i32.const 56)
      (i32.add (i32.mul (call $seven) (i32.const 10)) (i32.sub (call $seven) (call $seven))))
    (call $two (f32.const 1.5))
    (local.set $f)
    (local.set $i)
    (f32.store (i32.const 60) (f32.add (local.get $f) (f32.convert_i32_s (local.get $i))))
    (call $write_output (i32.const 0) (i32.const 64))))

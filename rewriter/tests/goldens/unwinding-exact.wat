;; RUN: unwinding
;; The heaviest path counts: through `$heavy`, although the path through `$light` has more calls.
(module
  (import "env" "__faasm_await_call" (func $await (param i32) (result i32)))
  (memory 1)
  (func $leaf (param i32) (result i32) (call $await (local.get 0)))
  (func $light_leaf (param i32) (result i32) (i32.add (i32.const 1) (call $leaf (local.get 0))))
  (func $light (param i32) (result i32) (i32.add (i32.const 1) (call $light_leaf (local.get 0))))
  (func $heavy (param i32 i64 f64 f32 i64 i64 i64 i64 i64 i64) (result f64)
    (f64.add (f64.add (f64.convert_i32_s (call $leaf (local.get 0))) (local.get 2))
      (f64.add (f64.promote_f32 (local.get 3))
        (f64.convert_i64_s (i64.add (i64.add (local.get 4) (i64.add (local.get 5) (local.get 6)))
          (i64.add (i64.mul (local.get 1) (local.get 7)) (i64.add (local.get 8) (local.get 9))))))))
  (func (export "_start")
    (drop (call $light (i32.const 1)))
    (drop (call $heavy (i32.const 2) (i64.const 3) (f64.const 4) (f32.const 5) (i64.const 6)
      (i64.const 7) (i64.const 8) (i64.const 9) (i64.const 10) (i64.const 11)))))

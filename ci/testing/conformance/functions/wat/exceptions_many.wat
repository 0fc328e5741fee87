;; More exceptions than fit in memory. Each is freed before the next, except the last hundred, which a table holds.
(module
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (tag $number (param i32 i64 f64))
  (table $held 100 exnref)
  (func $throw (param i32) (throw $number (local.get 0) (i64.const 1) (f64.const 1)))
  (func $catches (param i32) (result exnref)
    (block $any (result exnref)
      (try_table (catch_all_ref $any) (call $throw (local.get 0)))
      (unreachable)))
  (func $value (param exnref) (result i32) (local $value i32)
    (block $caught (result i32 i64 f64)
      (try_table (catch $number $caught) (throw_ref (local.get 0)))
      (unreachable))
    (drop) (drop) (local.set $value)
    (local.get $value))
  (func (export "_start") (local $at i32)
    (loop $next
      (table.set $held (i32.rem_u (local.get $at) (i32.const 100)) (call $catches (local.get $at)))
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (br_if $next (i32.lt_u (local.get $at) (i32.const 200000))))
    ;; The exception of iteration 199 942.
    (call $exit (i32.sub (call $value (table.get $held (i32.const 42))) (i32.const 199900)))))

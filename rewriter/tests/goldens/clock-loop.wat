;; RUN: normalise
;; RUN: reach
;; Loops that poll a clock: two of Emscripten's sleep, in this version and in later ones, and three others: one in seconds,
;; one whose clock has another effect, one with other code in the loop.
(module
  (import "wasi_snapshot_preview1" "clock_time_get" (func $clock_time_get (param i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "sched_yield" (func $sched_yield (result i32)))
  (memory (export "memory") 1)
  (global $stack (mut i32) (i32.const 1024))
  (func $clock (result i32)
    (global.set $stack (i32.sub (global.get $stack) (i32.const 16)))
    (drop (call $clock_time_get (i32.const 2) (i64.const 1) (global.get $stack)))
    (i32.wrap_i64 (i64.div_u (i64.load (global.get $stack)) (i64.const 1000)))
    (global.set $stack (i32.add (global.get $stack) (i32.const 16))))
  (func $emscripten_get_now (result f64)
    (f64.div (f64.convert_i32_s (i32.mul (call $clock) (i32.const 1000))) (f64.const 1e6)))
  (func $emscripten_get_now_later (result f64)
    (f64.div
      (f64.convert_i64_s (i64.mul (i64.extend_i32_s (call $clock)) (i64.const 1000)))
      (f64.const 1e6)))
  (func $seconds (result f64) (f64.div (f64.convert_i32_s (call $clock)) (f64.const 1e6)))
  (func $now_and_yield (result f64)
    (drop (call $sched_yield))
    (f64.div (f64.convert_i32_s (i32.mul (call $clock) (i32.const 1000))) (f64.const 1e6)))
  (func $sleeps (param $ms f64) (local $start f64)
    (local.set $start (call $emscripten_get_now))
    (loop $again
      (br_if $again
        (f64.lt (f64.sub (call $emscripten_get_now) (local.get $start)) (local.get $ms)))))
  (func $sleeps_later (param $ms f64) (local $start f64)
    (if (f64.gt (local.get $ms) (f64.const 1))
      (then
        (local.set $start (call $emscripten_get_now_later))
        (loop $again
          (br_if $again
            (f64.lt (f64.sub (call $emscripten_get_now_later) (local.get $start)) (local.get $ms)))))))
  (func $polls_seconds (param $s f64) (local $start f64)
    (local.set $start (call $seconds))
    (loop $again
      (br_if $again (f64.lt (f64.sub (call $seconds) (local.get $start)) (local.get $s)))))
  (func $polls_and_yields (param $ms f64) (local $start f64)
    (local.set $start (call $now_and_yield))
    (loop $again
      (br_if $again (f64.lt (f64.sub (call $now_and_yield) (local.get $start)) (local.get $ms)))))
  (func $works (param $ms f64) (local $start f64)
    (local.set $start (call $emscripten_get_now))
    (loop $again
      (i32.store (i32.const 0) (i32.add (i32.load (i32.const 0)) (i32.const 1)))
      (br_if $again
        (f64.lt (f64.sub (call $emscripten_get_now) (local.get $start)) (local.get $ms)))))
  (func (export "_start")
    (call $sleeps (f64.const 2))
    (call $sleeps_later (f64.const 2))
    (call $polls_seconds (f64.const 0.001))
    (call $polls_and_yields (f64.const 2))
    (call $works (f64.const 2))))

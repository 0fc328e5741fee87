;; Sleeps for 200 ms like a standalone program of Emscripten: it reads the clock until they have passed.
(module
  (import "wasi_snapshot_preview1" "clock_time_get" (func $clock_time_get (param i32 i64 i32) (result i32)))
  (memory (export "memory") 1)
  (func $clock (result i32)
    (drop (call $clock_time_get (i32.const 2) (i64.const 1) (i32.const 16)))
    (i32.wrap_i64 (i64.div_u (i64.load (i32.const 16)) (i64.const 1000))))
  (func $emscripten_get_now (result f64)
    (f64.div
      (f64.convert_i64_s (i64.mul (i64.extend_i32_s (call $clock)) (i64.const 1000)))
      (f64.const 1e6)))
  (func $emscripten_thread_sleep (param $milliseconds f64) (local $start f64)
    (local.set $start (call $emscripten_get_now))
    (loop $again
      (br_if $again
        (f64.lt (f64.sub (call $emscripten_get_now) (local.get $start)) (local.get $milliseconds)))))
  (func (export "_start") (call $emscripten_thread_sleep (f64.const 200))))

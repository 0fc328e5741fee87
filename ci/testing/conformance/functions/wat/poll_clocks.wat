;; Waits for two clocks at once: 20 ms from now (user data 1), and an absolute time ten seconds away (user data 2).
;; Exits with ten times the number of events plus the user data of the first.
(module
  (import "wasi_snapshot_preview1" "clock_time_get" (func $now (param i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (func (export "_start")
    ;; Both are subscriptions to the monotonic clock, which is 1.
    (i64.store (i32.const 0) (i64.const 1))
    (i32.store (i32.const 16) (i32.const 1))
    (i64.store (i32.const 24) (i64.const 20000000))
    (i64.store (i32.const 48) (i64.const 2))
    (i32.store (i32.const 64) (i32.const 1))
    (drop (call $now (i32.const 1) (i64.const 1) (i32.const 500)))
    (i64.store (i32.const 72) (i64.add (i64.load (i32.const 500)) (i64.const 10000000000)))
    (i32.store16 (i32.const 88) (i32.const 1))
    (if (call $poll (i32.const 0) (i32.const 200) (i32.const 2) (i32.const 400))
      (then (call $exit (i32.const -1))))
    (call $exit
      (i32.add (i32.mul (i32.load (i32.const 400)) (i32.const 10)) (i32.load (i32.const 200))))))

;; Sleeps for 300 ms, then exits with 7.
(module
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  ;; A subscription: user data, clock (0), monotonic (1), timeout, precision, relative.
  (data (i32.const 1024) "\01\00\00\00\00\00\00\00" "\00\00\00\00\00\00\00\00" "\01\00\00\00\00\00\00\00"
    "\00\a3\e1\11\00\00\00\00")
  (func (export "_start")
    (drop (call $poll (i32.const 1024) (i32.const 2048) (i32.const 1) (i32.const 4096)))
    (call $exit (i32.add (i32.const 6) (i32.load (i32.const 4096))))))

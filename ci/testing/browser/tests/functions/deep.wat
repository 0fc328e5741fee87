;; Sleeps at the bottom of 500 nested calls, each of which keeps a value; exits with their sum.
(module
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (data (i32.const 1024) "\01\00\00\00\00\00\00\00" "\00\00\00\00\00\00\00\00" "\01\00\00\00\00\00\00\00"
    "\40\42\0f\00\00\00\00\00")
  (func $down (param $level i32) (result i32)
    (if (result i32) (local.get $level)
      (then (i32.add (local.get $level) (call $down (i32.sub (local.get $level) (i32.const 1)))))
      (else (call $poll (i32.const 1024) (i32.const 2048) (i32.const 1) (i32.const 4096)))))
  (func (export "_start") (call $exit (call $down (i32.const 500)))))

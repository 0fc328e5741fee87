;; Reports that it sleeps, and sleeps for a minute.
(module
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 512) "\08\02\00\00\08\00\00\00" "napping\n")
  (data (i32.const 1024) "\01\00\00\00\00\00\00\00" "\00\00\00\00\00\00\00\00" "\01\00\00\00\00\00\00\00"
    "\00\58\47\f8\0d\00\00\00")
  (func (export "_start")
    (drop (call $write (i32.const 1) (i32.const 512) (i32.const 1) (i32.const 4096)))
    (drop (call $poll (i32.const 1024) (i32.const 2048) (i32.const 1) (i32.const 4096)))))

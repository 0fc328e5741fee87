;; Prints for ever, and never waits.
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 512) "\08\02\00\00\03\00\00\00" "on\n")
  (func (export "_start")
    (loop $on
      (drop (call $write (i32.const 1) (i32.const 512) (i32.const 1) (i32.const 4096)))
      (br $on))))

;; Chains a call that chains a one-minute sleep and returns without awaiting it; awaits the first, reports that, and
;; returns, or also sleeps for a minute if its input is not empty.
(module
  (import "env" "__faasm_chain_ptr" (func $chain (param i32 i32 i32) (result i32)))
  (import "env" "__faasm_await_call" (func $await (param i32) (result i32)))
  (import "env" "__faasm_read_input" (func $read_input (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (table 3 3 funcref)
  (elem (i32.const 1) $branch $leaf)
  (data (i32.const 1024) "\01\00\00\00\00\00\00\00" "\00\00\00\00\00\00\00\00" "\01\00\00\00\00\00\00\00"
    "\00\58\47\f8\0d\00\00\00")
  (data (i32.const 512) "\08\02\00\00\08\00\00\00" "awaited\n")
  (func $leaf (result i32)
    (call $poll (i32.const 1024) (i32.const 2048) (i32.const 1) (i32.const 4096)))
  (func $branch (result i32)
    (drop (call $chain (i32.const 2) (i32.const 0) (i32.const 0)))
    (i32.const 0))
  (func (export "_start")
    (drop (call $await (call $chain (i32.const 1) (i32.const 0) (i32.const 0))))
    (drop (call $write (i32.const 1) (i32.const 512) (i32.const 1) (i32.const 4096)))
    (if (call $read_input (i32.const 0) (i32.const 0))
      (then (drop (call $poll (i32.const 1024) (i32.const 2048) (i32.const 1) (i32.const 4096)))))))

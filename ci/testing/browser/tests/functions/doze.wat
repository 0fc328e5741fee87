;; Chains a call that sleeps for a minute in the cluster, reports that, and sleeps for a minute itself without awaiting
;; it.
(module
  (import "env" "__faasm_chain_ptr" (func $chain (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (table 2 2 funcref)
  (elem (i32.const 1) $callee)
  (data (i32.const 1024) "\01\00\00\00\00\00\00\00" "\00\00\00\00\00\00\00\00" "\01\00\00\00\00\00\00\00"
    "\00\58\47\f8\0d\00\00\00")
  (data (i32.const 512) "\08\02\00\00\07\00\00\00" "dozing\n")
  (func $callee (result i32)
    (call $poll (i32.const 1024) (i32.const 2048) (i32.const 1) (i32.const 4096)))
  (func (export "_start")
    (drop (call $chain (i32.const 1) (i32.const 0) (i32.const 0)))
    (drop (call $write (i32.const 1) (i32.const 512) (i32.const 1) (i32.const 4096)))
    (drop (call $callee))))

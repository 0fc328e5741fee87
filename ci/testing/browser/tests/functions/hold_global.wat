;; Takes the cluster-wide lock of `k`, reports that, sleeps for 150 ms, writes the value, and releases the lock; if its
;; input is not empty, it traps instead of writing.
(module
  (import "env" "__faasm_lock_state_global" (func $lock (param i32)))
  (import "env" "__faasm_unlock_state_global" (func $unlock (param i32)))
  (import "env" "__faasm_write_state" (func $write_state (param i32 i32 i32)))
  (import "env" "__faasm_read_input" (func $read_input (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 256) "k\00")
  (data (i32.const 264) "held")
  (data (i32.const 512) "\08\02\00\00\07\00\00\00" "locked\n")
  (data (i32.const 1024) "\01\00\00\00\00\00\00\00" "\00\00\00\00\00\00\00\00" "\01\00\00\00\00\00\00\00"
    "\80\d1\f0\08\00\00\00\00")
  (func (export "_start")
    (call $lock (i32.const 256))
    (drop (call $write (i32.const 1) (i32.const 512) (i32.const 1) (i32.const 4096)))
    (drop (call $poll (i32.const 1024) (i32.const 2048) (i32.const 1) (i32.const 4096)))
    (if (call $read_input (i32.const 0) (i32.const 0)) (then unreachable))
    (call $write_state (i32.const 256) (i32.const 264) (i32.const 4))
    (call $unlock (i32.const 256))))

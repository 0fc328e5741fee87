;; Takes the cluster-wide lock of `k`, and outputs the value that it then has.
(module
  (import "env" "__faasm_lock_state_global" (func $lock (param i32)))
  (import "env" "__faasm_unlock_state_global" (func $unlock (param i32)))
  (import "env" "__faasm_read_state" (func $read_state (param i32 i32 i32) (result i32)))
  (import "env" "__faasm_write_output" (func $write_output (param i32 i32)))
  (memory (export "memory") 1)
  (data (i32.const 256) "k\00")
  (func (export "_start")
    (call $lock (i32.const 256))
    (call $write_output (i32.const 512) (call $read_state (i32.const 256) (i32.const 512) (i32.const 64)))
    (call $unlock (i32.const 256))))

;; Sleeps for a millisecond; if its input is not empty, then traps in `crate::fails_here`, called through a pointer.
(module
  (import "env" "__faasm_read_input" (func $read_input (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (table 2 funcref)
  (elem (i32.const 1) $"crate::fails_here")
  (data (i32.const 1024) "\01\00\00\00\00\00\00\00" "\00\00\00\00\00\00\00\00" "\01\00\00\00\00\00\00\00"
    "\40\42\0f\00\00\00\00\00")
  (func $"crate::fails_here" (param i32) (if (local.get 0) (then unreachable)))
  (func $_start (export "_start")
    (drop (call $poll (i32.const 1024) (i32.const 2048) (i32.const 1) (i32.const 4096)))
    ;; The slot is 1, and no optimiser can derive that.
    (call_indirect (param i32)
      (call $read_input (i32.const 0) (i32.const 0))
      (i32.load (i32.const 4096)))))

;; Atomic instructions on unshared memory.
(module
  (import "env" "__faasm_pull_state" (func $pull (param i32 i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "k\00")
  (func (export "_start")
    (i32.atomic.store (i32.const 64) (i32.const 40))
    (call $pull (i32.const 16) (i32.const 4))
    (drop (i32.atomic.rmw.add (i32.const 64) (i32.const 2)))
    (atomic.fence)
    (call $exit (i32.add
      (i32.atomic.load (i32.const 64))
      (memory.atomic.notify (i32.const 64) (i32.const 1))))))

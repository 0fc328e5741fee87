;; Exits from nested calls, after a suspension.
(module
  (import "env" "__faasm_pull_state" (func $pull (param i32 i32)))
  (import "env" "__faasm_write_output" (func $write_output (param i32 i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "k\00")
  (func $deep (param i32)
    (if (local.get 0)
      (then (call $deep (i32.sub (local.get 0) (i32.const 1))))
      (else
        (call $pull (i32.const 16) (i32.const 4))
        (call $write_output (i32.const 16) (i32.const 1))
        (call $exit (i32.const 300)))))
  (func (export "_start") (call $deep (i32.const 50)) (unreachable)))

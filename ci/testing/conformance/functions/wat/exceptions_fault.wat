;; A catch-all handler does not catch the failure of a host call that received a pointer outside memory.
(module
  (import "env" "__faasm_pull_state" (func $pull (param i32 i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (func (export "_start")
    (block $any (try_table (catch_all $any) (call $pull (i32.const -16) (i32.const 4))))
    (call $exit (i32.const 9))))

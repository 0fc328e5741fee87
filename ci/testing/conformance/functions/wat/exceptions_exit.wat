;; Catch-all handlers catch neither the exit of the program nor a trap.
(module
  (import "env" "__faasm_pull_state" (func $pull (param i32 i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (func (export "_start")
    (block $any (try_table (catch_all $any) (call $exit (i32.const 5))))
    (call $exit (i32.const 9))))

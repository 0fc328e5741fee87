;; Tables of external references, which a function can create only as null; one is live across a suspension.
(module
  (import "env" "__faasm_pull_state" (func $pull (param i32 i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (table $table 2 externref)
  (data (i32.const 16) "k\00")
  (func (export "_start") (local $kept externref)
    (drop (table.grow $table (ref.null extern) (i32.const 3)))
    (local.set $kept (table.get $table (i32.const 4)))
    (call $pull (i32.const 16) (i32.const 4))
    (table.set $table (i32.const 0) (local.get $kept))
    (call $exit (i32.add
      (table.size $table)
      (ref.is_null (table.get $table (i32.const 0)))))))

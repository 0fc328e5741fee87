;; Infinite recursion through functions that suspend on every level.
(module
  (import "env" "__faasm_pull_state" (func $pull (param i32 i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "k\00")
  (func $descend (param i32) (result i32)
    (if (i32.eqz (local.get 0)) (then (call $pull (i32.const 16) (i32.const 4))))
    (i32.add (call $descend (i32.add (local.get 0) (i32.const 1))) (i32.load (i32.const 0))))
  (func (export "_start") (drop (call $descend (i32.const 0)))))

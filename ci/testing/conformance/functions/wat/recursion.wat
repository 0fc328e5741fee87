;; Infinite recursion.
(module
  (import "env" "__faasm_write_output" (func $write_output (param i32 i32)))
  (memory (export "memory") 1)
  (func $descend (param i32) (result i32)
    (i32.add (call $descend (i32.add (local.get 0) (i32.const 1))) (i32.load (i32.const 0))))
  (func (export "_start")
    (i32.store (i32.const 0) (call $descend (i32.const 0)))
    (call $write_output (i32.const 0) (i32.const 4))))

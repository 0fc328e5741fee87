;; Its name section names one of its two data segments, but neither type nor table.
(module
  (import "env" "__faasm_pull_state" (func $pull (param i32 i32)))
  (import "env" "__faasm_write_output" (func $write_output (param i32 i32)))
  (memory (export "memory") 1)
  (data $named (i32.const 100) "named")
  (data (i32.const 500) "k\00")
  (func (export "_start")
    (call $pull (i32.const 500) (i32.const 4))
    (call $write_output (i32.const 100) (i32.const 5))))

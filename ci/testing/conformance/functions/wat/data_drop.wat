;; A passive segment that is only dropped, which an optimiser removes, next to one that is read.
(module
  (import "env" "__faasm_pull_state" (func $pull (param i32 i32)))
  (import "env" "__faasm_write_output" (func $write_output (param i32 i32)))
  (memory (export "memory") 1)
  (data $read "read")
  (data $dropped "dropped")
  (data (i32.const 500) "k\00")
  (func (export "_start")
    (call $pull (i32.const 500) (i32.const 4))
    (memory.init $read (i32.const 100) (i32.const 0) (i32.const 4))
    (data.drop $dropped)
    (call $write_output (i32.const 100) (i32.const 4))))

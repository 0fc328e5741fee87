;; Calls an import that only a cluster provides, after writing a mark to the state.
(module
  (import "env" "__faasm_write_state" (func $write (param i32 i32 i32)))
  (import "env" "__faasm_push_state" (func $push (param i32)))
  (import "env" "MPI_Init" (func $init (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "mark\00")
  (func (export "_start")
    (call $write (i32.const 0) (i32.const 0) (i32.const 4))
    (call $push (i32.const 0))
    (drop (call $init (i32.const 0) (i32.const 0)))))

;; Calls what only a cluster has.
(module
  (import "env" "MPI_Init" (func $init (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start") (drop (call $init (i32.const 0) (i32.const 0)))))

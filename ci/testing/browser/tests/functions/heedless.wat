;; Chains a function that does not exist, and ends without awaiting it.
(module
  (import "env" "__faasm_chain_name" (func $chain (param i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 8) "nobody\00")
  (func (export "_start") (drop (call $chain (i32.const 8) (i32.const 0) (i32.const 0)))))

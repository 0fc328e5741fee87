;; Imports its memory and its table, as dynamically linked modules do.
(module
  (import "env" "memory" (memory 2 8))
  (import "env" "__indirect_function_table" (table 4 funcref))
  (import "env" "__faasm_chain_ptr" (func $chain (param i32 i32 i32) (result i32)))
  (import "env" "__faasm_await_call" (func $await (param i32) (result i32)))
  (import "env" "__faasm_write_output" (func $write_output (param i32 i32)))
  (elem (i32.const 2) $callee)
  (data (i32.const 8) "imported")
  (func $callee (result i32) (i32.load8_u (i32.const 8)))
  (func (export "_start")
    (i32.store8 (i32.const 16)
      (call $await (call $chain (i32.const 2) (i32.const 0) (i32.const 0))))
    (call $write_output (i32.const 8) (i32.const 9))))

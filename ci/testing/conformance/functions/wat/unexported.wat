;; Exports only its entry; the host must still find memory and table.
(module
  (import "env" "__faasm_chain_ptr" (func $chain (param i32 i32 i32) (result i32)))
  (import "env" "__faasm_await_call" (func $await (param i32) (result i32)))
  (import "env" "__faasm_write_output" (func $write_output (param i32 i32)))
  (memory 1)
  (table 3 3 funcref)
  (elem (i32.const 1) $callee)
  (data (i32.const 8) "hidden")
  (func $callee (result i32) (i32.load8_u (i32.const 8)))
  (func (export "_start")
    (i32.store8 (i32.const 14) (call $await (call $chain (i32.const 1) (i32.const 0) (i32.const 0))))
    (call $write_output (i32.const 8) (i32.const 7))))

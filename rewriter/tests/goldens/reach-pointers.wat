;; RUN: reach
;; An indirect call leads only to functions of the table that have the signature.
(module
  (import "env" "__faasm_await_call" (func $await (param i32) (result i32)))
  (memory (export "memory") 1)
  (table (export "__indirect_function_table") 4 funcref)
  (elem (i32.const 1) $in_table_suspends $in_table_computes $other_signature)
  (type $unary (func (param i32) (result i32)))
  (type $nullary (func (result i32)))
  (type $binary (func (param i32 i32) (result i32)))
  (func $in_table_suspends (type $unary) (call $await (local.get 0)))
  (func $in_table_computes (type $unary) (local.get 0))
  (func $other_signature (type $binary) (i32.const 2))
  (func $not_in_table (type $nullary) (call $await (i32.const 1)))
  (func $calls_unary (result i32) (call_indirect (type $unary) (i32.const 5) (i32.const 1)))
  (func $calls_nullary (result i32) (call_indirect (type $nullary) (i32.const 1)))
  (func $calls_binary (result i32) (call_indirect (type $binary) (i32.const 5) (i32.const 6) (i32.const 3)))
  (func (export "_start")
    (drop (call $calls_unary)) (drop (call $calls_nullary)) (drop (call $calls_binary)) (drop (call $not_in_table))))

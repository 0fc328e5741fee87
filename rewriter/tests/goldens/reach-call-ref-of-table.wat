;; RUN: reach
;; If code reads a table, references can be of any function in tables.
(module
  (type $binary (func (param i32 i32) (result i32)))
  (import "env" "__faasm_await_call" (func $await (param i32) (result i32)))
  (memory 1)
  (table 8 funcref)
  (elem (i32.const 0) func $only_in_table)
  (func $only_in_table (param i32 i32) (result i32) (call $await (local.get 0)))
  (func $calls (param (ref $binary)) (result i32)
    (drop (table.get 0 (i32.const 1)))
    (call_ref $binary (i32.const 7) (i32.const 8) (local.get 0)))
  (func (export "_start")))

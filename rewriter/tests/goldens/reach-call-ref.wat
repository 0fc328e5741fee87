;; RUN: reach
;; If no code reads a table, references on the operand stack are of functions that `ref.func` takes.
(module
  (type $unary (func (param i32) (result i32)))
  (import "env" "__faasm_await_call" (func $await (param i32) (result i32)))
  (memory 1)
  (table 8 funcref)
  (elem (i32.const 0) func $only_in_table)
  (elem declare func $waits)
  (func $only_in_table (param i32 i32) (result i32) (call $await (local.get 0)))
  (func $waits (param i32) (result i32) (call $await (local.get 0)))
  (func $takes (result i32) (call $calls (ref.func $waits)))
  (func $calls (param (ref $unary)) (result i32) (call_ref $unary (i32.const 7) (local.get 0)))
  (type $binary (func (param i32 i32) (result i32)))
  (func $calls_others (param (ref $binary)) (result i32)
    (call_ref $binary (i32.const 7) (i32.const 8) (local.get 0)))
  (func $tail_calls (param (ref $unary)) (result i32)
    (return_call_ref $unary (i32.const 7) (local.get 0)))
  (func (export "_start")))

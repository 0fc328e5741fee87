;; RUN: faasm
;; Function pointers are chained through one that preserves their return values, as `main` does. The linker's wrapper of
;; `malloc` is not called.
(module
  (import "env" "__faasm_chain_ptr" (func $chain (param i32 i32 i32) (result i32)))
  (import "env" "__faasm_await_call" (func $await (param i32) (result i32)))
  (memory (export "memory") 1)
  (table (export "table") 5 funcref)
  (elem (i32.const 2) $value $number)
  (func $value (result i32) (i32.const 1))
  (func $number (param i32) (result i32) (local.get 0))
  (func $__wasm_call_ctors)
  (func $__wasm_call_dtors)
  (func $malloc (param i32) (result i32) (i32.const 16))
  (func $free (param i32))
  (func $malloc.command_export (export "malloc") (param i32) (result i32)
    (call $__wasm_call_ctors) (call $malloc (local.get 0)) (call $__wasm_call_dtors))
  (func $free.command_export (export "free") (param i32)
    (call $__wasm_call_ctors) (call $free (local.get 0)) (call $__wasm_call_dtors))
  (func (export "main") (result i32)
    (call $await (call $chain (i32.const 2) (i32.const 0) (i32.const 0)))))

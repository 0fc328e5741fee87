;; RUN: normalise
;; Older C library, --export=malloc, and no constructors: wrappers run destructors only.
;; Two calls in a row must not be taken for constructors and program.
(module
  (memory (export "memory") 1)
  (global $x (mut i32) (i32.const 0))
  (func $__wasm_call_dtors (global.set $x (i32.const 1)))
  (func $_start)
  (func $malloc (param i32) (result i32) (i32.const 1024))
  (func $_start.command_export (call $_start) (call $__wasm_call_dtors))
  (func $malloc.command_export (param i32) (result i32)
    (call $malloc (local.get 0))
    (call $__wasm_call_dtors))
  (export "_start" (func $_start.command_export))
  (export "malloc" (func $malloc.command_export)))

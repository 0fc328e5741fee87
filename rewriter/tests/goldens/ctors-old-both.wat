;; RUN: normalise
;; Older C library (its start file leaves constructors to the linker), linked with both exports:
;; nothing is wrapped, and no code runs them.
(module
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
  (memory (export "memory") 1)
  (table $functions 2 2 funcref)
  (elem (i32.const 1) $malloc)
  (global $runs (mut i32) (i32.const 0))
  (func $__wasm_call_ctors (global.set $runs (i32.add (global.get $runs) (i32.const 1))))
  (func $__wasm_call_dtors)
  (func $_start (call $proc_exit (global.get $runs)))
  (func $malloc (param i32) (result i32) (i32.const 1024))
  (export "_start" (func $_start))
  (export "__wasm_call_ctors" (func $__wasm_call_ctors))
  (export "malloc" (func $malloc))
)

;; RUN: normalise
;; Both the start function and the entry run the constructors: they run once.
(module
  (memory (export "memory") 1)
  (global $runs (mut i32) (i32.const 0))
  (func $__wasm_call_ctors
    (global.set $runs (i32.add (global.get $runs) (i32.const 1))))
  (func $_start (export "_start")
    (call $__wasm_call_ctors))
  (start $__wasm_call_ctors))

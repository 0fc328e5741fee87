;; RUN: normalise
;; A zygote beside a `_start` that runs the constructors: they run before the zygote, and once.
(module
  (memory (export "memory") 1)
  (global $runs (mut i32) (i32.const 0))
  (func $__wasm_call_ctors
    (global.set $runs (i32.add (global.get $runs) (i32.const 1))))
  (func $zygote (export "_faasm_zygote") (result i32)
    (global.get $runs))
  (func $_start (export "_start")
    (call $__wasm_call_ctors)))

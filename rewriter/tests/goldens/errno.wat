;; RUN: normalise
;; The address of `errno`, and a malloc that only its debug name identifies.
(module
  (memory (export "memory") 1)
  (func $__errno_location (result i32)
    (i32.const 4096))
  (func $malloc (param $bytes i32) (result i32)
    (i32.const 8192))
  (func (export "_start")
    (i32.store (call $__errno_location) (call $malloc (i32.const 1)))))

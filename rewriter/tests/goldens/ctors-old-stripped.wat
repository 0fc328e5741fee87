;; RUN: normalise
;; As ctors-old-malloc, without names: the wrappers are recognised because all exports have the same shape.
(module
  (memory (export "memory") 1)
  (global (mut i32) (i32.const 0))
  (func (global.set 0 (i32.const 1)))
  (func (global.set 0 (i32.const 2)))
  (func (global.set 0 (i32.const 3)))
  (func (param i32) (result i32) (i32.const 1024))
  (func (export "_start") (call 0) (call 2) (call 1))
  (func (export "malloc") (param i32) (result i32) (call 0) (call 3 (local.get 0)) (call 1)))

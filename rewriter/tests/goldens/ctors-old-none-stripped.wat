;; RUN: normalise
;; As ctors-old-none, without names.
(module
  (memory (export "memory") 1)
  (global (mut i32) (i32.const 0))
  (func (global.set 0 (i32.const 1)))
  (func (global.set 0 (i32.const 2)))
  (func (param i32) (result i32) (i32.const 1024))
  (func (export "_start") (call 1) (call 0))
  (func (export "malloc") (param i32) (result i32) (call 2 (local.get 0)) (call 0)))

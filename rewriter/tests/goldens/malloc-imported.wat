;; RUN: normalise
;; A `malloc` that was not linked is not an allocator, despite its name.
(module
  (import "env" "malloc" (func $malloc (param i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start")
    (drop (call $malloc (i32.const 1)))))

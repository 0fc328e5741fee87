;; RUN: normalise
;; RUN: warnings
;; Function pointers are chained, and the constructors cannot be identified.
(module
  (import "env" "__faasm_chain_ptr" (func (param i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (table 2 2 funcref)
  (elem (i32.const 1) 2)
  (global (mut i32) (i32.const 0))
  (func (global.set 0 (i32.const 1)))
  (func (result i32) (global.get 0))
  (func (export "_start")
    (call 1)
    (drop (call 0 (i32.const 1) (i32.const 0) (i32.const 0)))))

;; RUN: normalise
;; RUN: shim
;; RUN: buffer
;; Memory and table are imported. A function pointer keeps its number, an export its name.
(module
  (import "env" "memory" (memory 3 16))
  (import "env" "__faasm_await_call" (func $await (param i32) (result i32)))
  (import "env" "table" (table 4 10 funcref))
  (table $other 1 funcref)
  (elem (i32.const 1) $await $f)
  (elem (table $other) (i32.const 0) func $f)
  (data (i32.const 8) "data")
  (func $f (result i32) (i32.load8_u (i32.const 8)))
  (func (export "_start")
    (drop (memory.grow (i32.const 1)))
    (drop (call_indirect (result i32) (i32.const 2)))))

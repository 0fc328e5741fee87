;; RUN: normalise
;; RUN: buffer
;; A function that grows memory itself and exports no malloc, so that memory from the host has to lie behind a fence.
(module
  (import "env" "__faasm_await_call_output" (func $await (param i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func $grows (result i32)
    (drop (memory.grow (i32.const 1)))
    (memory.size))
  (func (export "_start")
    (drop (call $await (call $grows) (i32.const 0) (i32.const 4)))))

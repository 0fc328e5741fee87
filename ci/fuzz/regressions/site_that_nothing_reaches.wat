;; The only call that can suspend comes after a tail call: nothing reaches it, and the function is not instrumented, with asserts or
;; without.
(module
  (import "env" "__faasm_await_call" (func $await (param i32) (result i32)))
  (memory (export "memory") 1)
  (func $dead (export "dead") (return_call $plain) (drop (call $await (i32.const 1))))
  (func $plain)
  (func (export "_start") (drop (call $await (i32.const 2))) (call $dead)))

;; The code after a tail call is dead. It contains a suspension, which disappears once the tail call is outlined.
(module
  (import "env" "__faasm_await_call" (func $await (param i32) (result i32)))
  (memory 1)
  (func $loop (param i32) (result i32)
    (return_call $loop (i32.sub (local.get 0) (i32.const 1)))
    (drop (call $await (i32.const 0))))
  (func (export "_start") (drop (call $await (i32.const 1)))))

;; A block that begins with a value on the stack: valid with multi-value, and Binaryen 116 cannot read it.
(module
  (import "env" "__faasm_await_call" (func $await (param i32) (result i32)))
  (memory 1)
  (func (export "_start")
    (i32.const 1)
    (block (param i32) (result i32) (call $await))
    (drop)))

;; Segments as expressions, with a null reference: Binaryen 116 fails to parse them.
(module
  (import "env" "__faasm_await_call" (func $await (param i32) (result i32)))
  (memory 1)
  (table 1 funcref)
  (elem declare funcref (ref.null func))
  (func (export "_start") (drop (call $await (i32.const 1)))))

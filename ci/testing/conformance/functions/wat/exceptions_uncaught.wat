;; An uncaught exception, after a suspension.
(module
  (import "env" "__faasm_pull_state" (func $pull (param i32 i32)))
  (memory (export "memory") 1)
  (tag $number (param i32))
  (data (i32.const 16) "k\00")
  (func $throw (throw $number (i32.const 6)))
  (func (export "_start") (call $pull (i32.const 16) (i32.const 4)) (call $throw)))

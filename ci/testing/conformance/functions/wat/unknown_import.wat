;; Imports a name outside the host interface; calls it only if the input is not empty.
(module
  (import "env" "__faasm_read_input" (func $read_input (param i32 i32) (result i32)))
  (import "env" "__faasm_write_output" (func $write_output (param i32 i32)))
  (import "env" "mystery" (func $mystery (param i32 f64) (result i64)))
  (import "other" "thing" (func $thing))
  (memory (export "memory") 1)
  (data (i32.const 0) "not called")
  (func (export "_start")
    (call $write_output (i32.const 0) (i32.const 10))
    (if (call $read_input (i32.const 0) (i32.const 0))
      (then (drop (call $mystery (i32.const 1) (f64.const 2))) (call $thing)))))

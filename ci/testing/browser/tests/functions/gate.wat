;; Appends a byte to list "ticks", then pulls state "gate" (1 byte) until it is not 0, and returns it.
(module
  (import "env" "__faasm_append_state" (func $append (param i32 i32 i32)))
  (import "env" "__faasm_pull_state" (func $pull (param i32 i32)))
  (import "env" "__faasm_read_state" (func $read (param i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "ticks\00")
  (data (i32.const 8) "gate\00")
  (func (export "main") (result i32)
    (call $append (i32.const 0) (i32.const 0) (i32.const 1))
    (loop $again
      (call $pull (i32.const 8) (i32.const 1))
      (drop (call $read (i32.const 8) (i32.const 17) (i32.const 1)))
      (br_if $again (i32.eqz (i32.load8_u (i32.const 17)))))
    (i32.load8_u (i32.const 17))))

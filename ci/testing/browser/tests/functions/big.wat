;; Without an input: writes state "big", 24 MiB of the byte 7, and pushes it. With one: pulls it, and returns how many
;; bytes differ from 7.
(module
  (import "env" "__faasm_read_input" (func $input (param i32 i32) (result i32)))
  (import "env" "__faasm_write_state" (func $write (param i32 i32 i32)))
  (import "env" "__faasm_push_state" (func $push (param i32)))
  (import "env" "__faasm_pull_state" (func $pull (param i32 i32)))
  (import "env" "__faasm_read_state" (func $read (param i32 i32 i32) (result i32)))
  (memory (export "memory") 400)
  (data (i32.const 0) "big\00")
  (func $wrong (result i32)
    (local $at i32) (local $wrong i32)
    (local.set $at (i32.const 65536))
    (loop $next
      (local.set $wrong (i32.add (local.get $wrong)
        (i32.ne (i32.load8_u (local.get $at)) (i32.const 7))))
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (br_if $next (i32.lt_u (local.get $at) (i32.const 25231360))))
    (local.get $wrong))
  (func (export "main") (result i32)
    (if (call $input (i32.const 0) (i32.const 0))
      (then
        (call $pull (i32.const 0) (i32.const 25165824))
        (drop (call $read (i32.const 0) (i32.const 65536) (i32.const 25165824)))
        (return (call $wrong))))
    (memory.fill (i32.const 65536) (i32.const 7) (i32.const 25165824))
    (call $write (i32.const 0) (i32.const 65536) (i32.const 25165824))
    (call $push (i32.const 0))
    (i32.const 0)))

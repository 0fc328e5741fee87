;; Chains "tick" 200 times with consecutive numbers, starting at the one in its input, awaits all calls, and returns how
;; many returned 0.
(module
  (import "env" "__faasm_read_input" (func $read (param i32 i32) (result i32)))
  (import "env" "__faasm_chain_name" (func $chain (param i32 i32 i32) (result i32)))
  (import "env" "__faasm_await_call" (func $await (param i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "tick\00")
  (func (export "main") (result i32)
    (local $at i32) (local $good i32)
    (drop (call $read (i32.const 16) (i32.const 4)))
    (local.set $at (i32.const 1024))
    (loop $next
      (i32.store (local.get $at) (call $chain (i32.const 0) (i32.const 16) (i32.const 4)))
      (i32.store (i32.const 16) (i32.add (i32.load (i32.const 16)) (i32.const 1)))
      (local.set $at (i32.add (local.get $at) (i32.const 4)))
      (br_if $next (i32.lt_u (local.get $at) (i32.const 1824))))
    (local.set $at (i32.const 1024))
    (loop $next
      (local.set $good
        (i32.add (local.get $good) (i32.eqz (call $await (i32.load (local.get $at))))))
      (local.set $at (i32.add (local.get $at) (i32.const 4)))
      (br_if $next (i32.lt_u (local.get $at) (i32.const 1824))))
    (local.get $good)))

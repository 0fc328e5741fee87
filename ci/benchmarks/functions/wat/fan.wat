;; Calls another function as many times as its input, a u32, says, all concurrently, and then awaits all calls.
(module
  (import "env" "__faasm_read_input" (func $input (param i32 i32) (result i32)))
  (import "env" "__faasm_chain_name" (func $chain (param i32 i32 i32) (result i32)))
  (import "env" "__faasm_await_call" (func $await (param i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "nothing\00")
  (func (export "_start")
    (local $at i32) (local $end i32)
    (drop (call $input (i32.const 0) (i32.const 4)))
    (local.set $end (i32.add (i32.const 1024) (i32.mul (i32.load (i32.const 0)) (i32.const 4))))
    (local.set $at (i32.const 1024))
    (loop $starts
      (if (i32.lt_u (local.get $at) (local.get $end))
        (then
          (i32.store (local.get $at) (call $chain (i32.const 16) (i32.const 0) (i32.const 0)))
          (local.set $at (i32.add (local.get $at) (i32.const 4)))
          (br $starts))))
    (local.set $at (i32.const 1024))
    (loop $joins
      (if (i32.lt_u (local.get $at) (local.get $end))
        (then
          (if (call $await (i32.load (local.get $at))) (then (unreachable)))
          (local.set $at (i32.add (local.get $at) (i32.const 4)))
          (br $joins))))))

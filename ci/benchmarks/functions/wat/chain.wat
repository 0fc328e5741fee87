;; Calls another function as many times as its input, a u32, says, one after the other.
(module
  (import "env" "__faasm_read_input" (func $input (param i32 i32) (result i32)))
  (import "env" "__faasm_chain_name" (func $chain (param i32 i32 i32) (result i32)))
  (import "env" "__faasm_await_call" (func $await (param i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "nothing\00")
  (func (export "_start")
    (local $left i32)
    (drop (call $input (i32.const 0) (i32.const 4)))
    (local.set $left (i32.load (i32.const 0)))
    (loop $again
      (if (local.get $left)
        (then
          (if (call $await (call $chain (i32.const 16) (i32.const 0) (i32.const 0)))
            (then (unreachable)))
          (local.set $left (i32.sub (local.get $left) (i32.const 1)))
          (br $again))))))

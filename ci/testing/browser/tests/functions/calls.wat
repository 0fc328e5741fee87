;; The input is a digit and a function name. Chains the function as many times as the digit says, with the digit as
;; input, awaits the calls in order, and outputs their return values, four bytes each.
(module
  (import "env" "__faasm_read_input" (func $read_input (param i32 i32) (result i32)))
  (import "env" "__faasm_write_output" (func $write_output (param i32 i32)))
  (import "env" "__faasm_chain_name" (func $chain (param i32 i32 i32) (result i32)))
  (import "env" "__faasm_await_call" (func $await (param i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start")
    (local $count i32) (local $at i32)
    ;; Memory is zero, so the name ends with a NUL.
    (drop (call $read_input (i32.const 0) (i32.const 256)))
    (local.set $count (i32.sub (i32.load8_u (i32.const 0)) (i32.const 48)))
    (loop $more
      (i32.store (i32.add (i32.const 1024) (i32.shl (local.get $at) (i32.const 2)))
        (call $chain (i32.const 1) (i32.const 0) (i32.const 1)))
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (br_if $more (i32.lt_u (local.get $at) (local.get $count))))
    (local.set $at (i32.const 0))
    (loop $more
      (i32.store (i32.add (i32.const 1024) (i32.shl (local.get $at) (i32.const 2)))
        (call $await (i32.load (i32.add (i32.const 1024) (i32.shl (local.get $at) (i32.const 2))))))
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (br_if $more (i32.lt_u (local.get $at) (local.get $count))))
    (call $write_output (i32.const 1024) (i32.shl (local.get $count) (i32.const 2)))))

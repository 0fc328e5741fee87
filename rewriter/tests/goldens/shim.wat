;; RUN: shim
;; RUN: inspect
;; RUN: warnings
;; Calls that can wait, one with a result and one without, one of them in the table; imports that are not supported.
(module
  (import "env" "__faasm_read_input" (func $input (param i32 i32) (result i32)))
  (import "env" "__faasm_read_state" (func $read (param i32 i32 i32) (result i32)))
  (import "env" "__faasm_push_state" (func $push (param i32)))
  (import "env" "__faasm_await_call_output" (func $output (param i32 i32 i32) (result i32)))
  (import "env" "__faasm_chain_ptr" (func $chain (param i32 i32 i32) (result i32)))
  (import "env" "__faasm_lock_state_write" (func $lock (param i32)))
  (import "env" "MPI_Init" (func $mpi (param i32 i32) (result i32)))
  (import "env" "mystery" (func $mystery (param f64) (result f64)))
  (memory (export "memory") 1)
  (table (export "__indirect_function_table") 5 5 funcref)
  (elem (i32.const 1) $read $mpi $input)
  (func $quiet (result i32) (call $input (i32.const 0) (i32.const 0)))
  (func $_start (export "_start")
    (drop (call $read (i32.const 0) (i32.const 0) (call $quiet)))
    (call $push (i32.const 0))))

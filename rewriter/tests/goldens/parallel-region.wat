;; RUN: shim
;; RUN: reach
;; A parallel region whose outlined function waits, and a `pthread_once` whose function does not.
(module
  (import "env" "__kmpc_fork_call" (func $fork (param i32 i32 i32 i32)))
  (import "env" "pthread_once" (func $once (param i32 i32) (result i32)))
  (import "env" "__faasm_pull_state" (func $pull (param i32 i32)))
  (memory (export "memory") 1)
  (table $functions 3 funcref)
  (elem (i32.const 1) $outlined $initialise)
  (func $outlined (param $thread i32) (param $bound i32) (param $shared i32)
    (call $pull (local.get $shared) (i32.const 4)))
  (func $initialise)
  (func $region
    (call $fork (i32.const 0) (i32.const 1) (i32.const 1) (i32.const 64)))
  (func $first
    (drop (call $once (i32.const 80) (i32.const 2))))
  (func (export "_start")
    (call $region)
    (call $first)))

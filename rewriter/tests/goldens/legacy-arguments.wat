;; RUN: normalise
;; RUN: shim
;; A binary of the 2019/20 toolchain: main takes arguments, which the host does not pass; system calls by number, a few calls of libc.
(module
  (import "env" "__syscall4" (func $write (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "puts" (func $puts (param i32) (result i32)))
  (import "env" "getrlimit" (func $getrlimit (param i32 i32) (result i32)))
  (import "env" "__faasm_chain_this" (func $chain (param i32 i32 i32) (result i32)))
  (import "env" "__faasm_await_call" (func $await (param i32) (result i32)))
  (import "env" "__faasm_pull_state" (func $pull (param i32 i32) (result i32)))
  (memory (export "memory") 64 16383)
  (data (i32.const 1024) "hello\00")
  (func $zygote (export "_faasm_zygote") (result i32) (call $puts (i32.const 1024)))
  (func $main (export "main") (param i32 i32) (result i32)
    (drop (call $pull (i32.const 1024) (i32.const 8)))
    (call $await (call $chain (i32.const 1) (local.get 0) (local.get 1))))
  (@custom ".debug_info" "\fd\fd")
  (@custom ".debug_loc" "\fd\fd")
  (@custom ".debug_ranges" "\fd\fd")
  (@custom "reloc.CODE" "\fd\fd")
  (@custom "linking" "\02")
  (@custom "kept" "kept"))

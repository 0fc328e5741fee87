;; RUN: normalise
;; RUN: inspect
;; A binary of the 2019/20 toolchain: main is the entry, a hook runs before it.
(module
  (import "env" "__syscall3" (func (param i32 i32 i32 i32) (result i32)))
  (import "env" "__faasm_get_idx" (func $idx (result i32)))
  (memory (export "memory") 1)
  (func $__wasm_call_ctors)
  (func (export "_faasm_zygote") (result i32) (i32.const 0))
  (func (export "main") (result i32) (call $idx)))

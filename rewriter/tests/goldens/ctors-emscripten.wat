;; RUN: normalise
;; Emscripten with -O3 and --export=__wasm_call_ctors: its start file calls the constructors, the optimiser inlined them.
;; They must not run before _start as well; a function pointer needs them.
(module
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (import "env" "emscripten_notify_memory_growth" (func $grown (param i32)))
  (memory (export "memory") 256 256)
  (table (export "__indirect_function_table") 1 1 funcref)
  (func (export "__wasm_call_ctors") (i32.store (i32.const 1024) (i32.const 1)))
  (func (export "_start")
    (i32.store (i32.const 1024) (i32.const 1))
    (call $grown (i32.const 0))
    (call $exit (i32.const 0))
    unreachable)
  (func (export "stackSave") (result i32) (i32.const 5242880)))

;; Suspends as often as the i32 at address 0 says. `faasm-asyncify build --debug-info strip` made `microbench.wasm` and
;; `microbench.asyncify.wasm` from it; its shim replaced the import by begin, suspend and finish.
(module
  (import "env" "__faasm_await_call" (func $await (param i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start")
    (local $left i32)
    (local.set $left (i32.load (i32.const 0)))
    (loop $again
      (if (local.get $left)
        (then
          (drop (call $await (i32.const 1)))
          (local.set $left (i32.sub (local.get $left) (i32.const 1)))
          (br $again))))))

;; Exceptions in the encoding that browsers supported first, and that compilers still emit by default.
(module
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (tag $number (param i32))
  (func $throw (throw $number (i32.const 6)))
  (func (export "_start") (local i32)
    try call $throw catch $number local.set 0 end
    (call $exit (local.get 0))))

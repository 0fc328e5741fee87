;; AssemblyScript's `abort`, with a message, a file, a line and a column.
(module
  (import "env" "abort" (func $abort (param i32 i32 i32 i32)))
  (memory (export "memory") 1)
  (data (i32.const 12) "\04\00\00\00n\00o\00")
  (data (i32.const 28) "\08\00\00\00a\00.\00t\00s\00")
  (func (export "_start")
    (call $abort (i32.const 16) (i32.const 32) (i32.const 3) (i32.const 9))))

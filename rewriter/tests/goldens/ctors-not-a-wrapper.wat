;; RUN: normalise
;; A program's own functions that call three others in a row: the linker did not make them, so they are unchanged.
(module
  (memory (export "memory") 1)
  (global $x (mut i32) (i32.const 0))
  (func $open (global.set $x (i32.const 1)))
  (func $work (result i32) (global.get $x))
  (func $close (global.set $x (i32.const 2)))
  (func $once (export "once") (result i32) (call $open) (call $work) (call $close))
  (func $_start (export "_start") (drop (call $once))))

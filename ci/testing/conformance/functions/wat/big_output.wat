;; An output of 64 MiB in which every byte depends on its position.
(module
  (import "env" "__faasm_write_output" (func $write_output (param i32 i32)))
  (memory (export "memory") 1024)
  (func (export "_start") (local $at i32)
    (loop $next
      (i32.store8 (local.get $at) (i32.rem_u (local.get $at) (i32.const 251)))
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (br_if $next (i32.lt_u (local.get $at) (i32.const 67108864))))
    (call $write_output (i32.const 0) (i32.const 67108864))))

;; Writes every second byte of the 131072 bytes of state `k`, and does not push them.
(module
  (import "env" "__faasm_write_state_offset" (func $write (param i32 i32 i32 i32 i32)))
  (memory (export "memory") 1)
  (data (i32.const 256) "k\00n")
  (func (export "_start")
    (local $at i32)
    (loop $next
      (call $write (i32.const 256) (i32.const 131072) (local.get $at) (i32.const 258) (i32.const 1))
      (local.set $at (i32.add (local.get $at) (i32.const 2)))
      (br_if $next (i32.lt_u (local.get $at) (i32.const 131072))))))

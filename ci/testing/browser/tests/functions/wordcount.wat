;; Counts the words of its input; prints the number, and outputs it.
(module
  (import "env" "__faasm_read_input" (func $read_input (param i32 i32) (result i32)))
  (import "env" "__faasm_write_output" (func $write_output (param i32 i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start")
    (local $at i32) (local $end i32) (local $words i32) (local $inside i32) (local $digits i32)
    (local.set $at (i32.const 1024))
    (local.set $end (i32.add (i32.const 1024) (call $read_input (i32.const 1024) (i32.const 60000))))
    (block $done
      (loop $next
        (br_if $done (i32.eq (local.get $at) (local.get $end)))
        (if (i32.le_u (i32.load8_u (local.get $at)) (i32.const 32))
          (then (local.set $inside (i32.const 0)))
          (else
            (local.set $words (i32.add (local.get $words) (i32.eqz (local.get $inside))))
            (local.set $inside (i32.const 1))))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (br $next)))
    ;; The digits end at 64; a line feed follows them.
    (i32.store8 (i32.const 64) (i32.const 10))
    (local.set $digits (i32.const 64))
    (loop $digit
      (local.set $digits (i32.sub (local.get $digits) (i32.const 1)))
      (i32.store8 (local.get $digits)
        (i32.add (i32.const 48) (i32.rem_u (local.get $words) (i32.const 10))))
      (br_if $digit (local.tee $words (i32.div_u (local.get $words) (i32.const 10)))))
    (call $write_output (local.get $digits) (i32.sub (i32.const 64) (local.get $digits)))
    (i32.store (i32.const 128) (local.get $digits))
    (i32.store (i32.const 132) (i32.sub (i32.const 65) (local.get $digits)))
    (drop (call $write (i32.const 1) (i32.const 128) (i32.const 1) (i32.const 136)))))

;; Stores past the end of its memory between suspensions, where an unwind buffer starts. Exits with 0 if neither its
;; memory nor its locals changed; with 1 if memory did, with 2 if a local did.
(module
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1 2)
  ;; A clock of 1 ms.
  (data (i32.const 1024) "\01\00\00\00\00\00\00\00" "\00\00\00\00\00\00\00\00" "\01\00\00\00\00\00\00\00"
    "\40\42\0f\00\00\00\00\00")
  (func $sleep (param $kept i64) (result i64)
    (drop (call $poll (i32.const 1024) (i32.const 2048) (i32.const 1) (i32.const 4096)))
    (i64.add (local.get $kept) (i64.const 1)))
  ;; Both pointers of Asyncify's data structure: the top of the saved stack, and its limit.
  (func $damage
    (local $end i32)
    (local.set $end (i32.shl (memory.size) (i32.const 16)))
    (i32.store (local.get $end) (i32.const 8192))
    (i32.store offset=4 (local.get $end) (i32.const 65536)))
  (func (export "_start")
    (local $kept i64) (local $at i32)
    (local.set $kept (i64.const 0x7777777788888888))
    (local.set $kept (call $sleep (local.get $kept)))
    (call $damage)
    (local.set $kept (call $sleep (local.get $kept)))
    ;; If memory grew, the unwind buffer is elsewhere.
    (drop (memory.grow (i32.const 1)))
    (local.set $kept (call $sleep (local.get $kept)))
    (call $damage)
    (local.set $kept (call $sleep (local.get $kept)))
    (local.set $at (i32.const 8192))
    (loop $more
      (if (i64.ne (i64.load (local.get $at)) (i64.const 0)) (then (call $exit (i32.const 1))))
      (local.set $at (i32.add (local.get $at) (i32.const 8)))
      (br_if $more (i32.lt_u (local.get $at) (i32.const 131072))))
    (if (i64.ne (local.get $kept) (i64.const 0x777777778888888c)) (then (call $exit (i32.const 2))))
    (call $exit (i32.const 0))))

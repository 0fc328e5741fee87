;; Pulls the state "big", of 20 MiB, and returns how many of its words differ from the first one.
(module
  (import "env" "__faasm_pull_state" (func $pull (param i32 i32)))
  (import "env" "__faasm_read_state" (func $read (param i32 i32 i32) (result i32)))
  (memory (export "memory") 321)
  (data (i32.const 0) "big\00")
  (func (export "main") (result i32)
    (local $at i32) (local $odd i32)
    (call $pull (i32.const 0) (i32.const 20971520))
    (drop (call $read (i32.const 0) (i32.const 65536) (i32.const 20971520)))
    (local.set $at (i32.const 65536))
    (loop $more
      (if (i64.ne (i64.load (local.get $at)) (i64.load (i32.const 65536)))
        (then (local.set $odd (i32.add (local.get $odd) (i32.const 1)))))
      (local.set $at (i32.add (local.get $at) (i32.const 8)))
      (br_if $more (i32.lt_u (local.get $at) (i32.const 21037056))))
    (local.get $odd)))

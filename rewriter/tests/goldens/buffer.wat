;; RUN: buffer
;; An allocator that takes everything up to the end of memory at its first use, and grows it when that is used up.
(module
  (memory (export "memory") 2 100)
  (global $end (mut i32) (i32.const 0))
  (func $claim (result i32)
    (if (i32.eqz (global.get $end))
      (then (global.set $end (i32.shl (memory.size) (i32.const 16)))))
    (global.get $end))
  (func $more (param $pages i32) (result i32)
    (memory.grow (local.get $pages)))
  (func (export "_start")
    (drop (call $claim))
    (drop (call $more (i32.const 1)))))

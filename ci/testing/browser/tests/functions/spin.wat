;; Computes for some tenths of a second without a host call, and returns 7.
(module
  (memory (export "memory") 1)
  (func (export "main") (result i32)
    (local $left i32) (local $sum i32)
    (local.set $left (i32.const 300000000))
    (loop $more
      (local.set $sum (i32.add (i32.mul (local.get $sum) (i32.const 31)) (local.get $left)))
      (br_if $more (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
    ;; Keeps optimisers from removing the loop.
    (select (i32.const 7) (i32.const 8) (local.get $sum))))

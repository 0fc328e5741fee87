;; The 2019/20 toolchain: clock_gettime and gettimeofday agree to within ten seconds.
(module
  (import "env" "__syscall2" (func $syscall2 (param i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "main") (result i32)
    (drop (call $syscall2 (i32.const 265) (i32.const 0) (i32.const 0)))
    (drop (call $syscall2 (i32.const 78) (i32.const 16) (i32.const 0)))
    (i32.and
      (i32.gt_u (i32.load (i32.const 0)) (i32.const 1704067200))
      (i32.le_u (i32.sub (i32.load (i32.const 16)) (i32.load (i32.const 0))) (i32.const 10)))))

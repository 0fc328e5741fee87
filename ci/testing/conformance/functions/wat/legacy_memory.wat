;; The 2019/20 toolchain: `brk` and anonymous `mmap2` grow memory, `munmap` frees it. The output is five results, 4
;; bytes each: whether brk(0) lies past the initial memory, whether it then moved by a page, the value stored there,
;; whether mmap2 returned zeroed whole pages that overlap nothing else, the result of munmap.
(module
  (import "env" "__syscall1" (func $syscall1 (param i32 i32) (result i32)))
  (import "env" "__syscall2" (func $syscall2 (param i32 i32 i32) (result i32)))
  (import "env" "__syscall6" (func $syscall6 (param i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (import "env" "__faasm_pull_state" (func $pull (param i32 i32)))
  (import "env" "__faasm_write_output" (func $write_output (param i32 i32)))
  (memory (export "memory") 2)
  (data (i32.const 16) "k\00")
  (func (export "main") (result i32) (local $break i32) (local $map i32)
    (local.set $break (call $syscall1 (i32.const 45) (i32.const 0)))
    (i32.store (i32.const 100) (i32.ge_u (local.get $break) (i32.const 131072)))
    (i32.store (i32.const 104) (i32.sub
      (call $syscall1 (i32.const 45) (i32.add (local.get $break) (i32.const 65536)))
      (local.get $break)))
    (i32.store (i32.add (local.get $break) (i32.const 65532)) (i32.const 0x0a0b0c0d))
    ;; mmap2(0, 100000, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
    (local.set $map (call $syscall6 (i32.const 192)
      (i32.const 0) (i32.const 100000) (i32.const 3) (i32.const 0x22) (i32.const -1) (i32.const 0)))
    ;; A suspension in between: the unwind buffer takes none of the function's memory.
    (call $pull (i32.const 16) (i32.const 4))
    (i32.store (i32.const 108) (i32.load (i32.add (local.get $break) (i32.const 65532))))
    (i32.store (i32.const 112) (i32.and
      (i32.eqz (i32.rem_u (local.get $map) (i32.const 4096)))
      (i32.and
        (i32.ge_u (local.get $map) (i32.add (local.get $break) (i32.const 65536)))
        (i32.eqz (i32.load (i32.add (local.get $map) (i32.const 99996)))))))
    (i32.store (i32.const 116) (call $syscall2 (i32.const 91) (local.get $map) (i32.const 100000)))
    (call $write_output (i32.const 100) (i32.const 20))
    (i32.const 0)))

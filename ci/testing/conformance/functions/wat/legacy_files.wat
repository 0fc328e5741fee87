;; The 2019/20 toolchain: creates a file, writes, seeks, reads and closes it by system calls; opens one that is missing.
;; The output is their results, 4 bytes each (for descriptors, only whether they are valid), then the bytes read.
(module
  (import "env" "__syscall1" (func $syscall1 (param i32 i32) (result i32)))
  (import "env" "__syscall3" (func $syscall3 (param i32 i32 i32 i32) (result i32)))
  (import "env" "__syscall5" (func $syscall5 (param i32 i32 i32 i32 i32 i32) (result i32)))
  (import "env" "__faasm_write_output" (func $write_output (param i32 i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "/notes.txt\00")
  (data (i32.const 32) "/missing.txt\00")
  (data (i32.const 48) "content")
  (func (export "main") (result i32) (local $file i32)
    ;; O_RDWR | O_CREAT, mode 0666
    (local.set $file (call $syscall3 (i32.const 5) (i32.const 16) (i32.const 0x42) (i32.const 0x1b6)))
    (i32.store (i32.const 100) (i32.gt_s (local.get $file) (i32.const 2)))
    (i32.store (i32.const 104)
      (call $syscall3 (i32.const 4) (local.get $file) (i32.const 48) (i32.const 7)))
    ;; _llseek(file, high, low, *result, SEEK_SET)
    (i32.store (i32.const 108)
      (call $syscall5 (i32.const 140) (local.get $file) (i32.const 0) (i32.const 3) (i32.const 80) (i32.const 0)))
    (i32.store (i32.const 124) (i32.const 0x2e2e2e2e))
    (i32.store (i32.const 112)
      (call $syscall3 (i32.const 3) (local.get $file) (i32.const 124) (i32.const 20)))
    (i32.store (i32.const 116) (call $syscall1 (i32.const 6) (local.get $file)))
    ;; -2, ENOENT of Linux.
    (i32.store (i32.const 120) (call $syscall3 (i32.const 5) (i32.const 32) (i32.const 0) (i32.const 0)))
    (call $write_output (i32.const 100) (i32.const 28))
    (i32.const 0)))

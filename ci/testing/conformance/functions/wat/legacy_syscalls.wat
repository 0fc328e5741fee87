;; The 2019/20 toolchain: system calls by their i386 numbers. The output is their results, 4 bytes each: write, writev,
;; ioctl of a file that is not a terminal (only the sign: 0 or an error), without getpid-like calls; then exit with 6.
(module
  (import "env" "__syscall1" (func $syscall1 (param i32 i32) (result i32)))
  (import "env" "__syscall3" (func $syscall3 (param i32 i32 i32 i32) (result i32)))
  (import "env" "puts" (func $puts (param i32) (result i32)))
  (import "env" "__faasm_write_output" (func $write_output (param i32 i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "written\0a")
  (data (i32.const 32) "in two \00parts\0a\00")
  (data (i32.const 64) "put\00")
  ;; The list of writev: pointer and length, twice.
  (data (i32.const 80) "\20\00\00\00\07\00\00\00\28\00\00\00\06\00\00\00")
  (func (export "main") (result i32)
    (i32.store (i32.const 200) (call $syscall3 (i32.const 4) (i32.const 1) (i32.const 16) (i32.const 8)))
    (i32.store (i32.const 204) (call $syscall3 (i32.const 146) (i32.const 1) (i32.const 80) (i32.const 2)))
    (i32.store (i32.const 208) (i32.ge_s (call $puts (i32.const 64)) (i32.const 0)))
    ;; A descriptor that is not open: -9, EBADF of Linux.
    (i32.store (i32.const 212) (call $syscall3 (i32.const 4) (i32.const 55) (i32.const 16) (i32.const 8)))
    (call $write_output (i32.const 200) (i32.const 16))
    (drop (call $syscall1 (i32.const 1) (i32.const 6)))
    (unreachable)))

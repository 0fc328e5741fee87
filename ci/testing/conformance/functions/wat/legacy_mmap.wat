;; The 2019/20 toolchain: maps a file that it has written, from the second page on, and queries a limit. The output is
;; the mapped bytes, whether the rest of the page is zero, and the results of munmap and getrlimit.
(module
  (import "env" "__syscall2" (func $syscall2 (param i32 i32 i32) (result i32)))
  (import "env" "__syscall3" (func $syscall3 (param i32 i32 i32 i32) (result i32)))
  (import "env" "__syscall6" (func $syscall6 (param i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (import "env" "getrlimit" (func $getrlimit (param i32 i32) (result i32)))
  (import "env" "__faasm_write_output" (func $write_output (param i32 i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "/map.bin\00")
  (data (i32.const 5000) "second page")
  (func (export "main") (result i32) (local $file i32) (local $map i32)
    (local.set $file (call $syscall3 (i32.const 5) (i32.const 16) (i32.const 0x42) (i32.const 0x1b6)))
    ;; 4096 bytes, and the text at the start of the second page.
    (drop (call $syscall3 (i32.const 4) (local.get $file) (i32.const 904) (i32.const 4107)))
    ;; mmap2(0, 11, PROT_READ, MAP_PRIVATE, file, page 1)
    (local.set $map (call $syscall6 (i32.const 192)
      (i32.const 0) (i32.const 11) (i32.const 1) (i32.const 2) (local.get $file) (i32.const 1)))
    (i64.store (i32.const 100) (i64.load (local.get $map)))
    (i32.store (i32.const 107) (i32.load (i32.add (local.get $map) (i32.const 7))))
    (i32.store8 (i32.const 111) (i32.add (i32.const 48) (i32.eqz (i32.load (i32.add (local.get $map) (i32.const 11))))))
    (i32.store8 (i32.const 112) (i32.add (i32.const 48) (call $syscall2 (i32.const 91) (local.get $map) (i32.const 11))))
    ;; RLIMIT_STACK
    (i32.store8 (i32.const 113) (i32.add (i32.const 48) (call $getrlimit (i32.const 3) (i32.const 200))))
    (call $write_output (i32.const 100) (i32.const 14))
    (i32.const 0)))

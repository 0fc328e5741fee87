;; Chains sixty calls one after the other, each with 64 MiB of output, and awaits none of them.
(module
    (import "env" "__faasm_chain_ptr" (func $chain (param i32 i32 i32) (result i32)))
    (import "env" "__faasm_write_output" (func $out (param i32 i32)))
    (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 4)
    (table (export "__indirect_function_table") 2 2 funcref)
    (elem (i32.const 1) $child)
    (func $child (result i32)
        (drop (memory.grow (i32.const 1024)))
        (call $out (i32.const 65536) (i32.const 67108864))
        (i32.const 0))
    (func (export "_start") (local $calls i32)
        (loop $again
            (local.set $calls (call $chain (i32.const 1) (i32.const 0) (i32.const 0)))
            (i32.store (i32.const 80) (i32.const 1))
            (i64.store (i32.const 88) (i64.const 100000000))
            (drop (call $poll (i32.const 64) (i32.const 128) (i32.const 1) (i32.const 200)))
            (br_if $again (i32.lt_u (local.get $calls) (i32.const 60))))))

;; Chains a thousand sleeping calls with 16 MiB of input each.
(module
    (import "env" "__faasm_chain_ptr" (func $chain (param i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 260)
    (table (export "__indirect_function_table") 2 2 funcref)
    (elem (i32.const 1) $child)
    (func $child (result i32)
        (i32.store (i32.const 80) (i32.const 1))
        (i64.store (i32.const 88) (i64.const 50000000000))
        (call $poll (i32.const 64) (i32.const 128) (i32.const 1) (i32.const 200)))
    (func (export "main") (result i32) (local $calls i32)
        (loop $again
            (local.set $calls (call $chain (i32.const 1) (i32.const 65536) (i32.const 16777216)))
            (br_if $again (i32.lt_u (local.get $calls) (i32.const 1000))))
        (call $child)))

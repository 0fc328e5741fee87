;; Chains itself twice, as do all its chained calls, and loops for ever.
(module
    (import "env" "__faasm_chain_ptr" (func $chain (param i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (table (export "__indirect_function_table") 2 2 funcref)
    (elem (i32.const 1) $child)
    (func $more
        (drop (call $chain (i32.const 1) (i32.const 0) (i32.const 0)))
        (drop (call $chain (i32.const 1) (i32.const 0) (i32.const 0))))
    (func $child (result i32) (call $more) (loop $again (br $again)) (i32.const 0))
    (func (export "_start") (call $more) (loop $again (br $again))))

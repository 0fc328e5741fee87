;; RUN: guarded
;; RUN: faasm
;; Every reference to an import leads to its replacement: a call, a table, an export, another type. A guarded function
;; does not call an unknown import. Other sections stay.
(module $references
  (import "wasi_snapshot_preview1" "sched_yield" (func $yield (result i32)))
  (import "env" "__faasm_write_output" (func $out (param i32 i32)))
  (import "env" "mystery" (func $mystery (param i64)))
  (import "env" "__faasm_sm_reduce" (func $reduce (param i32 i32 i32 i32)))
  (import "env" "__faasm_conf_flag" (func $flag (param i32) (result i32)))
  (memory (export "memory") 1 2)
  (table (export "table") 3 3 funcref)
  (elem (i32.const 1) $out $yield)
  (global $count (mut i32) (i32.const 0))
  (data (i32.const 8) "flag\00")
  (export "reduce" (func $reduce))
  (func (export "_start")
    (global.set $count (memory.grow (memory.size)))
    (call $mystery (i64.const 1))
    (call $out (i32.const 8) (call $flag (i32.const 8)))
    (drop (call $yield))))

;; Imports a host call with a wrong signature, and calls it.
(module
  (import "env" "__faasm_conf_flag" (func $flag (param i64) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start") (drop (call $flag (i64.const 0)))))

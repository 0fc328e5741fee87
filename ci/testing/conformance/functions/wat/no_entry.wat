;; A library without an entry.
(module (memory (export "memory") 1) (func (export "helper") (result i32) (i32.const 1)))

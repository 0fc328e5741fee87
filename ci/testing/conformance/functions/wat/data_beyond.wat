;; Its data exceeds its memory, so it cannot be instantiated.
(module (memory (export "memory") 1) (data (i32.const 65530) "too long") (func (export "_start")))

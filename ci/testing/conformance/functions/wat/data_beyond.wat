;; Its data does not fit in its memory, so there can be no instance.
(module (memory (export "memory") 1) (data (i32.const 65530) "too long") (func (export "_start")))

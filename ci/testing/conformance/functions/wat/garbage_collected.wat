;; Uses garbage-collected objects, which neither page nor cluster supports.
(module
  (memory (export "memory") 1)
  (type $pair (struct (field i32) (field i32)))
  (func (export "_start") (drop (struct.new $pair (i32.const 1) (i32.const 2)))))

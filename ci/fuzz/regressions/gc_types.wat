;; Garbage collection is accepted at the door, and cannot be read further in.
(module
  (type $struct (struct (field i32)))
  (memory 1)
  (func (export "_start")))

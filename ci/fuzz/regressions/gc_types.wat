;; The first check accepts garbage collection, but a later stage cannot parse it.
(module
  (type $struct (struct (field i32)))
  (memory 1)
  (func (export "_start")))

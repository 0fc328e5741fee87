;; RUN: normalise
;; A start function runs during instantiation, where it cannot wait: it becomes the first call.
(module
  (memory 1)
  (table $objects 1 externref)
  (table $functions 1 funcref)
  (func $begin)
  (func (export "__indirect_function_table"))
  (func (export "_start"))
  (start $begin))

;; RUN: normalise
;; Imported and exported again: the export is unchanged.
(module
  (import "env" "memory" (memory 1))
  (import "env" "__indirect_function_table" (table 2 funcref))
  (export "heap" (memory 0))
  (export "pointers" (table 0))
  (elem (i32.const 1) $_start)
  (func $_start (export "_start")))

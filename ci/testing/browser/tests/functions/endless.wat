;; Never returns, waits or makes a host call.
(module
  (memory (export "memory") 1)
  (func (export "_start") (loop $more (br $more))))

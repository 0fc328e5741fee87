;; RUN: normalise
;; Exceptions in the encoding of the draft: caught by tag and any, thrown again, delegated to a body and out of the function, with
;; branches out of bodies and handlers.
(module
  (memory (export "memory") 1)
  (tag $number (param i32))
  (func $throw (param i32)
    (throw $number (local.get 0)))
  (func $catches (param i32) (result i32)
    try (result i32)
      i32.const 0
      local.get 0
      i32.eqz
      br_if 1
      drop
      local.get 0
      call $throw
      i32.const 1
    catch $number
      i32.const 2
      i32.add
    catch_all
      rethrow 0
    end
    return)
  (func $delegates
    block $out
      try
        try
          i32.const 5
          call $throw
          br $out
        delegate 0
        try
          i32.const 6
          call $throw
        delegate 2
      catch_all
        br $out
      end
    end)
  (func (export "_start")
    call $delegates
    i32.const 7
    call $catches
    drop))

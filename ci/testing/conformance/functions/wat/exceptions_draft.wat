;; The complete draft encoding of exceptions: each part outputs a number, and runs after a suspension. If the host
;; supports the draft natively, its results are the reference.
(module
  (import "env" "__faasm_pull_state" (func $pull (param i32 i32)))
  (import "env" "__faasm_write_output" (func $output (param i32 i32)))
  (memory (export "memory") 1)
  (tag $number (param i32))
  (tag $pair (param i32 i64))
  (tag $other)
  (data (i32.const 16) "k\00")
  (global $order (mut i32) (i32.const 0))
  (func $wait (call $pull (i32.const 16) (i32.const 4)))
  ;; Appends a digit to the trace.
  (func $saw (param i32)
    (global.set $order (i32.add (i32.mul (global.get $order) (i32.const 10)) (local.get 0))))
  (func $throw (param i32) call $wait local.get 0 throw $number)
  (func $throw_pair call $wait i32.const 3 i64.const 4 throw $pair)
  (func $throw_other call $wait throw $other)

  ;; Catches by tag, with the values.
  (func $by_tag (param i32) (result i32)
    try (result i32)
      local.get 0 i32.eqz if i32.const 1 call $throw end
      local.get 0 i32.const 1 i32.eq if call $throw_pair end
      local.get 0 i32.const 2 i32.eq if call $throw_other end
      i32.const 9
    catch $number
      i32.const 10 i32.add
    catch $pair
      i32.wrap_i64 i32.mul
    catch_all
      i32.const 7
    end)

  ;; Rethrows from a handler; also rethrows an outer handler's exception from a nested one.
  (func $again (result i32)
    try (result i32)
      try (result i32)
        i32.const 5 call $throw i32.const 0
      catch $number
        drop
        try
          call $throw_other
        catch_all
          i32.const 1 call $saw
          call $wait
          rethrow 1
        end
        i32.const 0
      end
    catch $number
      call $wait
    end)

  ;; Delegates to the body of an outer `try`, skipping the one in between.
  (func $past (result i32)
    try (result i32)
      try
        try
          i32.const 6 call $throw
        delegate 1
      catch $number
        drop i32.const 8 call $saw
      end
      i32.const 0
    catch $number
    end)

  ;; Delegates to a block, which is not a `try`, hence to the `try` around it; next to a branch out of all of them.
  (func $block (param i32) (result i32)
    block $out (result i32)
      try (result i32)
        block $no_try
          try
            local.get 0 if i32.const 2 br $out end
            i32.const 4 call $throw
          delegate $no_try
        end
        i32.const 0
      catch $number
        i32.const 20 i32.add
      end
    end)

  ;; Delegates from a handler to the label of its own `try`, whose handlers do not catch it.
  (func $from_a_handler (result i32)
    try (result i32)
      try
        i32.const 1 call $throw
      catch $number
        drop
        try
          i32.const 7 call $throw
        delegate 0
      end
      i32.const 0
    catch $number
    end)

  ;; Delegates out of the function, past its own handlers.
  (func $out
    try
      try
        i32.const 9 call $throw
      delegate 1
    catch_all
      i32.const 8 call $saw
    end)
  (func $called (result i32) try (result i32) call $out i32.const 0 catch $number end)

  ;; Delegated twice, and through a `try` without a handler.
  (func $twice (result i32)
    try (result i32)
      try
        try
          try
            i32.const 8 call $throw
          delegate 0
        delegate 0
      end
      i32.const 0
    catch $number
    end)

  ;; Blocks with parameters, a loop that catches in each iteration, and branches out of handlers.
  (func $parameters (result i32) (local $left i32) (local $sum i32)
    i32.const 3 local.set $left
    loop $next
      local.get $left
      try (param i32) (result i32)
        i32.const 1 i32.add
        try (param i32) (result i32)
          call $throw i32.const 0
        delegate 0
      catch $number
        call $wait
        local.get $sum i32.add local.set $sum
        local.get $left i32.const 1 i32.sub local.tee $left br_if $next
        local.get $sum return
      end
      drop
    end
    i32.const -1)

  (func $put (param i32 i32)
    (i32.store (i32.add (i32.const 256) (i32.shl (local.get 0) (i32.const 2))) (local.get 1)))
  (func (export "_start")
    (call $put (i32.const 0) (call $by_tag (i32.const 0)))
    (call $put (i32.const 1) (call $by_tag (i32.const 1)))
    (call $put (i32.const 2) (call $by_tag (i32.const 2)))
    (call $put (i32.const 3) (call $by_tag (i32.const 3)))
    (call $put (i32.const 4) (call $again))
    (call $put (i32.const 5) (call $past))
    (call $put (i32.const 6) (call $block (i32.const 0)))
    (call $put (i32.const 7) (call $block (i32.const 1)))
    (call $put (i32.const 8) (call $from_a_handler))
    (call $put (i32.const 9) (call $called))
    (call $put (i32.const 10) (call $twice))
    (call $put (i32.const 11) (call $parameters))
    (call $put (i32.const 12) (global.get $order))
    (call $output (i32.const 256) (i32.const 52))))

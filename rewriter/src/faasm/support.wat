;; The support: functions between a function and its host in a Faasm cluster. `link.rs` adds those that it can reach.
;;
;; Import modules:
;;   "guest"      the function's own memory, table, `malloc` and `free`
;;   "link"       constants, and functions with several versions: the export `TAG/NAME` of an active tag, else `NAME`
;;   "text"       writes its name to an address, returns the address after it
;;   other        the host
;; Exports:
;;   env.NAME, wasi_snapshot_preview1.NAME    replace that import
;;   fault.NAME                               end the run; a guarded function traps instead
;; Tags: `guarded` or `built`; `sbrk` or `grow`; `lost` if lost updates are allowed.
;;
;; Only instructions of WebAssembly 1.0: WAMR may have been built without bulk memory.
(module
  (import "guest" "memory" (memory 0))
  (import "guest" "table" (table 0 funcref))
  (import "guest" "malloc" (func $malloc (param i32) (result i32)))
  (import "guest" "free" (func $free (param i32)))

  (import "link" "guarded" (global $guarded i32))
  (import "link" "check names" (global $check_names i32))
  (import "link" "over built" (global $over_built i32))
  (import "link" "most element" (global $most_element i32))
  (import "link" "entry slot" (global $entry_slot i32))
  (import "link" "most name" (global $most_name i32))
  (import "link" "pointer kind" (func $pointer_kind (param i32) (result i32)))
  (import "link" "pages" (func $pages (param i32) (result i32)))
  (import "link" "write" (func $write (param i32 i32)))
  (import "link" "decoded" (func $decoded (param i32) (result i32)))
  (import "link" "chain" (func $chain_pointer (param i32 i32 i32) (result i32)))

  (import "text" "\02faasm-output;base64," (func $t_bytes (param i32) (result i32)))
  (import "text" "\02faasm-result;" (func $t_result (param i32) (result i32)))
  (import "text" "\02faasm-fault;" (func $t_fault (param i32) (result i32)))
  (import "text" ";base64," (func $t_base64 (param i32) (result i32)))
  (import "text" "\02faasmp;" (func $t_pointer (param i32) (result i32)))
  (import "text" ".faasm.function." (func $t_function (param i32) (result i32)))
  (import "text" ".faasm.cleared." (func $t_cleared (param i32) (result i32)))
  (import "text" ".faasm.list." (func $t_list (param i32) (result i32)))
  (import "text" "bad-pointer;bytes " (func $t_memory_1 (param i32) (result i32)))
  (import "text" ".." (func $t_to (param i32) (result i32)))
  (import "text" " given to a host call lie outside guest memory, which has " (func $t_memory_2 (param i32) (result i32)))
  (import "text" " bytes" (func $t_bytes_end (param i32) (result i32)))
  (import "text" "bad-pointer;the string at " (func $t_string (param i32) (result i32)))
  (import "text" " has no NUL within 1024 bytes" (func $t_no_nul (param i32) (result i32)))
  (import "text" " is not UTF-8" (func $t_not_utf8 (param i32) (result i32)))
  (import "text" "operation-failed;a key has at least one byte" (func $t_empty (param i32) (result i32)))
  (import "text" "state;state `" (func $t_state (param i32) (result i32)))
  (import "text" "` has " (func $t_has (param i32) (result i32)))
  (import "text" " bytes, the call says " (func $t_says (param i32) (result i32)))
  (import "text" "; a value keeps the size of its first access" (func $t_keeps (param i32) (result i32)))
  (import "text" "` would have " (func $t_would (param i32) (result i32)))
  (import "text" " bytes; at most 1073741824 are allowed" (func $t_most (param i32) (result i32)))
  (import "text" "state;bytes " (func $t_range_1 (param i32) (result i32)))
  (import "text" " lie outside state `" (func $t_range_2 (param i32) (result i32)))
  (import "text" "`, which has " (func $t_which (param i32) (result i32)))
  (import "text" "state;key `" (func $t_key (param i32) (result i32)))
  (import "text" "` is reserved: functions cannot use keys that begin with `.faasm.`" (func $t_reserved (param i32) (result i32)))
  (import "text" "operation-failed;an element of a list has " (func $t_element_1 (param i32) (result i32)))
  (import "text" " bytes; in a Faasm cluster " (func $t_element_2 (param i32) (result i32)))
  (import "text" " are allowed" (func $t_element_3 (param i32) (result i32)))
  (import "text" "out-of-memory;there is no memory for the " (func $t_room (param i32) (result i32)))
  (import "text" " bytes that a host call needs" (func $t_room_2 (param i32) (result i32)))
  (import "text" "bad-pointer;a chained function pointer came without its header" (func $t_header (param i32) (result i32)))
  (import "text" "operation-failed;a chained (i32) -> i32 takes a decimal number as input" (func $t_decimal (param i32) (result i32)))
  (import "text" "not-implemented;system call " (func $t_syscall (param i32) (result i32)))
  (import "text" " is not in Faasm's WAMR" (func $t_not_wamr (param i32) (result i32)))
  (import "text" "function " (func $t_no_function_1 (param i32) (result i32)))
  (import "text" " is not there: upload it with faasm-asyncify upload" (func $t_no_function_2 (param i32) (result i32)))
  (import "text" "` cannot name a function" (func $t_no_name (param i32) (result i32)))
  (import "text" "function pointer " (func $t_no_pointer_1 (param i32) (result i32)))
  (import "text" " cannot be chained: () -> i32, (i32) -> i32 and () -> () in the function table can" (func $t_no_pointer_2 (param i32) (result i32)))

  (import "env" "__faasm_read_input" (func $raw_read_input (param i32 i32) (result i32)))
  (import "env" "__faasm_write_output" (func $raw_write_output (param i32 i32)))
  (import "env" "__faasm_chain_name" (func $raw_chain_name (param i32 i32 i32) (result i32)))
  (import "env" "__faasm_chain_ptr" (func $raw_chain_ptr (param i32 i32 i32) (result i32)))
  (import "env" "__faasm_await_call" (func $raw_await_call (param i32) (result i32)))
  (import "env" "__faasm_await_call_output" (func $raw_await_call_output (param i32 i32 i32) (result i32)))
  (import "env" "__faasm_read_state" (func $raw_read_state (param i32 i32 i32) (result i32)))
  (import "env" "__faasm_write_state" (func $raw_write_state (param i32 i32 i32)))
  (import "env" "__faasm_push_state" (func $raw_push_state (param i32)))
  (import "env" "__faasm_pull_state" (func $raw_pull_state (param i32 i32)))
  (import "env" "__faasm_append_state" (func $raw_append_state (param i32 i32 i32)))
  (import "env" "__faasm_read_appended_state" (func $raw_read_appended_state (param i32 i32 i32 i32)))
  (import "env" "__sbrk" (func $raw_sbrk (param i32) (result i32)))
  (import "env" "mmap" (func $raw_mmap (param i32 i32 i32 i32 i32 i64) (result i32)))
  (import "env" "syscall" (func $raw_syscall (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "clock_time_get" (func $raw_clock_time_get (param i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $raw_proc_exit (param i32)))

  (type $void (func))
  (type $value (func (result i32)))
  (type $number (func (param i32) (result i32)))

  ;; ---- Memory of the support -------------------------------------------------------------------------------------------

  ;; The first page: two words for the host, three keys, a small value, a text. 0 until it is allocated.
  (global $page (mut i32) (i32.const 0))
  ;; A scratch buffer, whose contents last until its next use.
  (global $room (mut i32) (i32.const 0))
  (global $room_bytes (mut i32) (i32.const 0))
  ;; Memory that stays allocated until the run ends.
  (global $kept (mut i32) (i32.const 0))
  (global $kept_bytes (mut i32) (i32.const 0))
  ;; Number of pages reported to a guest that grows memory itself; -1 as long as all pages are its own.
  (global $guest_pages (mut i32) (i32.const -1))

  (func $small (result i32)
    (if (i32.eqz (global.get $page)) (then
      (global.set $page (call $pages (i32.const 1)))
      ;; Without this page there is no memory for a fault's text either.
      (if (i32.eqz (global.get $page)) (then unreachable))))
    (global.get $page))
  (func $key_a (result i32) (i32.add (call $small) (i32.const 64)))
  (func $key_b (result i32) (i32.add (call $small) (i32.const 2048)))
  (func $key_c (result i32) (i32.add (call $small) (i32.const 4096)))
  (func $small_value (result i32) (i32.add (call $small) (i32.const 32)))
  (func $text (result i32) (i32.add (call $small) (i32.const 8192)))

  ;; Allocates pages at the end of memory; returns 0 on failure.
  (func (export "grow/pages") (param $count i32) (result i32) (local $first i32)
    (if (i32.lt_s (global.get $guest_pages) (i32.const 0))
      (then (global.set $guest_pages (memory.size))))
    (local.set $first (memory.grow (local.get $count)))
    (if (result i32) (i32.eq (local.get $first) (i32.const -1))
      (then (i32.const 0))
      (else (i32.shl (local.get $first) (i32.const 16)))))
  (func (export "sbrk/pages") (param $count i32) (result i32) (local $first i32)
    (local.set $first (call $break (i32.shl (local.get $count) (i32.const 16))))
    (select (i32.const 0) (local.get $first) (i32.eq (local.get $first) (i32.const -1))))

  ;; If the host fails to grow memory, it terminates the worker. So memory grows before the break moves.
  (func $break (param $bytes i32) (result i32) (local $old i32) (local $missing i64)
    (local.set $old (call $raw_sbrk (i32.const 0)))
    (if (i32.lt_s (local.get $bytes) (i32.const 0)) (then
      (if (i32.or (i32.and (local.get $bytes) (i32.const 65535))
                  (i32.gt_u (i32.sub (i32.const 0) (local.get $bytes)) (local.get $old)))
        (then (return (i32.const -1))))
      (return (call $raw_sbrk (local.get $bytes)))))
    (if (i32.eqz (local.get $bytes)) (then (return (local.get $old))))
    (if (i32.and (local.get $bytes) (i32.const 65535)) (then (return (i32.const -1))))
    (local.set $missing (i64.sub
      (i64.add (i64.extend_i32_u (local.get $old)) (i64.extend_i32_u (local.get $bytes)))
      (call $memory_end)))
    (if (i64.gt_s (local.get $missing) (i64.const 0)) (then
      (if (i32.eq (i32.const -1) (memory.grow (i32.wrap_i64 (i64.shr_u
            (i64.add (local.get $missing) (i64.const 65535)) (i64.const 16)))))
        (then (return (i32.const -1))))))
    (call $raw_sbrk (local.get $bytes)))
  (func (export "guarded/env.__sbrk") (param $bytes i32) (result i32)
    (call $given (call $break (local.get $bytes)) (select (local.get $bytes) (i32.const 0) (i32.gt_s (local.get $bytes) (i32.const 0)))))
  (func (export "built/env.__sbrk") (param $bytes i32) (result i32)
    (call $given (call $raw_sbrk (local.get $bytes)) (select (local.get $bytes) (i32.const 0) (i32.gt_s (local.get $bytes) (i32.const 0)))))
  (func (export "built/env.mmap") (param i32) (param $bytes i32) (param i32 i32 i32) (param i64) (result i32)
    (call $given
      (call $raw_mmap (local.get 0) (local.get $bytes) (local.get 2) (local.get 3) (local.get 4) (local.get 5)) (local.get $bytes)))
  ;; Files cannot be mapped; unmapped memory is not reused.
  (func (export "guarded/env.mmap") (param i32) (param $bytes i32) (param i32 i32) (param $file i32) (param i64) (result i32)
    (if (i32.or (i32.ne (local.get $file) (i32.const -1)) (i32.gt_u (local.get $bytes) (i32.const 0x7fff0000)))
      (then (return (i32.const -1))))
    (if (i32.eqz (local.get $bytes)) (then (return (i32.const -1))))
    (call $given (call $break (i32.and (i32.add (local.get $bytes) (i32.const 65535)) (i32.const -65536))) (local.get $bytes)))
  (func (export "guarded/env.munmap") (param i32 i32) (result i32) (i32.const 0))

  ;; Replace the guest's instructions if pages of the support lie between its own.
  (func (export "guest.memory.size") (result i32)
    (if (result i32) (i32.lt_s (global.get $guest_pages) (i32.const 0))
      (then (memory.size)) (else (global.get $guest_pages))))
  (func (export "guest.memory.grow") (param $count i32) (result i32) (local $first i32)
    (if (i32.lt_s (global.get $guest_pages) (i32.const 0)) (then (return (memory.grow (local.get $count)))))
    ;; Growing by nothing returns the reported size.
    (if (i32.eqz (local.get $count)) (then (return (global.get $guest_pages))))
    (local.set $first (memory.grow (local.get $count)))
    (if (i32.ne (local.get $first) (i32.const -1))
      (then (global.set $guest_pages (memory.size))))
    (local.get $first))

  ;; Allocates pages for so many bytes; ends the run on failure.
  (func $new_pages (param $bytes i64) (result i32) (local $first i32)
    (if (i64.le_u (local.get $bytes) (i64.const 0x7fff0000)) (then
      (local.set $first (call $pages (i32.wrap_i64 (i64.shr_u
        (i64.add (local.get $bytes) (i64.const 65535)) (i64.const 16)))))))
    (if (i32.eqz (local.get $first)) (then (call $fault_room (local.get $bytes))))
    (local.get $first))

  (func $room_for (param $bytes i64) (result i32) (local $wanted i64)
    (if (i64.gt_u (local.get $bytes) (i64.extend_i32_u (global.get $room_bytes))) (then
      ;; At least double the size, so that growing wastes little.
      (local.set $wanted (i64.and (i64.add (local.get $bytes) (i64.const 65535)) (i64.const -65536)))
      (if (i64.lt_u (local.get $wanted) (i64.const 0x10000000)) (then
        (if (i64.lt_u (local.get $wanted) (i64.shl (i64.extend_i32_u (global.get $room_bytes)) (i64.const 1))) (then
          (local.set $wanted (i64.shl (i64.extend_i32_u (global.get $room_bytes)) (i64.const 1)))))))
      (global.set $room (call $new_pages (local.get $wanted)))
      (global.set $room_bytes (i32.wrap_i64 (local.get $wanted)))))
    (global.get $room))

  (func $keep (param $bytes i32) (result i32) (local $at i32)
    (local.set $bytes (i32.and (i32.add (local.get $bytes) (i32.const 15)) (i32.const -16)))
    (if (i32.gt_u (local.get $bytes) (global.get $kept_bytes)) (then
      (global.set $kept_bytes (i32.and (i32.add (local.get $bytes) (i32.const 65535)) (i32.const -65536)))
      (global.set $kept (call $new_pages (i64.extend_i32_u (global.get $kept_bytes))))))
    (local.set $at (global.get $kept))
    (global.set $kept (i32.add (local.get $at) (local.get $bytes)))
    (global.set $kept_bytes (i32.sub (global.get $kept_bytes) (local.get $bytes)))
    (local.get $at))
  ;; For a guest without an allocator.
  (func (export "none.malloc") (param $bytes i32) (result i32) (call $keep (local.get $bytes)))
  (func (export "none.free") (param i32))

  (func $copy (param $to i32) (param $from i32) (param $bytes i32)
    (block $done
      (loop $words
        (br_if $done (i32.lt_u (local.get $bytes) (i32.const 8)))
        (i64.store align=1 (local.get $to) (i64.load align=1 (local.get $from)))
        (local.set $to (i32.add (local.get $to) (i32.const 8)))
        (local.set $from (i32.add (local.get $from) (i32.const 8)))
        (local.set $bytes (i32.sub (local.get $bytes) (i32.const 8)))
        (br $words)))
    (block $end
      (loop $rest
        (br_if $end (i32.eqz (local.get $bytes)))
        (i32.store8 (local.get $to) (i32.load8_u (local.get $from)))
        (local.set $to (i32.add (local.get $to) (i32.const 1)))
        (local.set $from (i32.add (local.get $from) (i32.const 1)))
        (local.set $bytes (i32.sub (local.get $bytes) (i32.const 1)))
        (br $rest))))
  (func $zero (param $to i32) (param $bytes i32)
    (block $done
      (loop $words
        (br_if $done (i32.lt_u (local.get $bytes) (i32.const 8)))
        (i64.store align=1 (local.get $to) (i64.const 0))
        (local.set $to (i32.add (local.get $to) (i32.const 8)))
        (local.set $bytes (i32.sub (local.get $bytes) (i32.const 8)))
        (br $words)))
    (block $end
      (loop $rest
        (br_if $end (i32.eqz (local.get $bytes)))
        (i32.store8 (local.get $to) (i32.const 0))
        (local.set $to (i32.add (local.get $to) (i32.const 1)))
        (local.set $bytes (i32.sub (local.get $bytes) (i32.const 1)))
        (br $rest))))
  (func $min (param $a i32) (param $b i32) (result i32)
    (select (local.get $a) (local.get $b) (i32.lt_u (local.get $a) (local.get $b))))

  ;; ---- Text ----------------------------------------------------------------------------------------------------------------

  ;; Writes a number, returns the address after it.
  (func $decimal (param $to i32) (param $number i64) (result i32) (local $power i64)
    (local.set $power (i64.const 1))
    (block $found (loop $next
      (br_if $found (i64.lt_u (i64.div_u (local.get $number) (local.get $power)) (i64.const 10)))
      (local.set $power (i64.mul (local.get $power) (i64.const 10)))
      (br $next)))
    (loop $digits
      (i32.store8 (local.get $to) (i32.add (i32.const 48)
        (i32.wrap_i64 (i64.rem_u (i64.div_u (local.get $number) (local.get $power)) (i64.const 10)))))
      (local.set $to (i32.add (local.get $to) (i32.const 1)))
      (local.set $power (i64.div_u (local.get $power) (i64.const 10)))
      (br_if $digits (i64.ne (local.get $power) (i64.const 0))))
    (local.get $to))
  (func $number (param $to i32) (param $number i32) (result i32)
    (call $decimal (local.get $to) (i64.extend_i32_u (local.get $number))))
  ;; Copies a text up to its NUL, returns the address after the copy.
  (func $string (param $to i32) (param $from i32) (result i32) (local $byte i32)
    (block $end (loop $next
      (local.set $byte (i32.load8_u (local.get $from)))
      (br_if $end (i32.eqz (local.get $byte)))
      (i32.store8 (local.get $to) (local.get $byte))
      (local.set $to (i32.add (local.get $to) (i32.const 1)))
      (local.set $from (i32.add (local.get $from) (i32.const 1)))
      (br $next)))
    (local.get $to))
  (func $char (param $to i32) (param $byte i32) (result i32)
    (i32.store8 (local.get $to) (local.get $byte))
    (i32.add (local.get $to) (i32.const 1)))

  ;; Whether bytes are UTF-8: no overlong forms, no surrogates, nothing above U+10FFFF.
  (func $is_text (param $at i32) (param $bytes i32) (result i32)
    (local $lead i32) (local $more i32) (local $low i32) (local $high i32) (local $byte i32)
    (block $no
      (loop $next
        (if (i32.eqz (local.get $bytes)) (then (return (i32.const 1))))
        (local.set $lead (i32.load8_u (local.get $at)))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (local.set $bytes (i32.sub (local.get $bytes) (i32.const 1)))
        (br_if $next (i32.lt_u (local.get $lead) (i32.const 0x80)))
        ;; 80..C1 and F5..FF are no lead bytes.
        (br_if $no (i32.lt_u (local.get $lead) (i32.const 0xc2)))
        (br_if $no (i32.gt_u (local.get $lead) (i32.const 0xf4)))
        (local.set $more (i32.add (i32.const 1) (i32.add
          (i32.ge_u (local.get $lead) (i32.const 0xe0)) (i32.ge_u (local.get $lead) (i32.const 0xf0)))))
        (br_if $no (i32.lt_u (local.get $bytes) (local.get $more)))
        ;; The range of the second byte.
        (local.set $low (i32.const 0x80))
        (local.set $high (i32.const 0xbf))
        (if (i32.eq (local.get $lead) (i32.const 0xe0)) (then (local.set $low (i32.const 0xa0))))
        (if (i32.eq (local.get $lead) (i32.const 0xed)) (then (local.set $high (i32.const 0x9f))))
        (if (i32.eq (local.get $lead) (i32.const 0xf0)) (then (local.set $low (i32.const 0x90))))
        (if (i32.eq (local.get $lead) (i32.const 0xf4)) (then (local.set $high (i32.const 0x8f))))
        (loop $continued
          (local.set $byte (i32.load8_u (local.get $at)))
          (br_if $no (i32.lt_u (local.get $byte) (local.get $low)))
          (br_if $no (i32.gt_u (local.get $byte) (local.get $high)))
          (local.set $low (i32.const 0x80))
          (local.set $high (i32.const 0xbf))
          (local.set $at (i32.add (local.get $at) (i32.const 1)))
          (local.set $bytes (i32.sub (local.get $bytes) (i32.const 1)))
          (local.set $more (i32.sub (local.get $more) (i32.const 1)))
          (br_if $continued (local.get $more)))
        (br $next)))
    (i32.const 0))

  ;; ---- Base64 --------------------------------------------------------------------------------------------------------------

  (func $to_char (param $value i32) (result i32)
    (if (i32.lt_u (local.get $value) (i32.const 26)) (then (return (i32.add (local.get $value) (i32.const 65)))))
    (if (i32.lt_u (local.get $value) (i32.const 52)) (then (return (i32.add (local.get $value) (i32.const 71)))))
    (if (i32.lt_u (local.get $value) (i32.const 62)) (then (return (i32.sub (local.get $value) (i32.const 4)))))
    (select (i32.const 43) (i32.const 47) (i32.eq (local.get $value) (i32.const 62))))
  ;; -1 for a character outside the alphabet.
  (func $of_char (param $char i32) (result i32)
    (if (i32.lt_u (i32.sub (local.get $char) (i32.const 65)) (i32.const 26))
      (then (return (i32.sub (local.get $char) (i32.const 65)))))
    (if (i32.lt_u (i32.sub (local.get $char) (i32.const 97)) (i32.const 26))
      (then (return (i32.sub (local.get $char) (i32.const 71)))))
    (if (i32.lt_u (i32.sub (local.get $char) (i32.const 48)) (i32.const 10))
      (then (return (i32.add (local.get $char) (i32.const 4)))))
    (if (i32.eq (local.get $char) (i32.const 43)) (then (return (i32.const 62))))
    (if (i32.eq (local.get $char) (i32.const 47)) (then (return (i32.const 63))))
    (i32.const -1))
  ;; Writes the encoded bytes with padding, returns the address after them.
  (func $encode (param $to i32) (param $from i32) (param $bytes i32) (result i32) (local $three i32)
    (block $end (loop $next
      (br_if $end (i32.eqz (local.get $bytes)))
      (local.set $three (i32.shl (i32.load8_u (local.get $from)) (i32.const 16)))
      (if (i32.gt_u (local.get $bytes) (i32.const 1)) (then (local.set $three (i32.or (local.get $three)
        (i32.shl (i32.load8_u offset=1 (local.get $from)) (i32.const 8))))))
      (if (i32.gt_u (local.get $bytes) (i32.const 2)) (then (local.set $three (i32.or (local.get $three)
        (i32.load8_u offset=2 (local.get $from))))))
      (i32.store8 (local.get $to) (call $to_char (i32.shr_u (local.get $three) (i32.const 18))))
      (i32.store8 offset=1 (local.get $to)
        (call $to_char (i32.and (i32.shr_u (local.get $three) (i32.const 12)) (i32.const 63))))
      (i32.store8 offset=2 (local.get $to) (select
        (call $to_char (i32.and (i32.shr_u (local.get $three) (i32.const 6)) (i32.const 63)))
        (i32.const 61) (i32.gt_u (local.get $bytes) (i32.const 1))))
      (i32.store8 offset=3 (local.get $to) (select
        (call $to_char (i32.and (local.get $three) (i32.const 63)))
        (i32.const 61) (i32.gt_u (local.get $bytes) (i32.const 2))))
      (local.set $to (i32.add (local.get $to) (i32.const 4)))
      (br_if $end (i32.lt_u (local.get $bytes) (i32.const 3)))
      (local.set $from (i32.add (local.get $from) (i32.const 3)))
      (local.set $bytes (i32.sub (local.get $bytes) (i32.const 3)))
      (br $next)))
    (local.get $to))
  ;; The number of bytes that a text encodes; -1 if it is not base64.
  (func $decoded_bytes (param $from i32) (param $chars i32) (result i32) (local $at i32) (local $pad i32)
    (if (i32.and (local.get $chars) (i32.const 3)) (then (return (i32.const -1))))
    (if (i32.eqz (local.get $chars)) (then (return (i32.const 0))))
    (if (i32.eq (i32.load8_u (i32.sub (i32.add (local.get $from) (local.get $chars)) (i32.const 1))) (i32.const 61)) (then
      (local.set $pad (i32.const 1))
      (if (i32.eq (i32.load8_u (i32.sub (i32.add (local.get $from) (local.get $chars)) (i32.const 2))) (i32.const 61))
        (then (local.set $pad (i32.const 2))))))
    (loop $next
      (if (i32.lt_s (call $of_char (i32.load8_u (i32.add (local.get $from) (local.get $at)))) (i32.const 0))
        (then (return (i32.const -1))))
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (br_if $next (i32.lt_u (local.get $at) (i32.sub (local.get $chars) (local.get $pad)))))
    (i32.sub (i32.mul (i32.shr_u (local.get $chars) (i32.const 2)) (i32.const 3)) (local.get $pad)))
  ;; Decodes bytes. The target may be the beginning of the text: writing never overtakes reading.
  (func $decode (param $to i32) (param $from i32) (param $bytes i32) (local $bits i32) (local $count i32)
    (block $end (loop $next
      (br_if $end (i32.eqz (local.get $bytes)))
      (local.set $bits (i32.or (i32.shl (local.get $bits) (i32.const 6)) (call $of_char (i32.load8_u (local.get $from)))))
      (local.set $from (i32.add (local.get $from) (i32.const 1)))
      (local.set $count (i32.add (local.get $count) (i32.const 6)))
      (br_if $next (i32.lt_u (local.get $count) (i32.const 8)))
      (local.set $count (i32.sub (local.get $count) (i32.const 8)))
      (i32.store8 (local.get $to) (i32.shr_u (local.get $bits) (local.get $count)))
      (local.set $to (i32.add (local.get $to) (i32.const 1)))
      (local.set $bytes (i32.sub (local.get $bytes) (i32.const 1)))
      (br $next))))

  ;; ---- Faults --------------------------------------------------------------------------------------------------------------

  (func $fault_begin (export "fault.begin") (result i32) (call $t_fault (call $text)))
  (func $fault_end (export "fault.end") (param $end i32)
    (call $raw_write_output (call $text) (i32.sub (local.get $end) (call $text)))
    (call $raw_proc_exit (i32.const 0))
    unreachable)
  (func $fault_memory (export "fault.memory") (param $at i32) (param $bytes i32) (local $to i32)
    (local.set $to (call $t_to (call $number (call $t_memory_1 (call $fault_begin)) (local.get $at))))
    (local.set $to (call $decimal (local.get $to)
      (i64.add (i64.extend_i32_u (local.get $at)) (i64.extend_i32_u (local.get $bytes)))))
    (call $fault_end (call $t_bytes_end (call $decimal (call $t_memory_2 (local.get $to)) (call $end)))))
  (func $fault_string (export "fault.string") (param $at i32)
    (call $fault_end (call $t_no_nul (call $number (call $t_string (call $fault_begin)) (local.get $at)))))
  (func $fault_utf8 (export "fault.utf8") (param $at i32)
    (call $fault_end (call $t_not_utf8 (call $number (call $t_string (call $fault_begin)) (local.get $at)))))
  (func $fault_empty (export "fault.empty") (call $fault_end (call $t_empty (call $fault_begin))))
  (func $fault_size (export "fault.size") (param $key i32) (param $have i32) (param $asked i32) (local $to i32)
    (local.set $to (call $t_has (call $string (call $t_state (call $fault_begin)) (local.get $key))))
    (local.set $to (call $number (call $t_says (call $number (local.get $to) (local.get $have))) (local.get $asked)))
    (call $fault_end (call $t_keeps (local.get $to))))
  (func $fault_range (export "fault.range") (param $key i32) (param $from i32) (param $bytes i32) (param $size i32) (local $to i32)
    (local.set $to (call $t_to (call $number (call $t_range_1 (call $fault_begin)) (local.get $from))))
    (local.set $to (call $decimal (local.get $to)
      (i64.add (i64.extend_i32_u (local.get $from)) (i64.extend_i32_u (local.get $bytes)))))
    (local.set $to (call $t_which (call $string (call $t_range_2 (local.get $to)) (local.get $key))))
    (call $fault_end (call $t_bytes_end (call $number (local.get $to) (local.get $size)))))
  (func $fault_large (export "fault.large") (param $key i32) (param $asked i32) (local $to i32)
    (local.set $to (call $t_would (call $string (call $t_state (call $fault_begin)) (local.get $key))))
    (call $fault_end (call $t_most (call $number (local.get $to) (local.get $asked)))))
  (func $fault_reserved (export "fault.reserved") (param $key i32)
    (call $fault_end (call $t_reserved (call $string (call $t_key (call $fault_begin)) (local.get $key)))))
  (func $fault_element (export "fault.element") (param $bytes i32)
    (call $fault_end (call $t_element_3 (call $number (call $t_element_2
      (call $number (call $t_element_1 (call $fault_begin)) (local.get $bytes))) (global.get $most_element)))))
  (func $fault_room (export "fault.room") (param $bytes i64)
    (call $fault_end (call $t_room_2 (call $decimal (call $t_room (call $fault_begin)) (local.get $bytes)))))
  (func $fault_header (export "fault.header") (call $fault_end (call $t_header (call $fault_begin))))
  (func $fault_decimal (export "fault.decimal") (call $fault_end (call $t_decimal (call $fault_begin))))
  (func $fault_syscall (export "fault.syscall") (param $number i32)
    (call $fault_end (call $t_not_wamr (call $number (call $t_syscall (call $fault_begin)) (local.get $number)))))

  ;; ---- Checks --------------------------------------------------------------------------------------------------------------

  (func $memory_end (result i64) (i64.shl (i64.extend_i32_u (memory.size)) (i64.const 16)))
  ;; The end of all memory that the guest knows: its own, and what the host allocated for it, which may lie beyond the
  ;; reported size.
  (global $given_end (mut i64) (i64.const 0))
  (func $end (result i64) (local $end i64)
    (local.set $end (call $memory_end))
    (if (i32.ge_s (global.get $guest_pages) (i32.const 0)) (then
      (local.set $end (i64.shl (i64.extend_i32_u (global.get $guest_pages)) (i64.const 16)))))
    (select (local.get $end) (global.get $given_end) (i64.gt_u (local.get $end) (global.get $given_end))))
  (func $given (param $at i32) (param $bytes i32) (result i32) (local $end i64)
    (local.set $end (i64.add (i64.extend_i32_u (local.get $at)) (i64.extend_i32_u (local.get $bytes))))
    (if (i32.and (i32.ne (local.get $at) (i32.const -1)) (i64.gt_u (local.get $end) (global.get $given_end)))
      (then (global.set $given_end (local.get $end))))
    (local.get $at))
  (func $check (param $at i32) (param $bytes i32)
    ;; The host reads lengths as signed numbers, and throws if one is negative or cannot be allocated.
    (if (i32.gt_u (local.get $bytes) (i32.const 0x3fffffff))
      (then (call $fault_memory (local.get $at) (local.get $bytes))))
    (if (i64.gt_u (i64.add (i64.extend_i32_u (local.get $at)) (i64.extend_i32_u (local.get $bytes))) (call $end))
      (then (call $fault_memory (local.get $at) (local.get $bytes)))))
  ;; For an empty range, a valid address instead of an arbitrary one.
  (func $valid (param $at i32) (param $bytes i32) (result i32)
    (select (local.get $at) (call $small) (local.get $bytes)))

  ;; Copies a text with its NUL, checks the copy, and returns its length.
  (func $take_string (param $from i32) (param $to i32) (result i32) (local $bytes i32) (local $byte i32)
    (loop $next
      (if (i64.ge_u (i64.add (i64.extend_i32_u (local.get $from)) (i64.extend_i32_u (local.get $bytes))) (call $end))
        (then (call $fault_memory (local.get $from) (i32.add (local.get $bytes) (i32.const 1)))))
      (if (i32.gt_u (local.get $bytes) (i32.const 1024)) (then (call $fault_string (local.get $from))))
      (local.set $byte (i32.load8_u (i32.add (local.get $from) (local.get $bytes))))
      (i32.store8 (i32.add (local.get $to) (local.get $bytes)) (local.get $byte))
      (local.set $bytes (i32.add (local.get $bytes) (i32.const 1)))
      (br_if $next (local.get $byte)))
    (local.set $bytes (i32.sub (local.get $bytes) (i32.const 1)))
    (if (i32.eqz (call $is_text (local.get $to) (local.get $bytes))) (then (call $fault_utf8 (local.get $from))))
    (local.get $bytes))
  ;; Copies a key, and returns the address of the copy.
  (func $take_key (param $from i32) (result i32)
    (if (i32.eqz (call $take_string (local.get $from) (call $key_a))) (then (call $fault_empty)))
    (call $key_a))
  (func $is_reserved (param $key i32) (result i32)
    ;; `.faasm.`
    (i64.eq (i64.and (i64.load align=1 (local.get $key)) (i64.const 0x00ffffffffffffff)) (i64.const 0x002e6d736161662e)))
  (func $is_cleared (param $key i32) (result i32)
    ;; `cleared.`
    (i64.eq (i64.load offset=7 align=1 (local.get $key)) (i64.const 0x2e64657261656c63)))
  (func $is_function (param $key i32) (result i32)
    ;; `function`
    (i64.eq (i64.load offset=7 align=1 (local.get $key)) (i64.const 0x6e6f6974636e7566)))
  (func $is_list (param $key i32) (result i32)
    ;; `list.`
    (i64.eq (i64.and (i64.load offset=7 align=1 (local.get $key)) (i64.const 0xffffffffff)) (i64.const 0x2e7473696c)))
  ;; The key of a value. A guarded function may itself be built for Faasm, and then uses reserved keys, for generations
  ;; of lists and to look up functions.
  (func $value_key (param $from i32) (param $only_size i32) (result i32) (local $key i32)
    (local.set $key (call $take_key (local.get $from)))
    (if (call $is_reserved (local.get $key)) (then
      (if (i32.eqz (i32.and (global.get $guarded) (i32.or (call $is_cleared (local.get $key))
            (i32.and (call $is_function (local.get $key)) (local.get $only_size)))))
        (then (call $fault_reserved (local.get $key))))))
    (local.get $key))

  ;; ---- Values --------------------------------------------------------------------------------------------------------------

  ;; The size of the host's copy, else of the cluster's value; 0 if there is none. Creates none.
  (func $size (param $key i32) (result i32)
    (call $raw_read_state (local.get $key) (call $small) (i32.const 0)))
  ;; Copies the whole value to the scratch buffer.
  (func $whole (param $key i32) (param $size i32) (result i32) (local $to i32)
    (local.set $to (call $room_for (i64.extend_i32_u (local.get $size))))
    (drop (call $raw_read_state (local.get $key) (local.get $to) (local.get $size)))
    (local.get $to))
  ;; The size of a value for which the call claims `asked` bytes; 0 if there is none.
  (func $size_as (param $key i32) (param $asked i32) (result i32) (local $size i32)
    (if (i32.gt_u (local.get $asked) (i32.const 0x40000000)) (then (call $fault_large (local.get $key) (local.get $asked))))
    ;; Generations have a fixed size: a worker terminates if its copy is shorter than the value that it pulls.
    (if (i32.and (call $is_reserved (local.get $key)) (i32.ne (local.get $asked) (i32.const 8)))
      (then (call $fault_reserved (local.get $key))))
    (local.set $size (call $size (local.get $key)))
    (if (i32.and (i32.ne (local.get $size) (i32.const 0)) (i32.ne (local.get $size) (local.get $asked)))
      (then (call $fault_size (local.get $key) (local.get $size) (local.get $asked))))
    (local.get $size))

  (func (export "env.__faasm_read_state") (param $key i32) (param $to i32) (param $bytes i32) (result i32)
    (local $size i32) (local $count i32)
    (local.set $key (call $value_key (local.get $key) (i32.eqz (local.get $bytes))))
    (local.set $size (call $size (local.get $key)))
    (local.set $count (call $min (local.get $bytes) (local.get $size)))
    (if (i32.eqz (local.get $count)) (then (return (local.get $size))))
    (call $check (local.get $to) (local.get $count))
    (if (i32.eq (local.get $count) (local.get $size))
      (then (drop (call $raw_read_state (local.get $key) (local.get $to) (local.get $size))))
      (else (call $copy (local.get $to) (call $whole (local.get $key) (local.get $size)) (local.get $count))))
    (local.get $size))
  (func (export "env.__faasm_write_state") (param $key i32) (param $from i32) (param $bytes i32) (result i32) (local $size i32)
    (local.set $key (call $value_key (local.get $key) (i32.const 0)))
    (call $check (local.get $from) (local.get $bytes))
    (local.set $size (call $size_as (local.get $key) (local.get $bytes)))
    (if (local.get $bytes) (then
      (call $raw_write_state (local.get $key) (local.get $from) (local.get $bytes))
      (call $written (local.get $key) (local.get $size))))
    (i32.const 0))
  ;; A worker terminates if its copy is shorter than the cluster's value that it pulls, and its copy hides the other's
  ;; size. So a guarded function pushes the first value of a key at once: then no worker creates one of another size.
  (func $written (param $key i32) (param $size i32)
    (if (i32.and (global.get $guarded) (i32.eqz (local.get $size))) (then (call $raw_push_state (local.get $key)))))
  (func $push (export "env.__faasm_push_state") (export "lost/env.__faasm_push_state_partial")
    (param $key i32) (result i32) (local $size i32)
    (local.set $key (call $value_key (local.get $key) (i32.const 0)))
    (local.set $size (call $size (local.get $key)))
    (if (local.get $size) (then
      ;; A worker terminates if it pushes a value of which it has no copy.
      (drop (call $whole (local.get $key) (local.get $size)))
      (call $raw_push_state (local.get $key))))
    (i32.const 0))
  (func (export "lost/env.__faasm_push_state_partial_mask") (param $key i32) (param $mask i32) (result i32)
    (drop (call $value_key (local.get $mask) (i32.const 0)))
    (call $push (local.get $key)))
  (func (export "env.__faasm_pull_state") (param $key i32) (param $bytes i32) (result i32) (local $size i32)
    (local.set $key (call $value_key (local.get $key) (i32.const 0)))
    (local.set $size (call $size (local.get $key)))
    (if (local.get $bytes) (then (drop (call $size_as (local.get $key) (local.get $bytes)))))
    (if (local.get $size)
      (then (call $raw_pull_state (local.get $key) (local.get $size)))
      ;; The host creates a missing value as zeros. Not for guarded functions: it may get another size in the meantime.
      (else (if (i32.and (i32.ne (local.get $bytes) (i32.const 0)) (i32.eqz (global.get $guarded)))
        (then (call $raw_pull_state (local.get $key) (local.get $bytes))))))
    (i32.const 0))

  ;; Parts of values, implemented by whole values.
  (func $part (param $key i32) (param $size i32) (param $from i32) (param $bytes i32) (result i32)
    (if (i64.gt_u (i64.add (i64.extend_i32_u (local.get $from)) (i64.extend_i32_u (local.get $bytes)))
          (i64.extend_i32_u (local.get $size)))
      (then (call $fault_range (local.get $key) (local.get $from) (local.get $bytes) (local.get $size))))
    (call $size_as (local.get $key) (local.get $size)))
  (func (export "env.__faasm_read_state_offset")
    (param $key i32) (param $size i32) (param $from i32) (param $to i32) (param $bytes i32) (result i32) (local $have i32)
    (local.set $key (call $value_key (local.get $key) (i32.const 0)))
    (local.set $have (call $part (local.get $key) (local.get $size) (local.get $from) (local.get $bytes)))
    (call $check (local.get $to) (local.get $bytes))
    (if (local.get $have)
      (then (call $copy (local.get $to)
        (i32.add (call $whole (local.get $key) (local.get $size)) (local.get $from)) (local.get $bytes)))
      (else (call $zero (local.get $to) (local.get $bytes))))
    (local.get $bytes))
  (func (export "env.__faasm_write_state_offset")
    (param $key i32) (param $size i32) (param $at i32) (param $from i32) (param $bytes i32) (result i32)
    (local $value i32) (local $have i32)
    (local.set $key (call $value_key (local.get $key) (i32.const 0)))
    (call $check (local.get $from) (local.get $bytes))
    (local.set $have (call $part (local.get $key) (local.get $size) (local.get $at) (local.get $bytes)))
    (if (local.get $have)
      (then (local.set $value (call $whole (local.get $key) (local.get $size))))
      (else
        (local.set $value (call $room_for (i64.extend_i32_u (local.get $size))))
        (call $zero (local.get $value) (local.get $size))))
    (call $copy (i32.add (local.get $value) (local.get $at)) (local.get $from) (local.get $bytes))
    (if (local.get $size) (then
      (call $raw_write_state (local.get $key) (local.get $value) (local.get $size))
      (call $written (local.get $key) (local.get $have))))
    (i32.const 0))
  ;; Every write through the host is already marked dirty.
  (func (export "env.__faasm_flag_state_dirty") (param $key i32) (param $size i32)
    (drop (call $size_as (call $value_key (local.get $key) (i32.const 0)) (local.get $size))))
  (func (export "env.__faasm_flag_state_offset_dirty") (param $key i32) (param $size i32) (param $from i32) (param $bytes i32)
    (drop (call $part (call $value_key (local.get $key) (i32.const 0))
      (local.get $size) (local.get $from) (local.get $bytes))))
  ;; The only configured flag is `ALWAYS_ON`.
  (func (export "env.__faasm_conf_flag") (param $key i32) (result i32)
    (i32.and (i32.eq (call $take_string (local.get $key) (call $key_a)) (i32.const 9))
      (i32.and (i64.eq (i64.load align=1 (call $key_a)) (i64.const 0x4f5f535941574c41))
               (i32.eq (i32.load8_u offset=8 (call $key_a)) (i32.const 78)))))

  ;; ---- Lists ---------------------------------------------------------------------------------------------------------------

  (func $hex (param $byte i32) (result i32)
    (if (i32.lt_u (i32.sub (local.get $byte) (i32.const 48)) (i32.const 10))
      (then (return (i32.sub (local.get $byte) (i32.const 48)))))
    (if (i32.lt_u (i32.sub (i32.or (local.get $byte) (i32.const 32)) (i32.const 97)) (i32.const 6))
      (then (return (i32.sub (i32.or (local.get $byte) (i32.const 32)) (i32.const 87)))))
    (i32.const -1))
  (func $write_hex (param $to i32) (param $number i32) (result i32) (local $shift i32) (local $digit i32)
    (local.set $shift (i32.const 28))
    (loop $next
      (local.set $digit (i32.and (i32.shr_u (local.get $number) (local.get $shift)) (i32.const 15)))
      (local.set $to (call $char (local.get $to) (i32.add (local.get $digit)
        (select (i32.const 87) (i32.const 48) (i32.gt_u (local.get $digit) (i32.const 9))))))
      (local.set $shift (i32.sub (local.get $shift) (i32.const 4)))
      (br_if $next (i32.ge_s (local.get $shift) (i32.const 0))))
    (local.get $to))
  ;; How often a list was cleared; leaves the key of this number in `key_b`.
  (func $generation (param $key i32) (result i32) (local $number i32) (local $at i32) (local $digit i32)
    (drop (call $char (call $string (call $t_cleared (call $key_b)) (local.get $key)) (i32.const 0)))
    (if (i32.ne (call $size (call $key_b)) (i32.const 8)) (then (return (i32.const 0))))
    (call $raw_pull_state (call $key_b) (i32.const 8))
    (drop (call $raw_read_state (call $key_b) (call $small_value) (i32.const 8)))
    (loop $next
      (local.set $digit (call $hex (i32.load8_u (i32.add (call $small_value) (local.get $at)))))
      (if (i32.lt_s (local.get $digit) (i32.const 0)) (then (return (i32.const 0))))
      (local.set $number (i32.or (i32.shl (local.get $number) (i32.const 4)) (local.get $digit)))
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (br_if $next (i32.lt_u (local.get $at) (i32.const 8))))
    (local.get $number))
  ;; Copies the key of a list, and returns the address of the key for the host.
  (func $list_key (param $from i32) (result i32) (local $key i32) (local $number i32) (local $to i32)
    (local.set $key (call $take_key (local.get $from)))
    (if (call $is_reserved (local.get $key)) (then
      (if (i32.and (global.get $guarded) (call $is_list (local.get $key))) (then (return (local.get $key))))
      (call $fault_reserved (local.get $key))))
    (local.set $number (call $generation (local.get $key)))
    (if (i32.eqz (i32.or (global.get $guarded) (local.get $number))) (then (return (local.get $key))))
    (local.set $to (call $write_hex (call $t_list (call $key_c)) (local.get $number)))
    (drop (call $char (call $string (call $char (local.get $to) (i32.const 46)) (local.get $key)) (i32.const 0)))
    (call $key_c))
  (func (export "env.__faasm_append_state") (param $key i32) (param $from i32) (param $bytes i32) (result i32)
    (local.set $key (call $list_key (local.get $key)))
    (call $check (local.get $from) (local.get $bytes))
    (if (i32.gt_u (local.get $bytes) (global.get $most_element)) (then (call $fault_element (local.get $bytes))))
    (call $raw_append_state (local.get $key) (call $valid (local.get $from) (local.get $bytes)) (local.get $bytes))
    (i32.const 0))
  (func (export "env.__faasm_read_appended_state")
    (param $key i32) (param $to i32) (param $bytes i32) (param $count i32) (result i32) (local $needed i64) (local $room i32)
    (local.set $key (call $list_key (local.get $key)))
    (call $check (local.get $to) (local.get $bytes))
    (if (i32.le_s (local.get $count) (i32.const 0)) (then (return (i32.const 0))))
    (local.set $needed (i64.mul (i64.extend_i32_u (local.get $count)) (i64.extend_i32_u (global.get $most_element))))
    (if (i64.ge_u (i64.extend_i32_u (local.get $bytes)) (local.get $needed))
      (then (call $raw_read_appended_state (local.get $key) (local.get $to) (local.get $bytes) (local.get $count)))
      (else
        (local.set $room (call $room_for (local.get $needed)))
        (call $zero (local.get $room) (i32.wrap_i64 (local.get $needed)))
        (call $raw_read_appended_state (local.get $key) (local.get $room)
          (i32.wrap_i64 (local.get $needed)) (local.get $count))
        (call $copy (local.get $to) (local.get $room) (local.get $bytes))))
    (local.get $bytes))
  (func (export "env.__faasm_clear_appended_state") (param $key i32) (result i32) (local $number i32)
    (local.set $key (call $take_key (local.get $key)))
    (if (call $is_reserved (local.get $key)) (then (call $fault_reserved (local.get $key))))
    (local.set $number (i32.add (call $generation (local.get $key)) (i32.const 1)))
    (drop (call $size_as (call $key_b) (i32.const 8)))
    (drop (call $write_hex (call $small_value) (local.get $number)))
    (call $raw_write_state (call $key_b) (call $small_value) (i32.const 8))
    (call $raw_push_state (call $key_b))
    (i32.const 0))

  ;; ---- Input and output ----------------------------------------------------------------------------------------------------

  ;; Length of the header before the input, which is hidden from the function.
  (global $header (mut i32) (i32.const 0))
  ;; The last output, which `finish` may need again.
  (global $output (mut i32) (i32.const 0))
  (global $output_bytes (mut i32) (i32.const 0))
  (global $output_room (mut i32) (i32.const 0))

  (func $input_bytes (result i32)
    (i32.sub (call $raw_read_input (call $small) (i32.const 0)) (global.get $header)))
  (func (export "env.__faasm_read_input") (param $to i32) (param $bytes i32) (result i32) (local $count i32)
    (local.set $count (call $input_bytes))
    (if (i32.eqz (local.get $bytes)) (then (return (local.get $count))))
    (local.set $count (call $min (local.get $count) (local.get $bytes)))
    (if (i32.eqz (local.get $count)) (then (return (i32.const 0))))
    (call $check (local.get $to) (local.get $count))
    (call $copy_input (local.get $to) (local.get $count)))
  ;; Copies the first `count` bytes of the input, which has at least as many.
  (func $copy_input (param $to i32) (param $count i32) (result i32) (local $room i32)
    (if (i32.eqz (global.get $header)) (then
      (return (call $raw_read_input (local.get $to) (local.get $count)))))
    (local.set $room (call $room_for (i64.add (i64.extend_i32_u (local.get $count)) (i64.extend_i32_u (global.get $header)))))
    (drop (call $raw_read_input (local.get $room) (i32.add (local.get $count) (global.get $header))))
    (call $copy (local.get $to) (i32.add (local.get $room) (global.get $header)) (local.get $count))
    (local.get $count))

  ;; Number of base64 characters for so many bytes.
  (func $chars (param $bytes i32) (result i64)
    (i64.shl (i64.div_u (i64.add (i64.extend_i32_u (local.get $bytes)) (i64.const 2)) (i64.const 3)) (i64.const 2)))
  ;; Whether the planner and the reader of an output accept it unencoded.
  (func $is_plain (param $from i32) (param $bytes i32) (result i32)
    (if (i32.eqz (local.get $bytes)) (then (return (i32.const 1))))
    (if (i32.and (i32.eq (i32.load8_u (local.get $from)) (i32.const 2)) (i32.eqz (global.get $over_built)))
      (then (return (i32.const 0))))
    (call $is_text (local.get $from) (local.get $bytes)))
  (func $write_encoded (param $from i32) (param $bytes i32) (local $room i32) (local $to i32)
    (if (call $is_plain (local.get $from) (local.get $bytes)) (then
      (call $raw_write_output (call $valid (local.get $from) (local.get $bytes)) (local.get $bytes))
      (return)))
    (local.set $room (call $room_for (i64.add (i64.const 64) (call $chars (local.get $bytes)))))
    (local.set $to (call $encode (call $t_bytes (local.get $room)) (local.get $from) (local.get $bytes)))
    (i32.store8 (local.get $to) (i32.const 0))
    (call $raw_write_output (local.get $room) (i32.sub (local.get $to) (local.get $room))))
  (func (export "guarded/write") (param $from i32) (param $bytes i32)
    (call $write_encoded (local.get $from) (local.get $bytes)))
  (func (export "built/write") (param $from i32) (param $bytes i32)
    ;; With a NUL after it, without which WAMR rejects a text at the end of memory.
    (if (i32.ge_u (local.get $bytes) (global.get $output_room)) (then
      (global.set $output (call $new_pages (i64.add (i64.extend_i32_u (local.get $bytes)) (i64.const 1))))
      (global.set $output_room (i32.and (i32.add (local.get $bytes) (i32.const 65536)) (i32.const -65536)))))
    (call $copy (global.get $output) (local.get $from) (local.get $bytes))
    (i32.store8 (i32.add (global.get $output) (local.get $bytes)) (i32.const 0))
    (global.set $output_bytes (local.get $bytes))
    (call $write_encoded (global.get $output) (local.get $bytes)))
  (func (export "env.__faasm_write_output") (param $from i32) (param $bytes i32)
    (call $check (local.get $from) (local.get $bytes))
    (call $write (local.get $from) (local.get $bytes)))

  ;; At the end of a run, encodes a return value that is not 0 with the output.
  (func $finish (export "finish") (param $value i32) (local $room i32) (local $to i32)
    (if (i32.eqz (local.get $value)) (then (return)))
    (local.set $room (call $room_for (i64.add (i64.const 64) (call $chars (global.get $output_bytes)))))
    (local.set $to (call $t_result (local.get $room)))
    (if (i32.lt_s (local.get $value) (i32.const 0)) (then
      (local.set $to (call $char (local.get $to) (i32.const 45)))
      (local.set $value (i32.sub (i32.const 0) (local.get $value)))))
    (local.set $to (call $t_base64 (call $number (local.get $to) (local.get $value))))
    (local.set $to (call $encode (local.get $to) (global.get $output) (global.get $output_bytes)))
    (i32.store8 (local.get $to) (i32.const 0))
    (call $raw_write_output (local.get $room) (i32.sub (local.get $to) (local.get $room))))
  (func (export "built/wasi_snapshot_preview1.proc_exit") (export "built/env.exit") (export "built/env._Exit") (param $value i32)
    (call $finish (local.get $value))
    (call $raw_proc_exit (i32.const 0))
    unreachable)
  (func (export "guarded/env.exit") (export "guarded/env._Exit") (param $value i32)
    (call $raw_proc_exit (local.get $value))
    unreachable)

  ;; ---- Calls ---------------------------------------------------------------------------------------------------------------

  ;; Calls that were started and not awaited: pairs of an id and, if the call failed here, the address of the reason.
  (global $calls (mut i32) (i32.const 0))
  (global $calls_count (mut i32) (i32.const 0))
  (global $calls_room (mut i32) (i32.const 0))
  (global $last_failed (mut i32) (i32.const 0))

  (func $remember (param $id i32) (param $reason i32) (result i32) (local $room i32) (local $at i32)
    (if (i32.eq (global.get $calls_count) (global.get $calls_room)) (then
      (local.set $room (select (i32.const 8192) (i32.shl (global.get $calls_room) (i32.const 1))
        (i32.eqz (global.get $calls_room))))
      (local.set $at (call $new_pages (i64.shl (i64.extend_i32_u (local.get $room)) (i64.const 3))))
      (call $copy (local.get $at) (global.get $calls) (i32.shl (global.get $calls_count) (i32.const 3)))
      (global.set $calls (local.get $at))
      (global.set $calls_room (local.get $room))))
    (local.set $at (i32.add (global.get $calls) (i32.shl (global.get $calls_count) (i32.const 3))))
    (i32.store (local.get $at) (local.get $id))
    (i32.store offset=4 (local.get $at) (local.get $reason))
    (global.set $calls_count (i32.add (global.get $calls_count) (i32.const 1)))
    (local.get $id))
  ;; Removes a call; returns the address of its reason, 0 for a call of the host, -1 if there is no such call.
  (func $take_call (param $id i32) (result i32) (local $at i32) (local $last i32) (local $reason i32)
    (local.set $at (global.get $calls))
    (local.set $last (i32.add (global.get $calls) (i32.shl (global.get $calls_count) (i32.const 3))))
    (block $none (loop $next
      (br_if $none (i32.ge_u (local.get $at) (local.get $last)))
      (if (i32.eq (i32.load (local.get $at)) (local.get $id)) (then
        (local.set $reason (i32.load offset=4 (local.get $at)))
        (i64.store (local.get $at) (i64.load (i32.sub (local.get $last) (i32.const 8))))
        (global.set $calls_count (i32.sub (global.get $calls_count) (i32.const 1)))
        (return (local.get $reason))))
      (local.set $at (i32.add (local.get $at) (i32.const 8)))
      (br $next)))
    (i32.const -1))
  ;; Records a call that failed before it started, with the text up to `end` as its reason.
  (func $failed (param $end i32) (result i32) (local $bytes i32) (local $reason i32)
    (local.set $bytes (i32.sub (local.get $end) (call $text)))
    (local.set $reason (call $keep (i32.add (local.get $bytes) (i32.const 4))))
    (i32.store (local.get $reason) (local.get $bytes))
    (call $copy (i32.add (local.get $reason) (i32.const 4)) (call $text) (local.get $bytes))
    (global.set $last_failed (i32.sub (global.get $last_failed) (i32.const 1)))
    (call $remember (global.get $last_failed) (local.get $reason)))

  ;; Letters, digits, `_`, `-` and `.`, which must not come first; at most `most_name` bytes.
  (func $is_name (param $at i32) (param $bytes i32) (result i32) (local $byte i32)
    (if (i32.or (i32.eqz (local.get $bytes)) (i32.gt_u (local.get $bytes) (global.get $most_name))) (then (return (i32.const 0))))
    (if (i32.eq (i32.load8_u (local.get $at)) (i32.const 46)) (then (return (i32.const 0))))
    (loop $next
      (local.set $byte (i32.load8_u (local.get $at)))
      (if (i32.eqz (i32.or
            (i32.or (i32.lt_u (i32.sub (i32.or (local.get $byte) (i32.const 32)) (i32.const 97)) (i32.const 26))
                    (i32.lt_u (i32.sub (local.get $byte) (i32.const 48)) (i32.const 10)))
            (i32.or (i32.eq (local.get $byte) (i32.const 95))
                    (i32.lt_u (i32.sub (local.get $byte) (i32.const 45)) (i32.const 2)))))
        (then (return (i32.const 0))))
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (local.set $bytes (i32.sub (local.get $bytes) (i32.const 1)))
      (br_if $next (local.get $bytes)))
    (i32.const 1))
  (func (export "env.__faasm_chain_name") (param $name i32) (param $from i32) (param $bytes i32) (result i32) (local $count i32)
    (local.set $count (call $take_string (local.get $name) (call $key_a)))
    (local.set $name (call $key_a))
    (call $check (local.get $from) (local.get $bytes))
    (if (i32.eqz (call $is_name (local.get $name) (local.get $count))) (then
      (return (call $failed (call $t_no_name
        (call $string (call $char (call $text) (i32.const 96)) (local.get $name)))))))
    (if (global.get $check_names) (then
      (drop (call $char (call $string (call $t_function (call $key_b)) (local.get $name)) (i32.const 0)))
      (if (i32.eqz (call $size (call $key_b))) (then
        (return (call $failed (call $t_no_function_2
          (call $string (call $t_no_function_1 (call $text)) (local.get $name)))))))))
    (call $remember
      (call $raw_chain_name (local.get $name) (call $valid (local.get $from) (local.get $bytes)) (local.get $bytes))
      (i32.const 0)))
  (func (export "env.__faasm_chain_ptr") (param $pointer i32) (param $from i32) (param $bytes i32) (result i32)
    (call $check (local.get $from) (local.get $bytes))
    (if (i32.eqz (call $pointer_kind (local.get $pointer))) (then
      (return (call $failed (call $t_no_pointer_2
        (call $number (call $t_no_pointer_1 (call $text)) (local.get $pointer)))))))
    (call $remember (call $chain_pointer (local.get $pointer) (local.get $from) (local.get $bytes)) (i32.const 0)))
  (func (export "guarded/chain") (param $pointer i32) (param $from i32) (param $bytes i32) (result i32)
    (call $raw_chain_ptr (local.get $pointer) (call $valid (local.get $from) (local.get $bytes)) (local.get $bytes)))
  ;; The host reports 0 whatever a pointer returns. So `enter` is chained instead, with the pointer before the input.
  (func (export "built/chain") (param $pointer i32) (param $from i32) (param $bytes i32) (result i32) (local $room i32) (local $to i32)
    (local.set $room (call $room_for (i64.add (i64.const 16) (i64.extend_i32_u (local.get $bytes)))))
    (local.set $to (call $t_pointer (local.get $room)))
    (i32.store align=1 (local.get $to) (local.get $pointer))
    (call $copy (i32.add (local.get $to) (i32.const 4)) (local.get $from) (local.get $bytes))
    (i32.store8 (i32.add (local.get $to) (i32.add (local.get $bytes) (i32.const 4))) (i32.const 0))
    (call $raw_chain_ptr (global.get $entry_slot) (local.get $room) (i32.add (local.get $bytes) (i32.const 12))))
  ;; Called by the host for a chained pointer.
  (func (export "enter") (local $room i32) (local $pointer i32) (local $kind i32) (local $value i32)
    (local.set $room (call $small_value))
    (if (i32.lt_u (call $raw_read_input (call $small) (i32.const 0)) (i32.const 12)) (then (call $fault_header)))
    (drop (call $raw_read_input (local.get $room) (i32.const 12)))
    (drop (call $t_pointer (call $key_a)))
    (if (i64.ne (i64.load align=1 (local.get $room)) (i64.load align=1 (call $key_a))) (then (call $fault_header)))
    (local.set $pointer (i32.load offset=8 align=1 (local.get $room)))
    (global.set $header (i32.const 12))
    (local.set $kind (call $pointer_kind (local.get $pointer)))
    (if (i32.eqz (local.get $kind)) (then (call $fault_header)))
    (if (i32.eq (local.get $kind) (i32.const 1)) (then (call_indirect (type $void) (local.get $pointer))))
    (if (i32.eq (local.get $kind) (i32.const 2)) (then
      (local.set $value (call_indirect (type $value) (local.get $pointer)))))
    (if (i32.eq (local.get $kind) (i32.const 3)) (then
      (local.set $value (call_indirect (type $number) (call $input_number) (local.get $pointer)))))
    (call $finish (local.get $value)))
  ;; Parses the input as a decimal number.
  (func $input_number (result i32) (local $bytes i32) (local $at i32) (local $end i32) (local $number i64) (local $minus i32) (local $byte i32)
    (local.set $bytes (call $input_bytes))
    (if (i32.gt_u (local.get $bytes) (i32.const 64)) (then (call $fault_decimal)))
    (local.set $at (call $key_a))
    (local.set $end (i32.add (local.get $at) (call $copy_input (local.get $at) (local.get $bytes))))
    (loop $before
      (if (i32.lt_u (local.get $at) (local.get $end)) (then
        (if (call $is_blank (i32.load8_u (local.get $at))) (then
          (local.set $at (i32.add (local.get $at) (i32.const 1)))
          (br $before))))))
    (loop $behind
      (if (i32.lt_u (local.get $at) (local.get $end)) (then
        (if (call $is_blank (i32.load8_u (i32.sub (local.get $end) (i32.const 1)))) (then
          (local.set $end (i32.sub (local.get $end) (i32.const 1)))
          (br $behind))))))
    (if (i32.lt_u (local.get $at) (local.get $end)) (then
      (local.set $byte (i32.load8_u (local.get $at)))
      (local.set $minus (i32.eq (local.get $byte) (i32.const 45)))
      (if (i32.or (local.get $minus) (i32.eq (local.get $byte) (i32.const 43)))
        (then (local.set $at (i32.add (local.get $at) (i32.const 1)))))))
    (if (i32.ge_u (local.get $at) (local.get $end)) (then (call $fault_decimal)))
    (loop $digits
      (local.set $byte (i32.sub (i32.load8_u (local.get $at)) (i32.const 48)))
      (local.set $number (i64.add (i64.mul (local.get $number) (i64.const 10)) (i64.extend_i32_u (local.get $byte))))
      (if (i32.or (i32.gt_u (local.get $byte) (i32.const 9))
            (i64.gt_u (local.get $number) (i64.add (i64.const 0x7fffffff) (i64.extend_i32_u (local.get $minus)))))
        (then (call $fault_decimal)))
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (br_if $digits (i32.lt_u (local.get $at) (local.get $end))))
    (select (i32.sub (i32.const 0) (i32.wrap_i64 (local.get $number))) (i32.wrap_i64 (local.get $number)) (local.get $minus)))
  (func $is_blank (param $byte i32) (result i32)
    (i32.or (i32.eqz (local.get $byte))
      (i32.or (i32.eq (local.get $byte) (i32.const 32)) (i32.eq (local.get $byte) (i32.const 10)))))

  ;; The output of an awaited call, and the memory that the host allocated for it.
  (global $got (mut i32) (i32.const 0))
  (global $got_bytes (mut i32) (i32.const 0))
  (global $got_room (mut i32) (i32.const 0))

  (func $await (param $id i32) (result i32) (local $reason i32) (local $value i32)
    (global.set $got (i32.const 0))
    (global.set $got_bytes (i32.const 0))
    (global.set $got_room (i32.const 0))
    (local.set $reason (call $take_call (local.get $id)))
    (if (i32.eq (local.get $reason) (i32.const -1)) (then (return (i32.const 1))))
    (if (local.get $reason) (then
      (global.set $got_bytes (i32.load (local.get $reason)))
      (global.set $got (call $malloc (global.get $got_bytes)))
      (if (i32.eqz (global.get $got)) (then (call $fault_room (i64.extend_i32_u (global.get $got_bytes)))))
      (call $copy (global.get $got) (i32.add (local.get $reason) (i32.const 4)) (global.get $got_bytes))
      (global.set $got_room (global.get $got))
      (return (i32.const 1))))
    (i64.store align=1 (call $small) (i64.const 0))
    (local.set $value
      (call $raw_await_call_output (local.get $id) (call $small) (i32.add (call $small) (i32.const 4))))
    (global.set $got (i32.load align=1 (call $small)))
    (global.set $got_bytes (i32.load offset=4 align=1 (call $small)))
    (global.set $got_room (global.get $got))
    ;; In memory, because the host allocated it there; the result of an exported `malloc` is checked (`allocator.rs`).
    (drop (call $given (global.get $got) (global.get $got_bytes)))
    (call $decoded (local.get $value)))
  (func (export "env.__faasm_await_call_output") (param $id i32) (param $to i32) (param $to_bytes i32) (result i32) (local $value i32)
    (call $check (local.get $to) (i32.const 4))
    (call $check (local.get $to_bytes) (i32.const 4))
    (local.set $value (call $await (local.get $id)))
    (i32.store align=1 (local.get $to) (global.get $got))
    (i32.store align=1 (local.get $to_bytes) (global.get $got_bytes))
    (local.get $value))
  (func (export "guarded/env.__faasm_await_call") (param $id i32) (result i32)
    (if (call $take_call (local.get $id)) (then (return (i32.const 1))))
    (call $raw_await_call (local.get $id)))
  (func (export "built/env.__faasm_await_call") (param $id i32) (result i32) (local $value i32)
    (local.set $value (call $await (local.get $id)))
    (if (global.get $got_room) (then (call $free (global.get $got_room))))
    (local.get $value))

  ;; Decodes the output and returns the value; only functions of the same kind understand each other.
  (func (export "guarded/decoded") (param $value i32) (result i32) (local $end i32) (local $prefix i32)
    ;; A function that was built for Faasm, and then guarded, decodes outputs itself.
    (if (i32.or (global.get $over_built) (i32.eqz (global.get $got_bytes))) (then (return (local.get $value))))
    (local.set $end (i32.add (global.get $got) (global.get $got_bytes)))
    (local.set $prefix (call $begins (global.get $got) (local.get $end) (call $t_bytes (call $text))))
    (if (local.get $prefix) (then (drop (call $take_base64 (local.get $prefix) (local.get $end)))))
    (local.get $value))
  (func (export "built/decoded") (param $value i32) (result i32) (local $prefix i32)
    (local $at i32) (local $end i32) (local $said i64) (local $minus i32) (local $digits i32) (local $byte i32)
    (if (i32.eqz (global.get $got_bytes)) (then (return (local.get $value))))
    (if (i32.ne (i32.load8_u (global.get $got)) (i32.const 2)) (then (return (local.get $value))))
    (local.set $at (global.get $got))
    (local.set $end (i32.add (local.get $at) (global.get $got_bytes)))
    (local.set $prefix (call $begins (local.get $at) (local.get $end) (call $t_bytes (call $text))))
    (if (local.get $prefix) (then
      (drop (call $take_base64 (local.get $prefix) (local.get $end)))
      (return (local.get $value))))
    (local.set $prefix (call $begins (local.get $at) (local.get $end) (call $t_fault (call $text))))
    (if (local.get $prefix) (then
      (block $none (loop $code
        (br_if $none (i32.ge_u (local.get $prefix) (local.get $end)))
        (local.set $byte (i32.load8_u (local.get $prefix)))
        (local.set $prefix (i32.add (local.get $prefix) (i32.const 1)))
        (br_if $code (i32.ne (local.get $byte) (i32.const 59)))
        ;; At the address that the host allocated, so that it can be freed.
        (global.set $got_bytes (i32.sub (local.get $end) (local.get $prefix)))
        (call $copy (global.get $got) (local.get $prefix) (global.get $got_bytes))
        (return (i32.const 1))))
      (return (local.get $value))))
    (local.set $at (call $begins (local.get $at) (local.get $end) (call $t_result (call $text))))
    (if (i32.eqz (local.get $at)) (then (return (local.get $value))))
    (if (i32.lt_u (local.get $at) (local.get $end)) (then
      (local.set $minus (i32.eq (i32.load8_u (local.get $at)) (i32.const 45)))
      (local.set $at (i32.add (local.get $at) (local.get $minus)))))
    (block $said (loop $next
      (br_if $said (i32.ge_u (local.get $at) (local.get $end)))
      (local.set $byte (i32.sub (i32.load8_u (local.get $at)) (i32.const 48)))
      (br_if $said (i32.gt_u (local.get $byte) (i32.const 9)))
      (local.set $digits (i32.add (local.get $digits) (i32.const 1)))
      (local.set $said (i64.add (i64.mul (local.get $said) (i64.const 10)) (i64.extend_i32_u (local.get $byte))))
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (br_if $next (i32.lt_u (local.get $digits) (i32.const 10)))))
    (if (i32.or (i32.eqz (local.get $digits))
          (i64.gt_u (local.get $said) (i64.add (i64.const 0x7fffffff) (i64.extend_i32_u (local.get $minus)))))
      (then (return (local.get $value))))
    (local.set $prefix (call $begins (local.get $at) (local.get $end) (call $t_base64 (call $text))))
    (if (i32.eqz (local.get $prefix)) (then (return (local.get $value))))
    (if (i32.eqz (call $take_base64 (local.get $prefix) (local.get $end))) (then (return (local.get $value))))
    (select (i32.sub (i32.const 0) (i32.wrap_i64 (local.get $said))) (i32.wrap_i64 (local.get $said)) (local.get $minus)))
  ;; The address after the prefix in `text`, which ends at `prefix_end`, if a text begins with it; else 0.
  (func $begins (param $at i32) (param $end i32) (param $prefix_end i32) (result i32) (local $prefix i32)
    (local.set $prefix (call $text))
    (if (i32.lt_u (i32.sub (local.get $end) (local.get $at)) (i32.sub (local.get $prefix_end) (local.get $prefix)))
      (then (return (i32.const 0))))
    (loop $next
      (if (i32.ne (i32.load8_u (local.get $at)) (i32.load8_u (local.get $prefix))) (then (return (i32.const 0))))
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (local.set $prefix (i32.add (local.get $prefix) (i32.const 1)))
      (br_if $next (i32.lt_u (local.get $prefix) (local.get $prefix_end))))
    (local.get $at))
  ;; Decodes an output in place; returns 0 if it is not base64.
  (func $take_base64 (param $from i32) (param $end i32) (result i32) (local $bytes i32)
    (local.set $bytes (call $decoded_bytes (local.get $from) (i32.sub (local.get $end) (local.get $from))))
    (if (i32.lt_s (local.get $bytes) (i32.const 0)) (then (return (i32.const 0))))
    (call $decode (global.get $got) (local.get $from) (local.get $bytes))
    (global.set $got_bytes (local.get $bytes))
    (i32.const 1))

  ;; ---- Others --------------------------------------------------------------------------------------------------------------

  ;; An unknown clock terminates the worker; 28 is `inval`.
  (func (export "guarded/wasi_snapshot_preview1.clock_time_get") (param $clock i32) (param $precision i64) (param $to i32) (result i32)
    (if (i32.gt_u (local.get $clock) (i32.const 3)) (then (return (i32.const 28))))
    (call $check (local.get $to) (i32.const 8))
    (call $raw_clock_time_get (local.get $clock) (local.get $precision) (local.get $to)))
  ;; `gettid` is the only one that does not terminate the worker.
  (func (export "env.syscall") (param $number i32) (param $arguments i32) (result i32)
    (if (i32.ne (local.get $number) (i32.const 224)) (then (call $fault_syscall (local.get $number))))
    (call $raw_syscall (local.get $number) (local.get $arguments)))
  ;; The function does not migrate, and its team has one thread.
  (func (export "env.__faasm_migrate_point") (param i32 i32))
  (func (export "env.__faasm_sm_reduce") (param i32 i32 i32 i32))
  (func (export "env.__faasm_sm_critical_local") (export "env.__faasm_sm_critical_local_end"))
)

//! Translated modules are valid; that they do the same is tested by `exceptions_draft` of the conformance suite, which some
//! browsers run as it is.

use super::*;
use crate::module::features;
use crate::stages::input;

/// The function `$t` of the translation and what follows, as text.
fn translated(functions: &str) -> String {
    let wat = format!(
        r#"(module (memory 1) (tag $number (param i32)) (tag $none) (func (export "_start"))
        (func $f) (func $g (result i32) i32.const 1) {functions})"#
    );
    let draft = wat::parse_str(wat).unwrap();
    assert!(features::has_draft_exceptions(&draft));
    let today = input::check(&draft).unwrap();
    assert!(!features::has_draft_exceptions(&today));
    assert!(features::used(&today).iter().any(|feature| feature.name == "exception-handling"));
    let text = wasmprinter::print_bytes(&today).unwrap();
    let (_, function) = text.split_once("(func $t ").unwrap();
    function.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn a_handler_becomes_a_block_that_the_body_leaves() {
    let text = translated(
        "(func $t (result i32) try (result i32) call $g catch $number catch $none call $g end)",
    );
    let wanted = "block (result i32) ;; label = @1 block ;; label = @2 block (result i32) ;; label = @3 \
        try_table (result i32) (catch $number 0 (;@3;)) (catch $none 1 (;@2;)) ;; label = @4 call $g end \
        br 2 (;@1;) end br 1 (;@1;) end call $g end ) )";
    assert!(text.ends_with(wanted), "{text}");
}

#[test]
fn what_is_thrown_again_is_in_a_local() {
    let text = translated(
        "(func $t (param i32) (local i64) try call $f catch_all try call $f catch_all rethrow 1 end rethrow 0 end)",
    );
    assert!(text.contains("(local i64 exnref)"), "{text}");
    assert_eq!(text.matches("local.set 2").count(), 1);
    assert_eq!(text.matches("local.get 2 throw_ref").count(), 2);
    // The inner one's is not thrown again.
    assert_eq!(text.matches("catch_all_ref").count(), 1);
    let text = translated(
        "(func $t try call $f catch_all try call $f catch_all rethrow 0 end rethrow 0 end)",
    );
    assert!(text.contains("local.set 0") && text.contains("local.set 1"), "{text}");
}

#[test]
fn branches_are_counted_with_what_was_added() {
    // Out of the block around, out of the `try`, and to the function's end; from the body and from the handler.
    let text = translated(
        "(func $t (param i32) block try local.get 0 br_if 1 local.get 0 br_table 0 1 2 catch $none br 1 catch_all br 2 end end)",
    );
    let wanted = "block ;; label = @1 block ;; label = @2 block ;; label = @3 block ;; label = @4 \
        try_table (catch $none 0 (;@4;)) (catch_all 1 (;@3;)) ;; label = @5 local.get 0 br_if 4 (;@1;) local.get 0 \
        br_table 3 (;@2;) 4 (;@1;) 5 end br 2 (;@2;) end br 2 (;@1;) br 1 (;@2;) end br 2 end end ) )";
    assert!(text.ends_with(wanted), "{text}");
}

#[test]
fn delegates_go_to_the_body_of_a_try_around_or_out() {
    let delegating = |to| format!("try call $f delegate {to}");
    let nest = |inner: &str| {
        translated(&format!(
            "(func $t try block {inner} end catch_all try {inner} catch_all end end)"
        ))
    };
    // In the first, the block is no `try`: the one around it is meant. In the second, the body.
    let text = nest(&delegating(0));
    assert_eq!(text.matches("throw_ref").count(), 2, "{text}");
    // From the second, the handler that it is in does not catch it: it goes out.
    let text = nest(&delegating(1));
    assert_eq!(text.matches("throw_ref").count(), 2, "{text}");
    assert!(text.ends_with("return end throw_ref ) )"), "{text}");
    // Through one that delegates itself, and to one without handlers.
    translated("(func $t try try try call $f delegate 0 delegate 0 catch_all end)");
    translated("(func $t (result i32) try (result i32) try (result i32) call $g delegate 0 end)");
}

#[test]
fn blocks_take_parameters_along() {
    let text = translated(
        "(func $t (param i32) (result i32) local.get 0 try (param i32) (result i32) \
         try (param i32) (result i32) call $f delegate 0 catch $number rethrow 0 catch_all i32.const 2 end)",
    );
    assert!(text.contains("(param i32) (result i32 exnref)"), "{text}");
}

#[test]
fn damaged_modules_are_not_read_and_do_not_panic() {
    let wat = "(module (memory 1) (tag $t (param i32)) (func (export \"_start\") (local i32) \
        try try br 1 delegate 0 catch $t local.set 0 rethrow 0 catch_all try delegate 1 end))";
    let draft = wat::parse_str(wat).unwrap();
    assert!(translate(&draft).is_some());
    for at in 8..draft.len() {
        for byte in 0..=255 {
            let mut damaged = draft.clone();
            damaged[at] = byte;
            let _ = translate(&damaged);
            if let Ok(checked) = input::check(&damaged) {
                features::used(&checked);
            }
        }
        let _ = translate(&draft[..at]);
    }
}

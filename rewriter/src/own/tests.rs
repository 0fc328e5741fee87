//! The pass by itself: what it refuses, how its output grows, and that whatever is changed in it is seen.

use super::sites::Sites;
use super::{Checked, Output, instrument, validate};
use crate::asyncify::analyse::Analysis;
use crate::module::features;
use crate::stages::normalise::parse;
use crate::{Error, normalise, shim};
use std::collections::BTreeSet;
use std::ops::Range;
use std::path::Path;
use wasmparser::{Parser, Payload, Validator, WasmFeatures};

const CHECKED: Checked = Checked { asserts: false, verify: true };

fn run(wasm: &[u8]) -> Result<Output, Error> {
    let module = parse(wasm)?;
    let features = features::used(wasm);
    instrument(wasm, &module, &Analysis::of(&module), &features, CHECKED)
}

fn of_text(body: &str) -> Result<Output, Error> {
    let wat =
        format!(r#"(module (import "faasm_bridge" "suspend" (func $suspend)) (memory 1) {body})"#);
    run(&wat::parse_str(wat).unwrap())
}

/// The shapes that the goldens show, shimmed.
fn shapes() -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens");
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut shapes: Vec<(String, Vec<u8>)> = paths
        .filter_map(|path| {
            let name = path.file_name()?.to_str()?.to_owned();
            let is_one = name.starts_with("own-") && name.ends_with(".wat");
            is_one.then(|| {
                let wasm = wat::parse_file(&path).unwrap();
                (name, shim(&normalise(&wasm).unwrap().wasm).unwrap())
            })
        })
        .collect();
    shapes.sort();
    assert!(shapes.len() >= 8);
    shapes
}

/// Where the bodies lie of functions with these indices.
fn bodies(wasm: &[u8], wanted: &BTreeSet<u32>) -> Vec<Range<usize>> {
    let mut index = 0;
    let mut bodies = Vec::new();
    for payload in Parser::new(0).parse_all(wasm) {
        match payload.unwrap() {
            Payload::ImportSection(imports) => {
                let imports = imports.into_imports();
                let is_function = |import: &wasmparser::Import<'_>| {
                    matches!(import.ty, wasmparser::TypeRef::Func(_))
                };
                index += imports.map(Result::unwrap).filter(is_function).count() as u32;
            }
            Payload::CodeSectionEntry(body) => {
                if wanted.contains(&index) {
                    bodies.push(body.range());
                }
                index += 1;
            }
            _ => {}
        }
    }
    bodies
}

/// What a check of a module and its output needs.
struct Case {
    input: Vec<u8>,
    functions: BTreeSet<u32>,
    calls: BTreeSet<usize>,
    output: Vec<u8>,
}

impl Case {
    fn of(input: Vec<u8>) -> Self {
        let module = parse(&input).unwrap();
        let sites = Sites::of(&module, &Analysis::of(&module));
        let functions = sites.functions.keys().copied().collect();
        let output = run(&input).unwrap().wasm;
        Self { input, functions, calls: sites.calls, output }
    }

    fn check(&self, output: &[u8]) -> Result<(), Error> {
        validate::check(&self.input, output, &self.functions, &self.calls, false)
    }
}

/// Bytes of instrumented functions become others. What is valid then hardly ever means the same; it does where the byte is what
/// a function returns while it unwinds, or is of a value that is dropped.
#[test]
fn hardly_any_byte_of_an_instrumented_function_can_be_another_one() {
    let (mut seen, mut unseen) = (0, 0);
    for (_, wasm) in shapes() {
        let case = Case::of(wasm);
        let features = features::used(&case.input);
        for body in bodies(&case.output, &case.functions) {
            for (at, change) in body.flat_map(|at| [(at, 1), (at, 0xff), (at, 0x0b)]) {
                let mut other = case.output.clone();
                other[at] = other[at].wrapping_add(change);
                if features::suffice(&other, &features) {
                    match case.check(&other) {
                        Err(_) => seen += 1,
                        Ok(()) => unseen += 1,
                    }
                }
            }
        }
    }
    assert!(seen > 1500 && unseen < seen / 8, "{seen} changes are seen, {unseen} are not");
}

/// A function with two calls, one of them in a loop and above a value that was read from memory.
const TWO: &str = r#"(module
    (import "faasm_bridge" "suspend" (func $suspend))
    (memory 1)
    (func $f (export "f") (param i32) (result i32) (local i32)
      (loop
        (local.set 1 (i32.add (i32.load (i32.const 8)) (call $g (local.get 0))))
        (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
      (i32.mul (local.get 1) (call $g (i32.const 7))))
    (func $g (param i32) (result i32) (call $suspend) (local.get 0)))"#;

/// Lines of a module's text that follow each other become others.
fn changed(text: &str, from: &[&str], to: &[&str]) -> String {
    let mut lines: Vec<&str> = text.lines().map(str::trim).collect();
    let at = lines.windows(from.len()).position(|window| window == from);
    let at = at.unwrap_or_else(|| panic!("no {from:?} in\n{text}"));
    lines.splice(at..at + from.len(), to.iter().copied());
    lines.join("\n")
}

#[test]
fn each_promise_of_the_pass_is_checked() {
    let case = Case::of(wat::parse_str(TWO).unwrap());
    let text = wasmprinter::print_bytes(&case.output).unwrap();
    case.check(&wat::parse_str(&text).unwrap()).unwrap();
    let restore = "call $faasm:restore.i32";
    let save =
        ["local.get 0", "local.get 1", "local.get 2", "local.get 3", "call $faasm:save.i32x4"];
    let seen = |text: &str, part: &str| {
        let error = case.check(&wat::parse_str(text).unwrap()).unwrap_err().to_string();
        assert!(error.contains(part), "no `{part}` in: {error}");
    };
    for (from, to, part) in [
        // A number leads to another site.
        (&["br_table 1 (;@3;) 2 (;@2;)"][..], &["br_table 2 1"][..], "no way back to site 0"),
        (&["i32.const 0", "local.set 2"], &["i32.const 1", "local.set 2"], "another number"),
        // Nothing is asked after a call, or in a loop.
        (&["global.get 0", "br_if 2 (;@1;)"], &[], "the phase is not asked"),
        (&["global.get 0", "br_if 0 (;@4;)"], &[], "the phase is not asked"),
        // Another operand.
        (
            &["local.get 3", "local.get 0", "call $g"],
            &["local.get 1", "local.get 0", "call $g"],
            "another operand",
        ),
        // Something with an effect between the label and the call.
        (
            &["i32.const 8", "i32.load", "local.set 3", "end"],
            &["end", "i32.const 8", "i32.load", "local.set 3"],
            "where the input has",
        ),
        (&["i32.const 1", "local.set 2"], &["i32.const 1", "local.tee 2", "local.set 3"], ""),
        // What is saved is not what is restored, or not by the right function.
        (&save, &[save[1], save[0], save[2], save[3], save[4]], "not what is restored"),
        (
            &[restore, "local.set 3"],
            &["call $asyncify_get_state", "local.set 3"],
            "on the way back",
        ),
        (&["i32.store offset=4"], &["i32.store offset=8"], "something else is saved"),
        // The function itself.
        (&["i32.add", "local.set 1"], &["i32.sub", "local.set 1"], "another operand"),
        (&["i32.mul", "return"], &["i32.mul", "drop", "i32.const 3", "return"], "another operand"),
    ] {
        seen(&changed(&text, from, to), part);
    }
    // Saved and restored alike, but one that is read later is not among them.
    for (local, other) in [(3, 1), (0, 1), (1, 0)] {
        let (was, is) = (format!("local.set {local}"), format!("local.set {other}"));
        let less = changed(&text, &[restore, &was], &[restore, &is]);
        let kept = format!("local.get {other}");
        let mut saved = save;
        saved[local] = &kept;
        seen(&changed(&less, &save, &saved), &format!("local {local} is not restored"));
    }
}

#[test]
fn what_cannot_suspend_is_not_changed() {
    let wat = TWO.replace("(call $suspend) (local.get 0)", "(local.get 0)");
    let wat = wat.replace("(func $f", "(func (export \"s\") (call $suspend)) (func $f");
    let case = Case::of(wat::parse_str(&wat).unwrap());
    let text = wasmprinter::print_bytes(&case.output).unwrap();
    let other = changed(&text, &["i32.const 7"], &["i32.const 8"]);
    let error = case.check(&wat::parse_str(other).unwrap()).unwrap_err().to_string();
    assert!(error.contains("cannot suspend and is changed"), "{error}");
}

#[test]
fn legacy_handlers_are_refused_and_bodies_are_not() {
    let body = "(tag $e) (func $f (export \"f\") (param i32) (result i32)
        try (result i32) call $suspend local.get 0 catch $e i32.const 1 catch_all rethrow 0 end
        try call $suspend delegate 0)";
    let output = of_text(body).unwrap();
    let mut validator =
        Validator::new_with_features(WasmFeatures::default() | WasmFeatures::LEGACY_EXCEPTIONS);
    validator.validate_all(&output.wasm).unwrap();
    let handler = "(tag $e) (func $culprit try call $suspend catch $e call $suspend end)";
    let error = of_text(handler).unwrap_err().to_string();
    assert!(error.contains("a wait inside a handler") && error.contains("`culprit`"), "{error}");
}

#[test]
fn with_asserts_functions_that_cannot_suspend_trap() {
    let wat = r#"(module (import "faasm_bridge" "suspend" (func $suspend)) (memory 1)
        (func $waits (export "f") (call $suspend) (call $plain))
        (func $dead (return_call $plain) (call $suspend))
        (func $plain (call $other))
        (func $other))"#;
    let wasm = wat::parse_str(wat).unwrap();
    let module = parse(&wasm).unwrap();
    let analysis = Analysis::of(&module);
    let how = Checked { asserts: true, verify: true };
    let output = instrument(&wasm, &module, &analysis, &features::used(&wasm), how).unwrap();
    let text = wasmprinter::print_bytes(output.wasm).unwrap();
    assert_eq!(text.matches("i32.eq\n").count(), 2, "{text}");
}

#[test]
fn other_memories_are_refused() {
    let refused = |memory: &str, part: &str| {
        let wat = format!(
            r#"(module (import "faasm_bridge" "suspend" (func $suspend)) {memory} (func (call $suspend)))"#
        );
        let error = run(&wat::parse_str(wat).unwrap()).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    };
    refused("(memory i64 1)", "64-bit");
    refused("(memory 1) (memory 1)", "2 memories");
    refused("", "no memory");
}

#[test]
fn output_grows_with_the_input() {
    let site = "(call $suspend)";
    let nested = |open: &str, count: usize, end: &str| {
        let open = format!("{open} {site} ").repeat(count);
        format!("(func (export \"f\") (param i32) {open} {})", end.repeat(count))
    };
    let size = |body: &str| of_text(body).unwrap().wasm.len();
    for (open, end) in [
        ("(loop", ")"),
        ("(block", ")"),
        ("(if (local.get 0) (then", "))"),
        ("(block (try_table", "))"),
        ("(if (local.get 0) (then) (else", "))"),
    ] {
        let (small, large) = (size(&nested(open, 200, end)), size(&nested(open, 400, end)));
        // Depths take another byte from 128 on.
        assert!(large < 5 * small / 2, "{open}: {small} bytes, then {large}");
    }
}

/// Calls above ever more values, with results of blocks among them, and values that nobody takes.
#[test]
fn many_calls_above_many_values_are_not_their_product() {
    let size = |count: usize, each: &str, take: &str| {
        let many = |one: &str| one.repeat(count);
        let body = format!(
            "(func $g (export \"g\") (result i32) (call $suspend) (i32.const 1))
             (func (export \"f\") (param i32) (result i32) (local i64)
               {} {} {})",
            many(each),
            "(i32.add)".repeat(count - 1),
            take
        );
        of_text(&body).unwrap().wasm.len()
    };
    for (each, take) in [
        ("(call $g)", ""),
        ("(local.get 0) (call $g) (i32.mul)", ""),
        ("(block (result i32) (br_if 0 (call $g) (local.get 0)) (i32.const 1) (i32.add))", ""),
        ("(if (result i32) (call $g) (then (call $g)) (else (i32.const 3)))", ""),
        ("(i32.load (local.get 0)) (loop (drop (call $g)))", ""),
        ("(call $g) (if (local.get 0) (then (return (call $g))))", "(return)"),
    ] {
        let (small, large) = (size(200, each, take), size(400, each, take));
        assert!(large < 5 * small / 2, "{each}: {small} bytes, then {large}");
    }
}

#[test]
fn functions_that_are_added_have_names_and_labels_lose_theirs() {
    let body = "(func $f (export \"f\") (param $kept i32) (result i32)
        (block $gone (call $suspend)) (local.get $kept))";
    let text = wasmprinter::print_bytes(of_text(body).unwrap().wasm).unwrap();
    for name in ["(func $f ", "(func $faasm:save.i32 ", "(func $asyncify_start_unwind ", "$kept"] {
        assert!(text.contains(name), "no {name} in {text}");
    }
    assert!(!text.contains("$gone"), "{text}");
}

//! Limits of Asyncify and Binaryen, reported by function; the limits of the child; another `wasm-opt`.

use crate::{Bench, WAITING};
use faasm_bridge::manifest::{Manifest, Pass};
use std::fs;
use std::path::Path;
use std::process::Command;

/// A function that waits, with this code in addition, in a function called `$culprit`.
fn with(culprit: &str) -> String {
    format!(
        r#"(module
          (import "env" "__faasm_await_call" (func $await (param i32) (result i32)))
          (memory 1)
          (table $table 4 funcref)
          (elem (i32.const 0) func $innocent)
          (elem $passive func $innocent)
          (func $innocent (drop (call $await (i32.const 1))))
          {culprit}
          (func (export "_start") (call $innocent) (call $culprit)))"#
    )
}

/// Builds, and expects only the artefact for JavaScript Promise Integration, with these parts in the warning; or an
/// error with them, if such functions are rejected.
fn only_jspi(bench: &Bench, input: &Path, more: &[&str], parts: &[&str]) {
    bench.refused(input, &[more, &["--deny-only-jspi"]].concat(), parts);
    let outcome = bench.run("build", input, more);
    assert_eq!(outcome.status, 0, "{}", outcome.stderr);
    assert_eq!(outcome.stderr.lines().count(), 1, "{}", outcome.stderr);
    for part in parts.iter().chain(&["warning", "JavaScript Promise Integration only"]) {
        assert!(outcome.stderr.contains(part), "no `{part}` in: {}", outcome.stderr);
    }
    let name = input.file_stem().unwrap().to_str().unwrap();
    assert_eq!(bench.files(), [format!("{name}.json"), format!("{name}.wasm")]);
    let manifest = fs::read(bench.out().join(format!("{name}.json"))).unwrap();
    let manifest: Manifest = serde_json::from_slice(&manifest).unwrap();
    assert!(manifest.engines.asyncify.artefact().is_none());
    fs::remove_dir_all(bench.out()).unwrap();
}

#[test]
fn unsupported_constructs_are_reported_by_function() {
    let bench = Bench::new();
    let kept = r#"(func $holder (param $kept funcref) (call $innocent)
        (table.set $table (i32.const 1) (local.get $kept)))
      (func $passes_on (drop (call $await (i32.const 1)))
        (call $holder (table.get $table (i32.const 0))))
      (func $culprit (call $passes_on))"#;
    only_jspi(
        &bench,
        &bench.wat("kept.wasm", &with(kept)),
        &[],
        &["references that are held while the function waits", " in `holder`;", "an index"],
    );
    let overwrites = r#"(func $culprit (table.set $table (i32.const 1) (ref.func $innocent))
        (call_indirect $table (i32.const 1)))"#;
    only_jspi(
        &bench,
        &bench.wat("overwrites.wasm", &with(overwrites)),
        &[],
        &["a table whose slots the module overwrites", " in `culprit`;", "does not write to"],
    );
    for bulk in [
        "(table.init $table $passive (i32.const 0) (i32.const 0) (i32.const 1))",
        "(table.copy (i32.const 0) (i32.const 1) (i32.const 1))",
        "(table.fill $table (i32.const 0) (ref.null func) (i32.const 1))",
        "(elem.drop $passive)",
    ] {
        only_jspi(
            &bench,
            &bench.wat("bulk.wasm", &with(&format!("(func $culprit {bulk})"))),
            &[],
            &["bulk operations on tables", " in `culprit`;", "--wasm-opt"],
        );
    }
    let throws = "(tag $oops) (func $culprit (throw $oops))";
    only_jspi(
        &bench,
        &bench.wat("throws.wasm", &with(throws)),
        &[],
        &["exceptions, which Binaryen 116 cannot read", " in `culprit`;", "--wasm-opt"],
    );
    let catches = "(tag $oops) (func $culprit
        (block $caught (try_table (catch $oops $caught) (call $innocent))))";
    only_jspi(
        &bench,
        &bench.wat("catches.wasm", &with(catches)),
        &["--wasm-opt", "/nowhere"],
        &["exceptions in a function that can suspend", " in `culprit`;"],
    );
}

#[test]
fn unreadable_constructs_are_reported_by_function() {
    let bench = Bench::new();
    let block =
        "(func $culprit (i32.const 1) (block (param i32) (result i32) (call $await)) (drop))";
    only_jspi(
        &bench,
        &bench.wat("block.wasm", &with(block)),
        &[],
        &["blocks with parameters", " in `culprit`;", "--wasm-opt"],
    );
    let declared = "(elem declare funcref (ref.null func)) (func $culprit)";
    only_jspi(
        &bench,
        &bench.wat("declared.wasm", &with(declared)),
        &[],
        &["cannot read", "--wasm-opt"],
    );
    let collected = "(type $s (struct (field i32))) (func $culprit)";
    bench.refused(&bench.wat("gc.wasm", &with(collected)), &[], &["garbage collection"]);
}

#[test]
fn unused_tables_may_be_dropped() {
    let bench = Bench::new();
    let unused = "(table $first 4 externref) (table $other 4 funcref)
        (elem (table $other) (i32.const 1) func $culprit) (func $culprit)";
    let outcome = bench.run("build", &bench.wat("unused.wasm", &with(unused)), &[]);
    assert_eq!((outcome.status, outcome.stderr.as_str()), (0, ""));
}

#[test]
fn a_long_chain_of_functions_is_folded() {
    let bench = Bench::new();
    let chain = |length: usize| {
        let links: String =
            (0..length).map(|at| format!("(func $f{at} (call $f{}))\n", at + 1)).collect();
        let culprit =
            format!("{links} (func $f{length} (call $innocent)) (func $culprit (call $f0))");
        let outcome = bench.run("build", &bench.wat("chain.wasm", &with(&culprit)), &["--json"]);
        assert_eq!((outcome.status, outcome.stderr.as_str()), (0, ""));
        let report: serde_json::Value = serde_json::from_str(&outcome.stdout).unwrap();
        let functions = report[0]["functions"]["instrumented"].as_u64().unwrap();
        assert!(
            functions > length as u64,
            "the report is about the functions of the original: {functions}"
        );
        fs::read(bench.out().join("chain.asyncify.wasm")).unwrap().len()
    };
    // If instrumented one by one, they take some forty bytes each.
    let (short, long) = (chain(10), chain(1100));
    assert!(long < short + 4 * 1100, "{short} and {long} bytes");
}

#[test]
fn unreachable_functions_do_not_matter() {
    let bench = Bench::new();
    let dead = "(func $culprit (return_call $culprit) (drop (call $await (i32.const 1))))";
    let outcome = bench.run("build", &bench.wat("dead.wasm", &with(dead)), &[]);
    assert_eq!(outcome.status, 0, "{}", outcome.stderr);
}

#[test]
fn references_that_are_not_held_while_waiting_do_not_matter() {
    let bench = Bench::new();
    let moves = "(func $culprit (call $innocent)
        (table.set $table (i32.const 1) (table.get $table (i32.const 0))))";
    let outcome = bench.run("build", &bench.wat("moves.wasm", &with(moves)), &[]);
    assert_eq!((outcome.status, outcome.stderr.as_str()), (0, ""));
}

#[test]
fn tail_calls_that_cannot_suspend_stay_and_others_are_reported() {
    let bench = Bench::new();
    let tails =
        "(func $forever (param i32) (if (local.get 0) (then (return_call $forever (local.get 0)))))
        (func $waits (return_call $innocent))
        (func $culprit (call $forever (i32.const 0)) (call $waits))";
    let outcome = bench.run("build", &bench.wat("tails.wasm", &with(tails)), &[]);
    assert_eq!(outcome.status, 0, "{}", outcome.stderr);
    assert!(outcome.stderr.contains("`waits` can suspend"), "{}", outcome.stderr);
    assert_eq!(outcome.stderr.lines().count(), 1);
    let built = fs::read(bench.out().join("tails.asyncify.wasm")).unwrap();
    let text = wasmprinter::print_bytes(&built).unwrap();
    assert_eq!(text.matches("return_call").count(), 1, "{text}");
    assert!(!text.contains("faasm_veil"), "{text}");
}

#[cfg(target_os = "linux")]
#[test]
fn the_memory_of_the_child_is_bounded() {
    let bench = Bench::new();
    // Two thousand functions, each with locals to save.
    let functions: String = (0..2000)
        .map(|i| {
            format!(
                "(func $f{i} (export \"f{i}\") (param i32 i32) (result i32)
                   (i32.add (call $await (local.get 0)) (i32.mul (call $await (local.get 1)) (local.get 0))))"
            )
        })
        .collect();
    let culprit =
        format!("{functions} (func $culprit (drop (call $f7 (i32.const 1) (i32.const 2))))");
    let input = bench.wat("large.wasm", &with(&culprit));
    bench.refused(&input, &["--memory-limit", "16"], &["more than 16 MiB", "--memory-limit"]);
    let outcome = bench.run("build", &input, &["--memory-limit", "1"]);
    assert_eq!(outcome.status, 2, "{}", outcome.stderr);
}

#[test]
fn another_wasm_opt_gives_a_function_too() {
    let bench = Bench::new();
    let input = bench.wat("chain.wasm", WAITING);
    bench.refused(&input, &["--wasm-opt", "/nowhere/wasm-opt"], &["/nowhere/wasm-opt", "path"]);
    if Command::new("wasm-opt").arg("--version").output().is_err() {
        eprintln!("no wasm-opt on the PATH: install the package binaryen to test with one");
        return;
    }
    let outcome = bench.run("build", &input, &["--wasm-opt", "wasm-opt"]);
    assert_eq!((outcome.status, outcome.stderr.as_str()), (0, ""));
    let built = fs::read(bench.out().join("chain.asyncify.wasm")).unwrap();
    let text = wasmprinter::print_bytes(&built).unwrap();
    assert!(text.contains("(export \"asyncify_start_unwind\""), "{text}");
}

#[test]
fn our_own_pass_takes_what_binaryen_cannot() {
    let bench = Bench::new();
    for (name, culprit) in [
        (
            "kept",
            "(func $holder (param $kept funcref) (call $innocent)
               (table.set $table (i32.const 1) (local.get $kept)))
             (func $culprit (call $holder (table.get $table (i32.const 0))))",
        ),
        (
            "bulk",
            "(func $culprit (elem.drop $passive) (table.fill $table (i32.const 1) (ref.null func) (i32.const 1)))",
        ),
        (
            "catches",
            "(tag $oops) (func $culprit (block $caught (try_table (catch $oops $caught) (call $innocent))))",
        ),
        (
            "params",
            "(func $culprit (i32.const 1) (block (param i32) (result i32) (call $await)) (drop))",
        ),
    ] {
        let input = bench.wat(&format!("{name}.wasm"), &with(culprit));
        let outcome =
            bench.run("build", &input, &["--asyncify", "own", "--deny-only-jspi", "--asserts"]);
        assert_eq!((outcome.status, outcome.stderr.as_str()), (0, ""), "{name}");
        let manifest = fs::read(bench.out().join(format!("{name}.json"))).unwrap();
        let manifest: Manifest = serde_json::from_slice(&manifest).unwrap();
        let artefact = manifest.engines.asyncify.artefact().unwrap();
        assert_eq!(artefact.pass, Some(Pass::Own), "{name}");
    }
}

#[test]
fn what_our_own_pass_cannot_do_is_told_by_function() {
    let bench = Bench::new();
    let overwrites = "(func $culprit (table.set $table (i32.const 1) (ref.func $innocent))
        (call_indirect $table (i32.const 1)))";
    only_jspi(
        &bench,
        &bench.wat("overwrites.wasm", &with(overwrites)),
        &["--asyncify", "own"],
        &["a table whose slots the module overwrites", " in `culprit`;"],
    );
    let returns = "(func $gives (result (ref func)) (call $innocent) (ref.func $innocent))
        (func $culprit (drop (call $gives)))";
    only_jspi(
        &bench,
        &bench.wat("returns.wasm", &with(returns)),
        &["--asyncify", "own"],
        &["a returned reference that is never null", " in `gives`;", "can be null"],
    );
}

//! Golden tests: the first lines of each `goldens/NAME.wat` list the stages to show, as `;; RUN: STAGE`. The result of
//! each is in `NAME.STAGE.txt` beside it. `BLESS=1 cargo test -p faasm-asyncify --test golden` rewrites them.
//!
//! The output of each stage also has to validate.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use faasm_asyncify::faasm::{self, Use};
use faasm_asyncify::{
    Binaryen, Instrumentation, Instrumented, Unwinding, buffer, features, inspect, instrument,
    normalise, shim, why,
};
use faasm_bridge::manifest::Pass;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// One stage on one input, as text.
fn show(stage: &str, wasm: &[u8]) -> String {
    match stage {
        "normalise" => {
            let normalised = normalise(wasm).unwrap();
            let entry = serde_json::to_string(&normalised.entry).unwrap();
            format!(";; {:?} {entry}\n{}", normalised.era, text(&normalised.wasm))
        }
        "shim" => text(&shim(&normalise(wasm).unwrap().wasm).unwrap()),
        "buffer" => {
            let (wasm, buffer) = buffer::add(&normalise(wasm).unwrap().wasm, 65536).unwrap();
            format!(";; {buffer:?}\n{}", text(&wasm))
        }
        "warnings" => {
            let warnings = inspect(wasm).unwrap().warnings;
            warnings.iter().map(|warning| format!("{warning}\n")).collect()
        }
        "inspect" => run_inspect(wasm),
        "reach" => reach(wasm),
        "unwinding" => unwinding(wasm),
        "instrument" => text(&instrumented(wasm, Pass::Binaryen).wasm),
        "own" => without_additions(&text(&instrumented(wasm, Pass::Own).wasm)),
        "own-whole" => text(&instrumented(wasm, Pass::Own).wasm),
        "guarded" => linked(wasm, Use::Guarded),
        "faasm" => linked(wasm, Use::BuiltFor { allow_lost_updates: false }),
        other => panic!("no stage is called {other}"),
    }
}

/// The artefact for a Faasm cluster, without the bodies of the support, which are in `support.wat`.
fn linked(wasm: &[u8], use_: Use) -> String {
    let made = faasm::link(wasm, faasm::Options { use_, check_names: true }).unwrap().unwrap();
    let mut shown = format!(";; {}\n", made.wrapped.join(" "));
    let made_for_this = ["adapter", "stop", "main", "pointer_kind"];
    let mut is_left_out = false;
    for line in text(&made.wasm).lines() {
        if let Some(head) = line.strip_prefix("  (func $") {
            let added = head.split_once("faasm:").map(|(_, name)| name);
            is_left_out =
                added.is_some_and(|name| !made_for_this.iter().any(|made| name.starts_with(made)));
        } else if line.starts_with("  (func ") {
            is_left_out = false;
        }
        if !is_left_out || line.starts_with("  (func $") {
            shown += line;
            shown.push('\n');
        }
        is_left_out &= line != "  )";
    }
    shown
}

/// What our own pass makes, without the functions that it adds, which are the same everywhere.
fn without_additions(text: &str) -> String {
    let mut shown = String::new();
    let mut is_left_out = false;
    for line in text.lines() {
        if let Some(head) = line.strip_prefix("  (func ") {
            is_left_out = ["$faasm:", "$asyncify_"].iter().any(|start| head.starts_with(start));
        }
        if !is_left_out {
            shown += line;
            shown.push('\n');
        }
        is_left_out &= line != "  )";
    }
    shown
}

fn text(wasm: &[u8]) -> String {
    wasmparser::validate(wasm).unwrap();
    wasmprinter::print_bytes(wasm).unwrap()
}

/// Every function that can suspend, with its witness path.
fn reach(wasm: &[u8]) -> String {
    let shimmed = shim(&normalise(wasm).unwrap().wasm).unwrap();
    let reach = inspect(wasm).unwrap().reach;
    let head = format!(
        "{} of {} functions, {} by default\n",
        reach.functions.len(),
        reach.total,
        reach.by_default
    );
    let paths = reach.functions.iter().map(|function| {
        let steps = why(&shimmed, function).unwrap();
        let steps = steps.iter().map(|step| format!(" -{:?}-> {}", step.kind, step.callee));
        format!("{function}{}\n", steps.collect::<String>())
    });
    std::iter::once(head).chain(paths).collect()
}

fn instrumented(wasm: &[u8], pass: Pass) -> Instrumented {
    let shimmed = shim(&normalise(wasm).unwrap().wasm).unwrap();
    let binaryen = Binaryen::of(env!("CARGO_BIN_EXE_faasm-asyncify"));
    let how = Instrumentation { pass, ..Instrumentation::default() };
    instrument(&shimmed, &features::used(&shimmed), how, &binaryen).unwrap()
}

/// How much the instrumented function can save while it unwinds.
fn unwinding(wasm: &[u8]) -> String {
    let Unwinding { buffer, bound, lowered, .. } =
        instrumented(wasm, Pass::Binaryen).unwinding.unwrap();
    format!("{bound:?}\n{buffer:?}\nlowered tail calls: {lowered:?}\n")
}

fn run_inspect(wasm: &[u8]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("function.wasm");
    fs::write(&path, wasm).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_faasm-asyncify"))
        .arg("inspect")
        .arg(&path)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn every_stage_matches_its_golden_file() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens");
    let bless = std::env::var_os("BLESS").is_some();
    let mut inputs: Vec<PathBuf> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "wat"))
        .collect();
    inputs.sort();
    assert!(!inputs.is_empty());
    let mut different = Vec::new();
    for input in inputs {
        let wat = fs::read_to_string(&input).unwrap();
        let stages: Vec<&str> =
            wat.lines().filter_map(|line| line.strip_prefix(";; RUN: ")).collect();
        assert!(!stages.is_empty(), "{} lists no stage", input.display());
        let wasm = wat::parse_str(&wat).unwrap();
        for stage in stages {
            let shown = show(stage, &wasm);
            let golden = input.with_extension(format!("{stage}.txt"));
            if bless {
                fs::write(&golden, shown).unwrap();
            } else if fs::read_to_string(&golden).unwrap_or_default() != shown {
                different.push(format!("--- {} should be:\n{shown}", golden.display()));
            }
        }
    }
    assert!(different.is_empty(), "BLESS=1 accepts these:\n{}", different.join("\n"));
}

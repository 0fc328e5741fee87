//! A short, deterministic run of the fuzzer: regressions, the corpus, and a few new inputs; and proof that the fuzzer
//! detects differences.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use faasm_asyncify::{Normalised, normalise, shim};
use faasm_fuzz::campaign::{self, Settings, Target};
use faasm_fuzz::compare::{Comparison, compare};
use faasm_fuzz::decoders::DECODERS;
use faasm_fuzz::differential::Tools;
use faasm_fuzz::finding;
use faasm_fuzz::run::{self, Form, Observed};
use faasm_fuzz::scenario::Scenario;
use std::time::Duration;

#[test]
fn nothing_is_found() {
    finding::keep_panics();
    let settings = Settings {
        target: Target::All,
        seed: 1,
        jobs: 2,
        time: Duration::from_secs(600),
        inputs: 40,
        strict: false,
        grow: false,
    };
    let (totals, novelty) = campaign::run(settings, Tools::find().unwrap(), |_| {}).unwrap();
    assert!(totals.findings.is_empty(), "{totals}: {:#?}", totals.findings);
    // Minimum coverage that makes a run meaningful.
    assert!(2 * totals.suspended > totals.functions, "{totals}");
    assert!(totals.deepest > 10 && novelty.count() > 100, "{totals}");
}

/// Each decoder accepts some inputs and rejects some; otherwise there is too little or too much damage.
#[test]
fn no_decoder_goes_wrong() {
    finding::keep_panics();
    let settings = Settings {
        target: Target::Decoders,
        seed: 1,
        jobs: 2,
        time: Duration::from_secs(600),
        inputs: 50,
        strict: false,
        grow: false,
    };
    let (totals, _) = campaign::run(settings, Tools::find().unwrap(), |_| {}).unwrap();
    assert!(totals.findings.is_empty(), "{totals}: {:#?}", totals.findings);
    assert_eq!(totals.decoded.len(), DECODERS.len());
    for (name, (given, taken)) in &totals.decoded {
        assert!(*taken > 0 && given > taken, "{name}: {taken} of {given} taken");
    }
}

/// A function that waits with a local, a global and memory in use, and returns normally.
const WAITS: &str = r#"(module
    (import "env" "__faasm_await_call" (func $await (param i32) (result i32)))
    (memory 1)
    (global $g (export "g") (mut i32) (i32.const 1))
    (table (export "t") 2 funcref)
    (elem (i32.const 0) $await)
    (func (export "_start") (local $kept i32)
      (local.set $kept (i32.const 7))
      (global.set $g (call $await (i32.const 5)))
      (i32.store (i32.const 16) (local.get $kept))
      (drop (call $await (i32.const 6)))))"#;

/// A scenario in which every call waits.
fn waiting() -> Scenario {
    let engine = run::engine().unwrap();
    let waits = |scenario: &Scenario| observe(&engine, WAITS, *scenario).suspensions == 2;
    (0..100).map(Scenario::new).find(waits).unwrap()
}

fn observe(engine: &wasmtime::Engine, wat: &str, scenario: Scenario) -> Observed {
    let Normalised { wasm, entry, .. } = normalise(&wat::parse_str(wat).unwrap()).unwrap();
    let shimmed = shim(&wasm).unwrap();
    run::run(engine, Form { wasm: &shimmed, entry: &entry, buffer: None }, scenario).unwrap()
}

#[test]
fn every_difference_is_seen() {
    let engine = run::engine().unwrap();
    let scenario = waiting();
    let expected = observe(&engine, WAITS, scenario);
    assert_eq!(compare(&expected, &observe(&engine, WAITS, scenario)), Comparison::Alike);
    for (from, to, part) in [
        ("(i32.const 5)", "(i32.const 4)", "event 0"),
        ("(local.set $kept (i32.const 7))", "", "memory"),
        (
            "(global.set $g (call $await (i32.const 5)))",
            "(drop (call $await (i32.const 5)))",
            "`g`",
        ),
        ("(table (export \"t\") 2", "(table (export \"t\") 3", "`t`"),
        ("(memory 1)", "(memory 2)", "pages"),
        ("(drop (call $await (i32.const 6)))", "", "nothing"),
        (
            "(drop (call $await (i32.const 6)))",
            "(drop (call $await (i32.const 6))) (unreachable)",
            "ended",
        ),
    ] {
        let other = observe(&engine, &WAITS.replace(from, to), scenario);
        let Comparison::Differ(what) = compare(&expected, &other) else {
            panic!("`{from}` as `{to}` is not seen");
        };
        assert!(what.contains(part), "no `{part}` in: {what}");
    }
}

#[test]
fn a_shim_that_waits_in_the_wrong_place_is_seen() {
    let engine = run::engine().unwrap();
    let Normalised { wasm, entry, .. } = normalise(&wat::parse_str(WAITS).unwrap()).unwrap();
    let text = wasmprinter::print_bytes(shim(&wasm).unwrap()).unwrap();
    let scenario = waiting();
    // The shim never waits, or waits regardless of `begin`.
    for constant in [0, 1] {
        let (from, to) = ("    if ", format!("    drop i32.const {constant} if "));
        assert!(text.contains(from), "{text}");
        let broken = wat::parse_str(text.replace(from, &to)).unwrap();
        let form = Form { wasm: &broken, entry: &entry, buffer: None };
        let scenarios = [scenario, Scenario::new(scenario_without_waiting())];
        let seen = scenarios.iter().any(|scenario| {
            let expected = observe(&engine, WAITS, *scenario);
            let other = run::run(&engine, form, *scenario).unwrap();
            compare(&expected, &other) != Comparison::Alike
        });
        assert!(seen, "{to}");
    }
}

/// The seed of a scenario in which no call waits.
fn scenario_without_waiting() -> u64 {
    let engine = run::engine().unwrap();
    let waits = |seed: &u64| observe(&engine, WAITS, Scenario::new(*seed)).suspensions == 0;
    (0..1000).find(waits).unwrap()
}

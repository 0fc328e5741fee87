//! `faasm-asyncify build`: the inputs that it rejects, and the files that it writes.

use super::{Bench, WAITING};
use faasm_bridge::manifest::Manifest;
use faasm_bridge::placement::Where;
use std::fs;

const UNKNOWN: &str = r#"(module
  (import "env" "mystery" (func (param i32)))
  (import "env" "strcpy" (func (param i32 i32) (result i32)))
  (import "env" "popen" (func (result i32)))
  (import "env" "__faasm_teleport" (func))
  (memory 1)
  (func (export "_start") (call 0 (i32.const 1))))"#;

#[test]
fn invalid_inputs_are_rejected_by_kind() {
    let bench = Bench::new();
    let whole = wat::parse_str(WAITING).unwrap();
    let middle = whole.len() / 2;
    bench.refused(&bench.folder.path().join("missing.wasm"), &[], &["does not exist"]);
    bench.refused(bench.folder.path(), &[], &["is a folder"]);
    bench.refused(&bench.file("empty.wasm", b""), &[], &["is empty", "build"]);
    bench.refused(
        &bench.file("cut.wasm", &whole[..middle]),
        &[],
        &["ends early", &format!("{middle:#x}")],
    );
    bench.refused(&bench.file("text.wasm", WAITING.as_bytes()), &[], &["text", "wat2wasm"]);
    bench.refused(
        &bench.file("elf.wasm", b"\x7fELF\x02\x01\x01\0"),
        &[],
        &["not WebAssembly", "7f"],
    );
    bench.refused(
        &bench.wat("component.wasm", "(component)"),
        &[],
        &["component", "wasm32-wasip1"],
    );
    bench.refused(&bench.wat("wide.wasm", "(module (memory i64 1))"), &[], &["64-bit"]);
    bench.refused(
        &bench.wat("threads.wasm", "(module (memory 1 2 shared))"),
        &[],
        &["shared", "-pthread"],
    );
    bench.refused(
        &bench.wat("global.wasm", r#"(module (import "env" "g" (global i32)) (memory 1))"#),
        &[],
        &["`env.g`", "global"],
    );
    bench.refused(
        &bench.wat("library.wasm", "(module (memory 1))"),
        &[],
        &["`_start`", "not a library"],
    );
    bench.refused(
        &bench.wat("reactor.wasm", r#"(module (memory 1) (func (export "_initialize")))"#),
        &[],
        &["`_initialize`", "a command"],
    );
    bench.refused(
        &bench.wat(
            "zygote.wasm",
            r#"(module (memory 1) (func (export "main")) (func (export "_faasm_zygote") (param i32)))"#,
        ),
        &[],
        &["`_faasm_zygote`", "(i32) -> nothing", "() -> i32"],
    );
    bench.refused(
        &bench
            .wat("invalid.wasm", r#"(module (memory 1) (func $f (export "_start") i32.const 1))"#),
        &[],
        &["not valid", "`f`", "0x"],
    );
    bench.refused(
        &bench.wat(
            "signature.wasm",
            r#"(module (import "env" "__faasm_await_call" (func (param i64) (result i32))) (memory 1) (func (export "_start")))"#,
        ),
        &[],
        &["`env.__faasm_await_call`", "(i64) -> i32", "(i32) -> i32"],
    );
    bench.refused(&bench.wat("a b.wasm", WAITING), &[], &["`a b`", "letters"]);
    bench.refused(&bench.wat("small.wasm", WAITING), &["--stack-size", "3"], &["3 bytes"]);
}

#[test]
fn a_built_function_is_not_built_again() {
    let bench = Bench::new();
    let input = bench.wat("chain.wasm", WAITING);
    assert_eq!(bench.run("build", &input, &[]).status, 0);
    for built in ["chain.wasm", "chain.asyncify.wasm"] {
        let built = fs::read(bench.out().join(built)).unwrap();
        let again = Bench::new();
        let input = again.file("again.wasm", &built);
        again.refused(&input, &[], &["already instrumented", "faasm_bridge", "original"]);
    }
    assert_eq!(bench.run("build", &input, &["--asyncify", "own"]).status, 0);
    let built = fs::read(bench.out().join("chain.asyncify.wasm")).unwrap();
    let again = Bench::new();
    let input = again.file("again.wasm", &built);
    again.refused(&input, &[], &["already instrumented", "the work of `--asyncify own`"]);
    let foreign = Bench::new();
    let input = foreign.wat(
        "emscripten.wasm",
        r#"(module (memory 1) (func (export "asyncify_start_unwind") (param i32)))"#,
    );
    foreign.refused(&input, &[], &["already instrumented", "exports `asyncify_start_unwind`"]);
    // A host would find these instead of the rewriter's additions, which have such names.
    let ours = r#"(module (memory 1) (global (export "faasm:guest.pages") i32 (i32.const 0)) (func (export "_start")))"#;
    let input = foreign.wat("ours.wasm", ours);
    foreign.refused(&input, &[], &["already instrumented", "exports `faasm:guest.pages`"]);
}

#[test]
fn a_waiting_function_becomes_two_artefacts_and_a_manifest() {
    let bench = Bench::new();
    let outcome = bench.run("build", &bench.wat("chain.wasm", WAITING), &["--stack-size", "70000"]);
    assert_eq!((outcome.status, outcome.stderr.as_str()), (0, ""));
    let table: Vec<Vec<&str>> =
        outcome.stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(table[0][..5], ["function", "original", "JSPI", "Asyncify", "growth"]);
    assert_eq!((table.len(), table[1][0]), (2, "chain"), "{}", outcome.stdout);
    assert_eq!(bench.files(), ["chain.asyncify.wasm", "chain.json", "chain.wasm"]);

    let json = fs::read_to_string(bench.out().join("chain.json")).unwrap();
    assert!(json.ends_with("}\n"));
    let manifest: Manifest = serde_json::from_str(&json).unwrap();
    assert_eq!(manifest.imports.suspending, ["env.__faasm_await_call"]);
    let asyncify = manifest.engines.asyncify.artefact().unwrap();
    assert_eq!(asyncify.buffer.unwrap().bytes, 2 * 65536);

    let built = fs::read(bench.out().join("chain.asyncify.wasm")).unwrap();
    assert_eq!(built.len() as u64, asyncify.artefact.bytes);
    let text = wasmprinter::print_bytes(&built).unwrap();
    for export in faasm_asyncify::ASYNCIFY_EXPORTS {
        assert!(text.contains(&format!("(export \"{export}\"")), "{text}");
    }
    assert!(!text.contains("\"env\" \"__faasm_await_call\""), "{text}");
}

#[test]
fn rules_for_chained_calls_go_to_the_manifest() {
    let bench = Bench::new();
    let input = bench.wat("chain.wasm", WAITING);
    let rules = ["--where", "auto", "--where", "square=browser", "--where", "cube=cluster"];
    let outcome = bench.run("build", &input, &rules);
    assert_eq!((outcome.status, outcome.stderr.as_str()), (0, ""));
    let json = fs::read_to_string(bench.out().join("chain.json")).unwrap();
    let document: serde_json::Value = serde_json::from_str(&json).unwrap();
    let wanted = serde_json::json!({ "default": "auto", "square": "browser", "cube": "cluster" });
    assert_eq!(document["where"], wanted);
    let manifest: Manifest = serde_json::from_str(&json).unwrap();
    assert_eq!(manifest.chained.of("square"), Some(Where::Browser));
    for (rule, problem) in [
        ("moon", "`moon` is not a place; use cluster, browser or auto"),
        ("a/b=auto", "`a/b` cannot name a function"),
    ] {
        let outcome = bench.run("build", &input, &["--where", rule]);
        assert_eq!(outcome.status, 2);
        assert!(outcome.stderr.contains(problem), "{}", outcome.stderr);
    }
}

#[test]
fn rules_for_state_go_to_the_manifest_if_there_are_any() {
    let bench = Bench::new();
    let input = bench.wat("f.wasm", WAITING);
    assert_eq!(bench.run("build", &input, &[]).status, 0);
    let read = || fs::read_to_string(bench.out().join("f.json")).unwrap();
    let document: serde_json::Value = serde_json::from_str(&read()).unwrap();
    assert_eq!(document.get("state"), None);
    let said = ["--state-pin", "a", "--state-pin", "b c", "--state-local", "mine/*"];
    let outcome = bench.run("build", &input, &said);
    assert_eq!((outcome.status, outcome.stderr.as_str()), (0, ""));
    let document: serde_json::Value = serde_json::from_str(&read()).unwrap();
    assert_eq!(document["state"], serde_json::json!({ "pin": ["a", "b c"], "local": ["mine/*"] }));
    let manifest: Manifest = serde_json::from_str(&read()).unwrap();
    assert!(manifest.state.prefetch.is_empty() && manifest.state.pin.len() == 2);
    let outcome = bench.run("build", &input, &["--state-prefetch", ""]);
    assert!(outcome.status == 2 && outcome.stderr.contains("at least one byte"));
    let many: Vec<String> = (0..257).map(|number| format!("--state-pin={number}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let outcome = bench.run("build", &input, &many);
    assert!(outcome.stderr.contains("257 pinned keys; 256 are allowed"), "{}", outcome.stderr);
}

#[test]
fn a_function_of_2020_is_built() {
    let bench = Bench::new();
    // Its memory and table are imported, its `main` takes arguments, its SIMD is the draft's, and its relocations are
    // old.
    let wat = r#"(module
      (import "env" "memory" (memory 2))
      (import "env" "__indirect_function_table" (table 3 funcref))
      (import "env" "__faasm_await_call" (func $await (param i32) (result i32)))
      (elem (i32.const 1) $await)
      (func $main (export "main") (param i32 i32) (result i32)
        (v128.store (i32.const 64) (v128.const i64x2 1 2))
        (call_indirect (param i32) (result i32) (local.get 0) (i32.const 1)))
      (@custom "reloc.CODE" "old"))"#;
    let today = wat::parse_str(wat).unwrap();
    let replace = |wasm: &[u8], from: &[u8; 2], to: &[u8; 2]| {
        let at: Vec<usize> = (0..wasm.len() - 1).filter(|at| &wasm[*at..at + 2] == from).collect();
        assert_eq!(at.len(), 1);
        let mut wasm = wasm.to_vec();
        wasm[at[0]..at[0] + 2].copy_from_slice(to);
        wasm
    };
    // v128.const and v128.store.
    let draft = replace(&replace(&today, b"\xfd\x0c", b"\xfd\x02"), b"\xfd\x0b", b"\xfd\x01");
    assert!(wasmparser::validate(&draft).is_err());
    let outcome = bench.run("build", &bench.file("old.wasm", &draft), &[]);
    assert_eq!((outcome.status, outcome.stderr.as_str()), (0, ""));

    let json = fs::read_to_string(bench.out().join("old.json")).unwrap();
    let manifest: Manifest = serde_json::from_str(&json).unwrap();
    assert_eq!(manifest.era, faasm_bridge::host::Era::Legacy);
    assert_eq!(manifest.entry.main, ["faasm:main"]);
    assert_eq!(manifest.original.bytes, draft.len() as u64);
    for built in ["old.wasm", "old.asyncify.wasm"] {
        let built = fs::read(bench.out().join(built)).unwrap();
        wasmparser::validate(&built).unwrap();
        let text = wasmprinter::print_bytes(&built).unwrap();
        assert!(text.contains("v128.store") && !text.contains("reloc."), "{text}");
        for import in text.lines().filter(|line| line.contains("(import ")) {
            assert!(import.contains("\"faasm_bridge\""), "{import}");
        }
    }
}

#[test]
fn a_function_that_never_waits_is_not_instrumented() {
    let bench = Bench::new();
    let input = bench.wat("quiet.wasm", "(module (memory 1) (func (export \"_start\")))");
    let outcome = bench.run("build", &input, &["--json"]);
    assert_eq!(outcome.status, 0, "{}", outcome.stderr);
    let results: serde_json::Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!(results[0]["name"], "quiet");
    assert!(results[0]["buffer"].is_null());
    let read = |name: &str| fs::read(bench.out().join(name)).unwrap();
    assert_eq!(read("quiet.wasm"), read("quiet.asyncify.wasm"));
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    let build = || {
        let bench = Bench::new();
        assert_eq!(bench.run("build", &bench.wat("chain.wasm", WAITING), &[]).status, 0);
        bench
            .files()
            .iter()
            .map(|name| fs::read(bench.out().join(name)).unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(build(), build());
}

#[test]
fn unknown_imports_are_a_warning_or_an_error() {
    let bench = Bench::new();
    let input = bench.wat("odd.wasm", UNKNOWN);
    bench.refused(&input, &["--deny-unknown"], &["env.mystery", "not linked", "--deny-unknown"]);
    let outcome = bench.run("build", &input, &[]);
    assert_eq!(outcome.status, 0, "{}", outcome.stderr);
    let prefix = "not in the host interface: ";
    for line in [
        "4 imports are not in the host interface: 1 of Faasm, 2 of the C or C++ library, 1 of the program;",
        &format!(
            "{prefix}`env.__faasm_teleport`: a host call of Faasm that this version does not have; run"
        ),
        &format!(
            "{prefix}`env.popen`, `env.strcpy`: a function of the C or C++ library that was not linked; link the library"
        ),
        &format!(
            "{prefix}`env.mystery`: a function of the program that was not linked; link what defines it"
        ),
    ] {
        assert!(outcome.stderr.contains(&format!("warning: odd: {line}")), "{}", outcome.stderr);
    }
    assert_eq!(bench.files().len(), 3);
    let inspected = bench.run("inspect", &input, &[]);
    let shown = "env.popen () -> i32\n    unknown: a function of the C or C++ library that was not linked; calling it traps";
    assert!(inspected.stdout.contains(shown), "{}", inspected.stdout);
    assert!(inspected.stdout.contains("\nwarning: 4 imports are not"), "{}", inspected.stdout);
}

#[test]
fn results_never_replace_inputs() {
    let bench = Bench::new();
    fs::create_dir(bench.out()).unwrap();
    let input = bench.out().join("chain.wasm");
    let wasm = wat::parse_str(WAITING).unwrap();
    fs::write(&input, &wasm).unwrap();
    let outcome = bench.run("build", &input, &[]);
    assert_eq!(outcome.status, 1);
    assert!(outcome.stderr.contains("overwritten"), "{}", outcome.stderr);
    assert_eq!(fs::read(&input).unwrap(), wasm);
}

#[test]
fn an_output_that_is_not_a_folder_is_named() {
    let bench = Bench::new();
    let input = bench.wat("chain.wasm", WAITING);
    fs::write(bench.out(), "in the way").unwrap();
    let outcome = bench.run("build", &input, &[]);
    assert_eq!(outcome.status, 1);
    assert!(outcome.stderr.contains(&*bench.out().to_string_lossy()), "{}", outcome.stderr);
}

#[test]
fn tail_calls_of_suspending_functions_become_plain_with_a_warning() {
    let bench = Bench::new();
    let input = bench.wat("tail.wasm", &WAITING.replace("(call $await", "(return_call $await"));
    let outcome = bench.run("build", &input, &[]);
    assert_eq!(outcome.status, 0, "{}", outcome.stderr);
    assert!(outcome.stderr.contains("warning: tail: `again` can suspend"), "{}", outcome.stderr);
}

#[test]
fn one_failing_function_does_not_stop_the_others() {
    let bench = Bench::new();
    let [first, bad, last] = [("a", WAITING), ("b", "(module)"), ("c", WAITING)]
        .map(|(name, wat)| bench.wat(&format!("{name}.wasm"), wat));
    let [bad, last] = [&bad, &last].map(|path| path.to_str().unwrap());
    let outcome = bench.run("build", &first, &[bad, last, "--json"]);
    assert_eq!(outcome.status, 1);
    assert_eq!(outcome.stderr.matches("error: ").count(), 1, "{}", outcome.stderr);
    assert!(outcome.stderr.contains("b.wasm: there is no memory"), "{}", outcome.stderr);
    assert!(
        outcome.stderr.trim_end().ends_with("/docs/errors/bad-memory.md"),
        "{}",
        outcome.stderr
    );
    let results: serde_json::Value = serde_json::from_str(&outcome.stdout).unwrap();
    let names: Vec<_> = results.as_array().unwrap().iter().map(|built| &built["name"]).collect();
    assert_eq!(names, ["a", "c"]);

    let outcome = bench.run("build", &first, &[bad, "missing.wasm"]);
    assert!(
        outcome.stderr.contains("error: 2 of 3 functions were not built"),
        "{}",
        outcome.stderr
    );
    assert!(outcome.stderr.contains("; see https://"), "one of several: {}", outcome.stderr);
}

#[test]
fn a_function_that_grows_too_much_is_not_written() {
    let bench = Bench::new();
    let input = bench.wat("chain.wasm", WAITING);
    bench.refused(&input, &["--max-size-growth", "10"], &["% larger", "--max-size-growth", "10 %"]);
    let outcome = bench.run("build", &input, &["--max-size-growth", "1000", "--json"]);
    assert_eq!(outcome.status, 0, "{}", outcome.stderr);
    let results: serde_json::Value = serde_json::from_str(&outcome.stdout).unwrap();
    let size = |engine: &str| results[0]["bytes"][engine].as_f64().unwrap();
    let growth = (size("asyncify") / size("jspi") - 1.0) * 100.0;
    assert!((results[0]["growth"].as_f64().unwrap() - growth).abs() < 0.01, "{results}");
}

/// `indirect` calls by pointer, but cannot suspend: Binaryen would instrument it all the same.
const POINTERS: &str = r#"(module
  (import "env" "__faasm_await_call" (func $await (param i32) (result i32)))
  (memory (export "memory") 1)
  (table 2 funcref)
  (elem (i32.const 1) $pure)
  (func $pure (param i32) (result i32) (i32.add (local.get 0) (i32.const 3)))
  (func $indirect (param i32 i32) (result i32)
    (i32.mul (call_indirect (param i32) (result i32) (local.get 0) (local.get 1))
             (call_indirect (param i32) (result i32) (local.get 1) (local.get 0))))
  (func (export "_start")
    (drop (call $await (i32.const 1)))
    (drop (call $indirect (i32.load (i32.const 8)) (i32.load (i32.const 12))))))"#;

#[test]
fn the_default_of_binaryen_is_compared_on_request() {
    let bench = Bench::new();
    let input = bench.wat("pointers.wasm", POINTERS);
    let outcome = bench.run("build", &input, &["--compare-default", "--json"]);
    assert_eq!((outcome.status, outcome.stderr.as_str()), (0, ""));
    let results: serde_json::Value = serde_json::from_str(&outcome.stdout).unwrap();
    let bytes = &results[0]["bytes"];
    assert!(bytes["byDefault"].as_u64() > bytes["asyncify"].as_u64(), "{results}");

    let outcome = bench.run("build", &input, &["--json"]);
    let results: serde_json::Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert!(results[0]["bytes"]["byDefault"].is_null(), "{results}");
}

#[test]
fn an_optimised_function_is_smaller_for_both_engines() {
    let bench = Bench::new();
    let wat = POINTERS.replace("(i32.const 3)))", "(i32.sub (i32.const 9) (i32.const 6))))");
    let input = bench.wat("pointers.wasm", &wat);
    let size = |more: &[&str]| {
        assert_eq!(bench.run("build", &input, more).status, 0);
        fs::metadata(bench.out().join("pointers.wasm")).unwrap().len()
    };
    assert!(size(&["--optimize"]) < size(&[]));
}

#[test]
fn another_wasm_opt_that_cannot_be_started_is_named() {
    let bench = Bench::new();
    let input = bench.wat("chain.wasm", WAITING);
    bench.refused(&input, &["--wasm-opt", "/nowhere/wasm-opt"], &["/nowhere/wasm-opt"]);
}

#[test]
fn the_artefact_for_faasm_is_written_on_request_and_uploads_as_the_function() {
    let bench = Bench::new();
    let text = WAITING.replace("_await_call\" (func $await (param i32)", "_write_output\" (func $out (param i32 i32))) (import \"env\" \"__faasm_await_call\" (func $await (param i32)");
    let input = bench.wat("chain.wasm", &text);
    assert_eq!(bench.run("build", &input, &[]).status, 0);
    assert!(!bench.files().contains(&"chain.cluster.wasm".to_owned()), "only on request");

    // By the former name of the option, too.
    for name in [&["--for", "faasm"][..], &["--text-output"]] {
        let outcome = bench.run("build", &input, &[name, &["--json"]].concat());
        assert_eq!((outcome.status, outcome.stderr.as_str()), (0, ""));
        assert!(outcome.stdout.contains(r#""file": "chain.cluster.wasm""#), "{}", outcome.stdout);
        let outcome = bench.run("build", &input, name);
        let line = "chain: upload chain.cluster.wasm to a Faasm cluster (it replaces host calls that a Faasm cluster \
                    gets wrong or lacks: env.__faasm_await_call, ";
        assert!(outcome.stdout.contains(line), "{}", outcome.stdout);
    }
    let manifest = fs::read(bench.out().join("chain.json")).unwrap();
    let manifest: Manifest = serde_json::from_slice(&manifest).unwrap();
    let cluster = fs::read(bench.out().join("chain.cluster.wasm")).unwrap();
    let described = manifest.faasm.unwrap();
    assert_eq!(described.artefact.integrity, faasm_asyncify::integrity(&cluster));
    assert!(!described.allow_lost_updates);
    assert_eq!(manifest.original.integrity, faasm_asyncify::integrity(&fs::read(&input).unwrap()));
    assert!(faasm_asyncify::faasm::is_built_for(&cluster));

    // It is uploaded under the function's name, and cannot be built by mistake.
    let made = bench.out().join("chain.cluster.wasm");
    let outcome = bench.run("build", &made, &[]);
    assert!(outcome.status == 1 && outcome.stderr.contains(".cluster"), "{}", outcome.stderr);
    let outcome = bench.run("upload", &made, &["--to", "http://127.0.0.1:1", "--user", "demo"]);
    assert!(outcome.stderr.contains("/f/demo/chain failed"), "{}", outcome.stderr);

    // If nothing has to be replaced, the original is uploaded.
    let bench = Bench::new();
    let quiet = r#"(module (memory (export "memory") 1) (func (export "_start")))"#;
    let outcome = bench.run("build", &bench.wat("quiet.wasm", quiet), &["--for", "faasm"]);
    assert_eq!(outcome.status, 0);
    assert!(outcome.stdout.contains(
        "upload quiet.wasm to a Faasm cluster (a Faasm cluster performs all its host calls"
    ));
    assert_eq!(bench.files(), ["quiet.asyncify.wasm", "quiet.json", "quiet.wasm"]);
}

#[test]
fn imports_that_faasm_does_not_support_are_rejected_by_name() {
    let bench = Bench::new();
    let function = |name: &str| {
        let wat = format!(
            r#"(module (import "env" "{name}" (func $call (param i32)))
              (memory (export "memory") 1) (func (export "_start") (call $call (i32.const 8))))"#
        );
        bench.wat("partial.wasm", &wat)
    };
    let lock = function("__faasm_lock_state_global");
    bench.refused(&lock, &["--for", "faasm"], &["`env.__faasm_lock_state_global`", "no locks"]);
    let partial = function("__faasm_push_state_partial");
    bench.refused(
        &partial,
        &["--for", "faasm"],
        &["`env.__faasm_push_state_partial`", "--allow-lost-updates"],
    );
    let outcome = bench.run("build", &partial, &["--for", "faasm", "--allow-lost-updates"]);
    assert_eq!((outcome.status, outcome.stderr.as_str()), (0, ""));
    let manifest = fs::read(bench.out().join("partial.json")).unwrap();
    let manifest: Manifest = serde_json::from_slice(&manifest).unwrap();
    assert!(manifest.faasm.unwrap().allow_lost_updates);
    let outcome = bench.run("build", &partial, &["--allow-lost-updates"]);
    assert_eq!(outcome.status, 2);
}

#[test]
fn modules_that_wamr_cannot_compile_are_rejected_only_for_faasm() {
    let bench = Bench::new();
    let tail =
        r#"(module (memory (export "memory") 1) (func $f (export "_start") return_call $f))"#;
    let tail = bench.wat("tail.wasm", tail);
    bench.refused(&tail, &["--for", "faasm"], &["tail-call", "Faasm's WAMR"]);
    assert_eq!(bench.run("build", &tail, &[]).status, 0);
}

//! The command line at its boundary: the real binary, its messages, its exit status and the files it leaves.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use faasm_bridge::manifest::Manifest;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

const WAITING: &str = r#"(module
  (import "env" "__faasm_await_call" (func $await (param i32) (result i32)))
  (import "env" "__faasm_chain_name" (func $chain (param i32 i32 i32) (result i32)))
  (memory (export "memory") 2)
  (data (i32.const 8) "child\00")
  (table 3 funcref)
  (elem (i32.const 1) $await $again)
  (func $again (result i32) (call $await (i32.const 7)))
  (func (export "_start")
    (drop (call_indirect (param i32) (result i32)
      (call $chain (i32.const 8) (i32.const 0) (i32.const 0)) (i32.const 1)))))"#;

const UNKNOWN: &str = r#"(module
  (import "env" "mystery" (func (param i32)))
  (memory 1)
  (func (export "_start") (call 0 (i32.const 1))))"#;

struct Bench {
    folder: TempDir,
}

struct Outcome {
    status: i32,
    stdout: String,
    stderr: String,
}

impl Bench {
    fn new() -> Bench {
        Bench { folder: tempfile::tempdir().unwrap() }
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    fn wat(&self, name: &str, wat: &str) -> PathBuf {
        self.file(name, &wat::parse_str(wat).unwrap())
    }

    fn out(&self) -> PathBuf {
        self.folder.path().join("out")
    }

    fn run(&self, command: &str, input: &Path, more: &[&str]) -> Outcome {
        let mut run = Command::new(env!("CARGO_BIN_EXE_faasm-asyncify"));
        run.arg(command).arg(input).args(more);
        if command == "build" {
            run.arg("-o").arg(self.out());
        }
        let output = run.output().unwrap();
        Outcome {
            status: output.status.code().unwrap(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    fn files(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.out()) else { return Vec::new() };
        let name = |entry: std::io::Result<fs::DirEntry>| {
            entry.unwrap().file_name().into_string().unwrap()
        };
        let mut names: Vec<String> = entries.map(name).collect();
        names.sort();
        names
    }

    /// Builds, and expects an error with these parts and nothing written.
    fn refused(&self, input: &Path, more: &[&str], parts: &[&str]) {
        let outcome = self.run("build", input, more);
        assert_eq!(outcome.status, 1, "{}", outcome.stderr);
        for part in parts.iter().chain(&[&*input.file_name().unwrap().to_string_lossy()]) {
            assert!(outcome.stderr.contains(part), "no `{part}` in: {}", outcome.stderr);
        }
        assert_eq!(outcome.stdout, "");
        assert_eq!(self.files(), [""; 0]);
    }
}

#[test]
fn bad_inputs_are_refused_by_what_they_are() {
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
            r#"(module (import "env" "__faasm_await_call" (func (param i64) (result i32))) (memory 1))"#,
        ),
        &[],
        &["`env.__faasm_await_call`", "(i64) -> i32", "(i32) -> i32"],
    );
    bench.refused(
        &bench.wat("tail.wasm", &WAITING.replace("(call $await", "(return_call $await")),
        &[],
        &["tail calls", "`again`"],
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
    let foreign = Bench::new();
    let input = foreign.wat(
        "emscripten.wasm",
        r#"(module (memory 1) (func (export "asyncify_start_unwind") (param i32)))"#,
    );
    foreign.refused(&input, &[], &["already instrumented", "exports `asyncify_start_unwind`"]);
}

#[test]
fn a_waiting_function_becomes_two_artefacts_and_a_manifest() {
    let bench = Bench::new();
    let outcome = bench.run("build", &bench.wat("chain.wasm", WAITING), &["--stack-size", "70000"]);
    assert_eq!((outcome.status, outcome.stderr.as_str()), (0, ""));
    assert_eq!(outcome.stdout.lines().count(), 1, "{}", outcome.stdout);
    assert_eq!(bench.files(), ["chain.asyncify.wasm", "chain.json", "chain.wasm"]);

    let json = fs::read_to_string(bench.out().join("chain.json")).unwrap();
    assert!(json.ends_with("}\n"));
    let manifest: Manifest = serde_json::from_str(&json).unwrap();
    assert_eq!(manifest.imports.suspending, ["env.__faasm_await_call"]);
    let buffer = manifest.engines.asyncify.buffer.unwrap();
    assert_eq!(buffer.bytes, 2 * 65536);

    let built = fs::read(bench.out().join("chain.asyncify.wasm")).unwrap();
    assert_eq!(built.len() as u64, manifest.engines.asyncify.artefact.bytes);
    let text = wasmprinter::print_bytes(&built).unwrap();
    for export in faasm_asyncify::ASYNCIFY_EXPORTS {
        assert!(text.contains(&format!("(export \"{export}\"")), "{text}");
    }
    assert!(!text.contains("\"env\" \"__faasm_await_call\""), "{text}");
}

#[test]
fn a_function_of_2020_is_built() {
    let bench = Bench::new();
    // Its memory and table are the embedder's, its main takes arguments, its SIMD is the draft's and its DWARF is old.
    let wat = r#"(module
      (import "env" "memory" (memory 2))
      (import "env" "__indirect_function_table" (table 3 funcref))
      (import "env" "__faasm_await_call" (func $await (param i32) (result i32)))
      (elem (i32.const 1) $await)
      (func $main (export "main") (param i32 i32) (result i32)
        (v128.store (i32.const 64) (v128.const i64x2 1 2))
        (call_indirect (param i32) (result i32) (local.get 0) (i32.const 1)))
      (@custom ".debug_loc" "old"))"#;
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
        assert!(text.contains("v128.store") && !text.contains("debug_loc"), "{text}");
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
    bench.refused(&input, &["--deny-unknown"], &["env.mystery", "--deny-unknown"]);
    let outcome = bench.run("build", &input, &[]);
    assert_eq!(outcome.status, 0, "{}", outcome.stderr);
    assert!(outcome.stderr.contains("warning: odd: import `env.mystery`"), "{}", outcome.stderr);
    assert_eq!(bench.files().len(), 3);
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
fn an_output_that_is_no_folder_is_named() {
    let bench = Bench::new();
    let input = bench.wat("chain.wasm", WAITING);
    fs::write(bench.out(), "in the way").unwrap();
    let outcome = bench.run("build", &input, &[]);
    assert_eq!(outcome.status, 1);
    assert!(outcome.stderr.contains(&*bench.out().to_string_lossy()), "{}", outcome.stderr);
}

#[test]
fn a_wrong_command_line_is_status_2() {
    let bench = Bench::new();
    assert_eq!(bench.run("unbuild", Path::new("x.wasm"), &[]).status, 2);
    assert_eq!(bench.run("inspect", Path::new("x.wasm"), &["--nothing"]).status, 2);
}

#[test]
fn an_upload_needs_a_server_and_says_so() {
    let bench = Bench::new();
    let input = bench.wat("chain.wasm", WAITING);
    // Bound and closed: nobody listens there.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let to = format!("http://127.0.0.1:{port}/");
    let outcome = bench.run("upload", &input, &["--to", &to, "--user", "demo"]);
    assert_eq!(outcome.status, 1);
    let url = format!("http://127.0.0.1:{port}/f/demo/chain");
    assert!(outcome.stderr.contains(&url), "{}", outcome.stderr);
}

#[test]
fn an_upload_puts_the_original_and_shows_refusals() {
    use std::io::{Read, Write};
    let bench = Bench::new();
    let wasm = wat::parse_str(WAITING).unwrap();
    let input = bench.wat("chain.wasm", WAITING);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let to = format!("http://{}", listener.local_addr().unwrap());
    let length = wasm.len();
    let server = std::thread::spawn(move || {
        let mut bodies = Vec::new();
        for answer in ["200 OK\r\ncontent-length: 0", "413 Too Large\r\ncontent-length: 9"] {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            let mut byte = [0];
            while !request.ends_with(b"\r\n\r\n") {
                stream.read_exact(&mut byte).unwrap();
                request.push(byte[0]);
            }
            assert!(request.starts_with(b"PUT /f/demo/other HTTP/1.1\r\n"));
            let mut body = vec![0; length];
            stream.read_exact(&mut body).unwrap();
            bodies.push(body);
            let body = if answer.starts_with("413") { "too large" } else { "" };
            write!(stream, "HTTP/1.1 {answer}\r\nconnection: close\r\n\r\n{body}").unwrap();
        }
        bodies
    });
    let more = ["--to", &to, "--user", "demo", "--name", "other"];
    let outcome = bench.run("upload", &input, &more);
    assert_eq!(outcome.status, 0, "{}", outcome.stderr);
    let outcome = bench.run("upload", &input, &more);
    assert_eq!(outcome.status, 1);
    assert!(
        outcome.stderr.contains("413") && outcome.stderr.contains("too large"),
        "{}",
        outcome.stderr
    );
    assert_eq!(server.join().unwrap(), [wasm.clone(), wasm]);
}

//! The binary.

use crate::fixtures::*;
use crate::support::LONG;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Instant;

fn relay() -> Command {
    Command::new(env!("CARGO_BIN_EXE_faasm-relay"))
}

/// A folder with these functions, and their paths.
fn functions(wats: &[(&str, &str)]) -> (tempfile::TempDir, Vec<PathBuf>) {
    let folder = tempfile::tempdir().unwrap();
    let write = |(name, wat): &(&str, &str)| {
        let path = folder.path().join(format!("{name}.wasm"));
        std::fs::write(&path, wat::parse_str(wat).unwrap()).unwrap();
        path
    };
    let paths = wats.iter().map(write).collect();
    (folder, paths)
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Prints its arguments, each with a NUL after it, and exits with their number.
const ARGS: &str = r#"(module
    (import "wasi_snapshot_preview1" "args_sizes_get" (func $sizes (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "args_get" (func $get (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
    (memory (export "memory") 1)
    (func (export "_start")
        (drop (call $sizes (i32.const 0) (i32.const 4)))
        (drop (call $get (i32.const 100) (i32.const 1000)))
        (i32.store (i32.const 8) (i32.const 1000))
        (i32.store (i32.const 12) (i32.load (i32.const 4)))
        (drop (call $write (i32.const 1) (i32.const 8) (i32.const 1) (i32.const 16)))
        (call $exit (i32.load (i32.const 0)))))"#;

#[test]
fn run_prints_and_exits_as_the_function_does() {
    let (_folder, paths) = functions(&[
        ("hello", HELLO),
        ("args", ARGS),
        ("trap", TRAP),
        ("push", PUSH),
        ("deep", DEEP),
    ]);
    let [hello, args, trap, ..] = paths.as_slice() else { unreachable!() };
    let done = relay().arg("run").arg(hello).args(["--input", "you"]).output().unwrap();
    assert_eq!((stdout(&done).as_str(), done.status.code()), ("Hello, you", Some(0)));

    // As the runner of tests is called, and as a person would.
    let expected = ("function.wasm\0--nocapture\0x\0".to_owned(), Some(3));
    let done = relay().args(["run", "--"]).arg(args).args(["--nocapture", "x"]).output().unwrap();
    assert_eq!((stdout(&done), done.status.code()), expected);
    let done = relay().arg("run").arg(args).args(["--", "--nocapture", "x"]).output().unwrap();
    assert_eq!((stdout(&done), done.status.code()), expected);

    let done = relay().arg("run").arg(trap).output().unwrap();
    assert_eq!((stdout(&done).as_str(), done.status.code()), ("", Some(1)));
    let reason = String::from_utf8(done.stderr).unwrap();
    assert!(reason.contains("trap.wasm: trap: ") && reason.contains("boom"), "{reason}");
    assert!(
        reason.trim_end().ends_with(
            "; see https://github.com/faasm/faasm-browser/blob/main/docs/errors/trap.md"
        ),
        "{reason}"
    );

    let missing = relay().args(["run", "nowhere.wasm"]).output().unwrap();
    let reason = String::from_utf8(missing.stderr).unwrap();
    assert!(reason.contains("reading nowhere.wasm") && !reason.contains("; see "), "{reason}");

    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("text.wasm");
    std::fs::write(&text, "(module)").unwrap();
    let refused = relay().arg("run").arg(&text).output().unwrap();
    let reason = String::from_utf8(refused.stderr).unwrap();
    assert!(reason.contains("loading ") && reason.contains("text.wasm: "), "{reason}");
    assert!(reason.trim_end().ends_with("/docs/errors/cannot-load.md"), "{reason}");
}

#[test]
fn explain_prints_the_page_of_a_code() {
    let known = relay().args(["explain", "outcome-unknown"]).output().unwrap();
    assert!(stdout(&known).starts_with("# `outcome-unknown`\n"), "{}", stdout(&known));
    assert_eq!(known.status.code(), Some(0));
    let unknown = relay().args(["explain", "mystery"]).output().unwrap();
    assert_eq!((stdout(&unknown).as_str(), unknown.status.code()), ("", Some(1)));
    let reason = String::from_utf8(unknown.stderr).unwrap();
    assert!(reason.contains("no error code `mystery`; give one of: aborted, "), "{reason}");
}

#[test]
fn run_reads_an_input_from_standard_input() {
    let (_folder, paths) = functions(&[("hello", HELLO)]);
    for option in ["--input", "--input-file"] {
        let mut run = relay();
        run.arg("run").arg(&paths[0]).args([option, "-"]);
        run.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut running = run.spawn().unwrap();
        running.stdin.take().unwrap().write_all(b"you").unwrap();
        let done = running.wait_with_output().unwrap();
        assert_eq!(stdout(&done), "Hello, you", "{option}");
    }
}

#[test]
fn run_lets_a_function_call_another_file() {
    const CALLER: &str = r#"(module
        (import "env" "__faasm_chain_name" (func $chain (param i32 i32 i32) (result i32)))
        (import "env" "__faasm_await_call" (func $await (param i32) (result i32)))
        (memory 1)
        (data (i32.const 0) "callee\00")
        (func (export "main") (result i32)
            (call $await (call $chain (i32.const 0) (i32.const 0) (i32.const 0)))))"#;
    let (_folder, paths) = functions(&[("caller", CALLER), ("callee", EXIT_EARLY)]);
    let alone = relay().arg("run").arg(&paths[0]).output().unwrap();
    assert_eq!(alone.status.code(), Some(1));
    let expected = "warning: caller: its chained call of callee failed (missing-function): function run/callee does not exist";
    let told = String::from_utf8(alone.stderr).unwrap();
    assert!(told.starts_with(expected), "{told}");
    assert!(told.trim_end().ends_with("/docs/errors/missing-function.md"), "{told}");
    let done = relay().arg("run").arg("--with").arg(&paths[1]).arg(&paths[0]).output().unwrap();
    assert_eq!((done.status.code(), done.stderr.as_slice()), (Some(3), &b""[..]));
}

/// Prints the shared file `data/a.txt`; exits with the error number of opening it.
const CAT: &str = r#"(module
    (import "wasi_snapshot_preview1" "path_open"
        (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 100) "faasm://data/a.txt")
    (func (export "main") (result i32) (local $error i32)
        (local.set $error (call $open (i32.const 3) (i32.const 0) (i32.const 100) (i32.const 18)
            (i32.const 0) (i64.const 2) (i64.const 2) (i32.const 0) (i32.const 0)))
        (if (local.get $error) (then (return (local.get $error))))
        (i32.store (i32.const 8) (i32.const 1000))
        (i32.store (i32.const 12) (i32.const 99))
        (drop (call $read (i32.load (i32.const 0)) (i32.const 8) (i32.const 1) (i32.const 12)))
        (drop (call $write (i32.const 1) (i32.const 8) (i32.const 1) (i32.const 16)))
        (i32.const 0)))"#;

#[test]
fn run_shares_files() {
    let (folder, paths) = functions(&[("cat", CAT)]);
    let local = folder.path().join("local.txt");
    std::fs::write(&local, "shared").unwrap();
    let local = local.display();
    let run = |file: &str| relay().args(["run", "--file", file]).arg(&paths[0]).output().unwrap();
    let done = run(&format!("data/a.txt={local}"));
    assert_eq!((stdout(&done).as_str(), done.status.code()), ("shared", Some(0)));
    let done = run(&format!("data/other.txt={local}"));
    assert_eq!((stdout(&done).as_str(), done.status.code()), ("", Some(44)), "no entry");
    for (bad, why) in [
        ("data/a.txt".to_owned(), "PATH=LOCALFILE"),
        (format!("../a={local}"), "cannot name a shared file"),
        ("a=nowhere".to_owned(), "reading nowhere"),
    ] {
        let refused = run(&bad);
        assert_eq!(refused.status.code(), Some(1));
        let reason = String::from_utf8(refused.stderr).unwrap();
        assert!(reason.contains(why), "{reason}");
    }
}

#[test]
fn serve_says_where_answers_and_ends_on_sigterm() {
    let folder = tempfile::tempdir().unwrap();
    let mut serve = relay();
    serve.args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(folder.path().join("data"));
    serve.arg("--web").arg(folder.path()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut running = serve.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(running.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.trim_end().strip_prefix("listening on http://").unwrap();
    let address = address.strip_suffix('/').unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    let request = format!("GET /healthz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");

    let kill = Command::new("kill").arg(running.id().to_string()).status().unwrap();
    assert!(kill.success());
    let ended = running.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(0));
    let log = String::from_utf8(ended.stderr).unwrap();
    assert!(log.lines().next().unwrap().contains("no tokens"), "{log}");
}

#[test]
fn serve_fails_before_it_says_that_it_listens_where_it_has_no_web_folder() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    for (web, why) in
        [(folder.path().join("missing"), "No such file"), (file, "it is not a folder")]
    {
        let mut serve = relay();
        serve.args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(folder.path().join("data"));
        let failed = serve.arg("--web").arg(&web).output().unwrap();
        assert_eq!((stdout(&failed).as_str(), failed.status.code()), ("", Some(1)));
        let reason = String::from_utf8(failed.stderr).unwrap();
        assert!(reason.contains("web is ") && reason.contains(why), "{reason}");
        assert!(!folder.path().join("data").exists(), "nothing was made");
    }
}

/// A relay that is told to end at once, with these arguments.
fn serve(folder: &Path, arguments: &[&str]) -> (Child, String) {
    let mut serve = relay();
    serve.args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(folder.join("data"));
    serve.args(["--set", "timings.drain=0", "--set", "timings.grace=0"]).args(arguments);
    let mut running = serve.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(running.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.trim_end().strip_prefix("listening on http://").unwrap();
    (running, address.strip_suffix('/').unwrap().to_owned())
}

fn send_signal(name: &str, running: &Child) {
    let id = running.id().to_string();
    let sent = Command::new("kill").args(["-s", name, &id]).status().unwrap();
    assert!(sent.success());
}

fn ends(mut running: Child) -> ExitStatus {
    let begun = Instant::now();
    loop {
        if let Some(status) = running.try_wait().unwrap() {
            return status;
        }
        if begun.elapsed() > LONG {
            running.kill().unwrap();
            panic!("it does not end");
        }
        std::thread::yield_now();
    }
}

/// A file that whoever reads it waits at, for ever.
fn pipe(path: &Path) {
    let _ = std::fs::remove_file(path);
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

/// Waits until somebody reads a pipe; they go on waiting while this is held.
fn opened(path: &Path) -> File {
    const O_NONBLOCK: i32 = 0o4000;
    let begun = Instant::now();
    loop {
        // An error while nobody reads it.
        let opened = OpenOptions::new().write(true).custom_flags(O_NONBLOCK).open(path);
        match opened {
            Ok(file) => return file,
            Err(error) => assert!(begun.elapsed() < LONG, "nobody reads it: {error}"),
        }
        std::thread::yield_now();
    }
}

#[test]
fn serve_ends_on_sigterm_although_its_main_task_is_stuck() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    std::fs::write(&secret, [b'x'; 40]).unwrap();
    let named = format!("tokens.secret_file={}", secret.display());
    let (running, _) = serve(folder.path(), &["--set", &named]);
    pipe(&secret);
    send_signal("HUP", &running);
    let _held = opened(&secret);
    send_signal("TERM", &running);
    assert_eq!(ends(running).code(), Some(1));
}

#[test]
fn what_a_library_says_of_a_function_is_not_in_its_standard_error() {
    let (_folder, paths) = functions(&[("hello", HELLO)]);
    let [hello] = paths.as_slice() else { unreachable!() };
    // A name for a function that is not there.
    let names = b"\x04name\x01\x04\x01\x63\x01x";
    let mut wasm = std::fs::read(hello).unwrap();
    wasm.extend([0, names.len() as u8]);
    wasm.extend(names);
    std::fs::write(hello, wasm).unwrap();
    let mut run = relay();
    run.arg("run").arg(hello).args(["--input", "you"]).env_remove("RUST_LOG");
    let done = run.output().unwrap();
    assert_eq!(stdout(&done), "Hello, you");
    assert_eq!(String::from_utf8(done.stderr).unwrap(), "");
}

//! `faasm-asyncify run`, with a relay that only prints its arguments.

#![cfg(unix)]

use super::{Bench, WAITING};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The program in a folder of its own, without a relay beside it.
fn alone(bench: &Bench) -> PathBuf {
    let folder = bench.folder.path().join("bin");
    fs::create_dir(&folder).unwrap();
    let program = folder.join("faasm-asyncify");
    let built = env!("CARGO_BIN_EXE_faasm-asyncify");
    fs::hard_link(built, &program).or_else(|_| fs::copy(built, &program).map(drop)).unwrap();
    program
}

/// A relay that prints its arguments, one per line, and exits with 7.
fn relay(folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    let path = folder.join("faasm-relay");
    fs::write(&path, "#!/bin/sh\nprintf '%s\\n' \"$0\" \"$@\"\nexit 7\n").unwrap();
    fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
}

fn run(program: &Path, path: &Path, arguments: &[&str]) -> Output {
    Command::new(program).arg("run").args(arguments).env("PATH", path).output().unwrap()
}

#[test]
fn a_run_is_delegated_with_its_options() {
    let bench = Bench::new();
    let function = bench.wat("chain.wasm", WAITING);
    let function = function.to_str().unwrap();
    let program = alone(&bench);
    let elsewhere = bench.folder.path().join("elsewhere");
    relay(&elsewhere);
    let options = ["--input=-a b", "--env", "A=1", "--env", "B=2", "--with", "c.wasm"];
    let arguments = [&[function][..], &options, &["--max-memory", "64", "--", "-v", "x"]].concat();
    let expected = |folder: &Path| {
        let relay = folder.join("faasm-relay");
        let options = "--input=-a b\n--env=A=1\n--env=B=2\n--with=c.wasm\n--max-memory=64";
        format!("{}\nrun\n{options}\n--\n{function}\n-v\nx\n", relay.display())
    };
    let output = run(&program, &elsewhere, &arguments);
    assert_eq!(output.status.code(), Some(7));
    assert_eq!(String::from_utf8(output.stdout).unwrap(), expected(&elsewhere));

    // The relay beside the program takes precedence.
    let beside = program.parent().unwrap();
    relay(beside);
    let output = run(&program, &elsewhere, &arguments);
    assert_eq!(String::from_utf8(output.stdout).unwrap(), expected(beside));
}

#[test]
fn a_missing_relay_is_named_with_how_to_get_it() {
    let bench = Bench::new();
    let function = bench.wat("chain.wasm", WAITING);
    let output = run(&alone(&bench), &bench.out(), &[function.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("cargo build -p faasm-relay"), "{stderr}");
}

#[test]
fn a_missing_function_is_named_before_anything_runs() {
    let bench = Bench::new();
    let program = alone(&bench);
    relay(program.parent().unwrap());
    let output = run(&program, &bench.out(), &["nothing.wasm"]);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0));
    assert!(String::from_utf8(output.stderr).unwrap().contains("nothing.wasm is not a file"));
}

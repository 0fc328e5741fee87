//! The command line at its boundary: the real binary, its messages, its exit status and the files it leaves.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod build;
mod debug_info;
mod emscripten;
mod inspect;
mod limits;
mod program;
mod run;
mod upload;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// Can suspend in an exported function, and in a function that only the table contains.
pub(crate) const WAITING: &str = r#"(module
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

/// A folder of its own for each test.
pub(crate) struct Bench {
    pub(crate) folder: TempDir,
}

pub(crate) struct Outcome {
    pub(crate) status: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Bench {
    pub(crate) fn new() -> Bench {
        Bench { folder: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    pub(crate) fn wat(&self, name: &str, wat: &str) -> PathBuf {
        self.file(name, &wat::parse_str(wat).unwrap())
    }

    pub(crate) fn out(&self) -> PathBuf {
        self.folder.path().join("out")
    }

    pub(crate) fn run(&self, command: &str, input: &Path, more: &[&str]) -> Outcome {
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

    pub(crate) fn files(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.out()) else { return Vec::new() };
        let name = |entry: std::io::Result<fs::DirEntry>| {
            entry.unwrap().file_name().into_string().unwrap()
        };
        let mut names: Vec<String> = entries.map(name).collect();
        names.sort();
        names
    }

    /// Builds, and expects an error with these parts and nothing written.
    pub(crate) fn refused(&self, input: &Path, more: &[&str], parts: &[&str]) {
        let outcome = self.run("build", input, more);
        assert_eq!(outcome.status, 1, "{}", outcome.stderr);
        for part in parts.iter().chain(&[&*input.file_name().unwrap().to_string_lossy()]) {
            assert!(outcome.stderr.contains(part), "no `{part}` in: {}", outcome.stderr);
        }
        assert_eq!(outcome.stdout, "");
        assert_eq!(self.files(), [""; 0]);
    }
}

//! The parent's side of Binaryen: files in a folder of their own, and a child that is given time and memory.

use crate::binaryen::{Job, Run};
use crate::module::features::Feature;
use crate::{BRIDGE_MODULE, Error, SUSPEND};
use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use walrus::{ElementKind, FunctionId, Module};

/// How to run Binaryen.
#[derive(Clone, Debug)]
pub struct Binaryen {
    /// A `faasm-asyncify` binary; it is called with `__binaryen`.
    pub program: PathBuf,
    /// After this, a child is ended.
    pub timeout: Duration,
    /// Memory that a child may have, in bytes, where the system tells what it has.
    pub memory_limit: u64,
    /// Another `wasm-opt` than the one that is linked in, newer than Binaryen 116.
    pub external: Option<PathBuf>,
}

impl Binaryen {
    /// Ten minutes: SQLite takes ten seconds.
    pub const TIMEOUT: Duration = Duration::from_secs(600);
    /// 4 GiB: SQLite takes half of one.
    pub const MEMORY_LIMIT: u64 = 4 << 30;

    /// Runs this `faasm-asyncify` binary, with the bounds above.
    pub fn of(program: impl Into<PathBuf>) -> Binaryen {
        Binaryen {
            program: program.into(),
            timeout: Binaryen::TIMEOUT,
            memory_limit: Binaryen::MEMORY_LIMIT,
            external: None,
        }
    }

    /// Runs the binary that is running now, which has to be `faasm-asyncify`.
    ///
    /// # Errors
    /// The system does not tell where that is.
    pub fn this_program() -> std::io::Result<Binaryen> {
        Ok(Binaryen::of(std::env::current_exe()?))
    }
}

/// A folder, and who works in it.
pub(crate) struct BinaryenProcess<'a> {
    folder: TempDir,
    binaryen: &'a Binaryen,
    features: Vec<String>,
}

impl<'a> BinaryenProcess<'a> {
    pub(crate) fn new(
        binaryen: &'a Binaryen,
        features: &[Feature],
        module: &Module,
    ) -> Result<Self, Error> {
        const REFERENCES: &str = "reference-types";
        let folder = tempfile::tempdir().map_err(|source| at(&std::env::temp_dir(), source))?;
        let mut names: Vec<String> =
            features.iter().map(|feature| feature.name.to_owned()).collect();
        // Binaryen counts element segments that are not active as reference types, which the specification does not.
        let is_active = |kind: &ElementKind| matches!(kind, ElementKind::Active { .. });
        let all_active = module.elements.iter().all(|element| is_active(&element.kind));
        if !all_active && !names.iter().any(|name| name == REFERENCES) {
            names.push(REFERENCES.to_owned());
        }
        Ok(Self { folder, binaryen, features: names })
    }

    pub(crate) fn asyncify(
        &self,
        wasm: &[u8],
        only: Option<&BTreeMap<FunctionId, String>>,
        asserts: bool,
    ) -> Result<Vec<u8>, Error> {
        let list = self.folder.path().join("only");
        if let Some(only) = only {
            let names: Vec<&str> = only.values().map(String::as_str).collect();
            std::fs::write(&list, names.join(",")).map_err(|source| at(&list, source))?;
        }
        let only = only.map(|_| list);
        let suspending = format!("{BRIDGE_MODULE}.{SUSPEND}");
        self.run(Job::Asyncify { suspending, only, asserts }, wasm)
    }

    pub(crate) fn optimize(&self, wasm: &[u8]) -> Result<Vec<u8>, Error> {
        self.run(Job::Optimize, wasm)
    }

    fn run(&self, job: Job, wasm: &[u8]) -> Result<Vec<u8>, Error> {
        let [input, output] =
            ["input.wasm", "output.wasm"].map(|name| self.folder.path().join(name));
        std::fs::write(&input, wasm).map_err(|source| at(&input, source))?;
        let run = Run { job, input, output, features: self.features.clone() };
        let order = serde_json::to_string(&run).map_err(|error| at(&run.input, error.into()))?;
        let mut command = Command::new(&self.binaryen.program);
        command.arg("__binaryen").arg(order);
        command
            .args(self.binaryen.external.iter().flat_map(|path| [Path::new("--wasm-opt"), path]));
        self.binaryen.watch(command)?;
        std::fs::read(&run.output).map_err(|source| at(&run.output, source))
    }
}

impl Binaryen {
    /// What messages call it.
    pub(crate) fn shown(&self) -> &'static str {
        match self.external {
            Some(_) => "the Binaryen of `--wasm-opt`",
            None => "Binaryen 116, which is built in,",
        }
    }

    /// Runs the child to its end, or to the end of its time. Its standard error closes when it ends, however it does.
    fn watch(&self, mut command: Command) -> Result<(), Error> {
        let start = |source| Error::BinaryenStart { program: self.program.clone(), source };
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(start)?;
        let (sender, ended) = mpsc::channel();
        let stderr = child.stderr.take();
        std::thread::spawn(move || {
            let mut text = Vec::new();
            if let Some(mut stderr) = stderr {
                // What could be read before an error is the message all the same.
                let _ = stderr.read_to_end(&mut text);
            }
            let _ = sender.send(text);
        });
        let began = Instant::now();
        let stderr = loop {
            match ended.recv_timeout(WATCHED_EVERY.min(self.timeout)) {
                Ok(stderr) => break stderr,
                // Its reader is gone without a word, which it never is.
                Err(RecvTimeoutError::Disconnected) => break Vec::new(),
                Err(RecvTimeoutError::Timeout) => {}
            }
            let too_large = resident(child.id()).is_some_and(|bytes| bytes > self.memory_limit);
            if too_large || began.elapsed() >= self.timeout {
                // It may just have ended; then there is nothing to kill.
                let _ = child.kill();
                let _ = child.wait();
                return Err(match too_large {
                    true => Error::BinaryenMemory { mebibytes: self.memory_limit >> 20 },
                    false => Error::BinaryenTimeout { seconds: self.timeout.as_secs() },
                });
            }
        };
        let status = child.wait().map_err(start)?;
        if status.success() {
            return Ok(());
        }
        let stderr = String::from_utf8_lossy(&stderr).trim().to_owned();
        if let Some((_, message)) = stderr.split_once(UNREADABLE) {
            let message = message.trim_end_matches(']').to_owned();
            return Err(Error::Unreadable { message, who: self.shown() });
        }
        Err(Error::Binaryen { status: status.to_string(), stderr })
    }
}

/// What Binaryen says of a module that it cannot read, before the reason.
const UNREADABLE: &str = "parse exception: ";

/// How often a child's memory is looked at.
const WATCHED_EVERY: Duration = Duration::from_millis(20);

/// Bytes of memory that a process has now, where the system tells.
///
/// A limit of the system's own would not do: when Binaryen gets no more memory in one of its threads, it hangs.
fn resident(process: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let kibibytes = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(kibibytes.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? << 10)
}

fn at(path: &Path, source: std::io::Error) -> Error {
    Error::File { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::module::features;
    use crate::{Instrumentation, instrument, normalise, shim};

    const WAITING: &str = r#"(module
        (import "env" "__faasm_await_call" (func (param i32) (result i32)))
        (memory (export "memory") 1)
        (func (export "_start") (drop (call 0 (i32.const 1)))))"#;

    fn instrument_with(program: &str, timeout: Duration) -> Error {
        let wasm = wat::parse_str(WAITING).unwrap();
        let shimmed = shim(&normalise(&wasm).unwrap().wasm).unwrap();
        let binaryen = Binaryen { timeout, ..Binaryen::of(program) };
        let how = Instrumentation::default();
        instrument(&shimmed, &features::used(&shimmed), how, &binaryen).unwrap_err()
    }

    #[test]
    fn a_child_that_cannot_start_or_fails_is_an_error_of_ours() {
        let error = instrument_with("/nowhere/binaryen", Binaryen::TIMEOUT);
        assert!(matches!(error, Error::BinaryenStart { .. }), "{error}");
        let error = instrument_with("/bin/false", Binaryen::TIMEOUT);
        assert!(matches!(error, Error::Binaryen { .. }), "{error}");
    }

    #[test]
    fn a_child_that_hangs_is_ended() {
        let folder = tempfile::tempdir().unwrap();
        let script = folder.path().join("hang");
        std::fs::write(&script, "#!/bin/sh\nexec sleep 1000\n").unwrap();
        let status = Command::new("chmod").arg("+x").arg(&script).status().unwrap();
        assert!(status.success());
        let error = instrument_with(script.to_str().unwrap(), Duration::from_millis(50));
        assert!(matches!(error, Error::BinaryenTimeout { .. }), "{error}");
    }
}

//! The parent's side of Binaryen: a temporary folder for its files, and a child with limits on time and memory.

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
    /// A child that runs longer is killed.
    pub timeout: Duration,
    /// Limit on the memory of a child in bytes, on systems that report it.
    pub memory_limit: u64,
    /// A `wasm-opt` newer than Binaryen 116, to use instead of the built-in one.
    pub external: Option<PathBuf>,
}

impl Binaryen {
    /// Ten minutes; SQLite takes ten seconds.
    pub const TIMEOUT: Duration = Duration::from_secs(600);
    /// 4 GiB; SQLite takes half a GiB.
    pub const MEMORY_LIMIT: u64 = 4 << 30;

    /// Runs this `faasm-asyncify` binary, with the limits above.
    pub fn of(program: impl Into<PathBuf>) -> Binaryen {
        Binaryen {
            program: program.into(),
            timeout: Binaryen::TIMEOUT,
            memory_limit: Binaryen::MEMORY_LIMIT,
            external: None,
        }
    }

    /// Runs the current executable, which has to be `faasm-asyncify`.
    ///
    /// # Errors
    /// The system does not report the path of the executable.
    pub fn this_program() -> std::io::Result<Binaryen> {
        Ok(Binaryen::of(std::env::current_exe()?))
    }
}

/// A temporary folder, and how to run the child that works in it.
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
        // Unlike the specification, Binaryen requires reference types for element segments that are not active.
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
    /// Its name in messages.
    pub(crate) fn shown(&self) -> &'static str {
        match self.external {
            Some(_) => "the Binaryen given with `--wasm-opt`",
            None => "the built-in Binaryen 116",
        }
    }

    /// Waits until the child exits or its time is over. Its standard error closes when it exits, for whatever reason.
    fn watch(&self, mut command: Command) -> Result<(), Error> {
        let start = |source| Error::BinaryenStart { program: self.program.clone(), source };
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(start)?;
        let (sender, ended) = mpsc::channel();
        let stderr = child.stderr.take();
        std::thread::spawn(move || {
            let mut text = Vec::new();
            if let Some(mut stderr) = stderr {
                // If reading fails, the text so far is the message.
                let _ = stderr.read_to_end(&mut text);
            }
            let _ = sender.send(text);
        });
        let began = Instant::now();
        let stderr = loop {
            match ended.recv_timeout(WATCHED_EVERY.min(self.timeout)) {
                Ok(stderr) => break stderr,
                // The reader thread ended without sending, which never happens.
                Err(RecvTimeoutError::Disconnected) => break Vec::new(),
                Err(RecvTimeoutError::Timeout) => {}
            }
            let too_large = resident(child.id()).is_some_and(|bytes| bytes > self.memory_limit);
            if too_large || began.elapsed() >= self.timeout {
                // It may have exited in the meantime; then there is nothing to kill.
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

/// What Binaryen prints before the reason why it cannot read a module.
const UNREADABLE: &str = "parse exception: ";

/// Interval at which the memory of a child is checked.
const WATCHED_EVERY: Duration = Duration::from_millis(20);

/// Resident memory of a process in bytes, if the system reports it.
///
/// A limit of the operating system would not work: Binaryen hangs if an allocation fails in one of its threads.
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
    fn a_child_that_cannot_start_or_fails_is_an_error() {
        let error = instrument_with("/nowhere/binaryen", Binaryen::TIMEOUT);
        assert!(matches!(error, Error::BinaryenStart { .. }), "{error}");
        let error = instrument_with("/bin/false", Binaryen::TIMEOUT);
        assert!(matches!(error, Error::Binaryen { .. }), "{error}");
    }

    #[test]
    fn a_child_that_hangs_is_killed() {
        let folder = tempfile::tempdir().unwrap();
        let script = folder.path().join("hang");
        std::fs::write(&script, "#!/bin/sh\nexec sleep 1000\n").unwrap();
        let status = Command::new("chmod").arg("+x").arg(&script).status().unwrap();
        assert!(status.success());
        let error = instrument_with(script.to_str().unwrap(), Duration::from_millis(50));
        assert!(matches!(error, Error::BinaryenTimeout { .. }), "{error}");
    }
}

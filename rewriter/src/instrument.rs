//! Stage 3: Asyncify, by Binaryen in a child process.
//!
//! Before:
//!
//! ```wat
//! (func $f (call $g) (call $h))
//! ```
//!
//! After, in outline: while unwinding, each function on the stack saves its locals and the place of the call into the
//! unwind buffer and returns; while rewinding it restores them and goes straight to that call.
//!
//! ```wat
//! (func $f
//!   (if (rewinding) (then restore locals and $place))
//!   (if (or (normal) (at 0)) (then (call $g) (if (unwinding) (then save locals and 0; return))))
//!   (if (or (normal) (at 1)) (then (call $h) (if (unwinding) (then save locals and 1; return)))))
//! ```
//!
//! Why it is safe: only `faasm_bridge.suspend` may begin an unwinding, every function on a path to it is instrumented
//! ([`crate::analyse`], checked on what Binaryen made), and the host begins and ends both phases between two returns to it.
//!
//! Binaryen takes the functions to instrument by name, in a list with wildcards and commas, where an empty list means all
//! of them. Source names can be anything and need not be unique, so functions get names of ours for the journey; and where
//! nothing suspends, Binaryen is not asked at all.
//!
//! The order: names of ours; what Asyncify must not see is veiled ([`crate::veil`]); the analysis, on exactly the bytes that
//! Binaryen gets, for optimising between the two would make functions that no list has; Asyncify; what each function saves
//! is measured ([`crate::frames`]), the veil lifted and the unwind [`buffer`] added; then `-O2`, where most of the cost is
//! won back.

use crate::analyse::{self, Analysis, Bound};
use crate::binaryen::{Job, Run};
use crate::features::Feature;
use crate::frames::{self, State};
use crate::veil::Veil;
use crate::{BRIDGE_MODULE, Error, SUSPEND, buffer, normalise::parse, unsupported};
use faasm_bridge::manifest::UnwindBuffer;
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

/// How to instrument.
#[derive(Clone, Copy, Debug, Default)]
pub struct Instrumentation {
    /// Bytes for the unwound stack; else as many as it can become, or [`Instrumentation::STACK_SIZE`] where that has no
    /// bound.
    pub stack_size: Option<u32>,
    /// Functions that are not instrumented trap when they see the function suspend. For tests: it is slow.
    pub asserts: bool,
}

impl Instrumentation {
    /// 256 KiB: 60 times what Emscripten gives, for recursion such as an interpreter's.
    pub const STACK_SIZE: u32 = 256 * 1024;
}

/// A function for every engine.
#[derive(Clone, Debug)]
pub struct Instrumented {
    pub wasm: Vec<u8>,
    /// None where nothing suspends: the module is then as it came.
    pub unwinding: Option<Unwinding>,
}

/// How the function unwinds.
#[derive(Clone, Debug)]
pub struct Unwinding {
    pub buffer: UnwindBuffer,
    /// What the buffer would have to hold at most.
    pub bound: Bound,
    /// Functions in which tail calls became plain ones, for they can suspend.
    pub lowered: Vec<String>,
}

/// Adds Asyncify to a shimmed module, and room for the unwound stack.
///
/// # Errors
/// What Asyncify cannot do ([`Error::Unsupported`], [`Error::Feature`]), no room for the buffer, or Binaryen's own.
pub fn instrument(
    shimmed: &[u8],
    features: &[Feature],
    how: Instrumentation,
    binaryen: &Binaryen,
) -> Result<Instrumented, Error> {
    let mut module = parse(shimmed)?;
    let analysis = Analysis::of(&module);
    if analysis.suspending().next().is_none() {
        return Ok(Instrumented { wasm: shimmed.to_vec(), unwinding: None });
    }
    unsupported::check(&module, &analysis, features, binaryen.external.is_some())?;
    let names = Names::ours(&mut module);
    let (veil, lowered) = Veil::over(&mut module, &analysis);
    let lowered = lowered.into_iter().filter_map(|id| names.shown(&module, id)).collect();
    let before = in_order(&module, &analysis);
    let veiled = module.emit_wasm();

    // On exactly the bytes that Binaryen gets.
    let module = parse(&veiled)?;
    let analysis = Analysis::of(&module);
    let only = in_order(&module, &analysis);
    if !only.values().eq(before.values()) {
        return Err(Error::changed("instrument", "which functions can suspend"));
    }
    let work = Workshop::new(binaryen, features, &module)?;
    let wasm = match work.asyncify(&veiled, Some(&only), how.asserts) {
        Err(Error::Binaryen { stderr, .. }) if stderr.contains(REFERENCES) => {
            return Err(references(&veiled, &module, &analysis, &names, &work));
        }
        result => result?,
    };

    let mut instrumented = parse(&wasm)?;
    check_instrumented(&instrumented, &only)?;
    let bound = match frames::measure(&instrumented, &only).map(|frames| analysis.bound(&frames)) {
        Ok(Ok(bytes)) => Bound::Bytes(bytes + u64::from(buffer::HEADER_BYTES)),
        Ok(Err(cycle)) => {
            let named = cycle.into_iter().filter_map(|id| names.shown(&module, id));
            Bound::Recursion(named.collect())
        }
        Err(function) => Bound::Unknown(names.shown_by_name(&function).unwrap_or(function)),
    };
    veil.lift(&mut instrumented)?;
    let buffer = buffer::append(&mut instrumented, stack_size(how, &bound))?;
    let optimized = work.optimize(&instrumented.emit_wasm())?;
    let unwinding = Unwinding { buffer, bound, lowered };
    Ok(Instrumented { wasm: names.restore(&optimized)?, unwinding: Some(unwinding) })
}

/// The size of a shimmed module if Asyncify instrumented what it would by default: whatever makes an indirect call.
///
/// # Errors
/// As for [`instrument`]; also a tail call anywhere, which Asyncify refuses.
pub fn by_default(shimmed: &[u8], features: &[Feature], binaryen: &Binaryen) -> Result<u64, Error> {
    let mut module = parse(shimmed)?;
    let names = Names::ours(&mut module);
    let work = Workshop::new(binaryen, features, &module)?;
    let wasm = work.asyncify(&module.emit_wasm(), None, false)?;
    let mut instrumented = parse(&wasm)?;
    buffer::append(&mut instrumented, Instrumentation::STACK_SIZE)?;
    let wasm = names.restore(&work.optimize(&instrumented.emit_wasm())?)?;
    Ok(wasm.len() as u64)
}

/// `-O2` on a module as it is.
///
/// # Errors
/// What the Binaryen in use cannot read, or its own.
pub fn optimize(wasm: &[u8], features: &[Feature], binaryen: &Binaryen) -> Result<Vec<u8>, Error> {
    crate::features::instrumentable(features, binaryen.external.is_some())?;
    let mut module = parse(wasm)?;
    let names = Names::ours(&mut module);
    let work = Workshop::new(binaryen, features, &module)?;
    let optimized = work.optimize(&module.emit_wasm())?;
    names.restore(&optimized)
}

/// The functions that can suspend, with their names.
fn in_order(module: &Module, analysis: &Analysis) -> BTreeMap<FunctionId, String> {
    analysis.suspending().map(|id| (id, analyse::name(module, id))).collect()
}

fn stack_size(how: Instrumentation, bound: &Bound) -> u32 {
    let needed = match bound {
        Bound::Bytes(bytes) => u32::try_from(*bytes).unwrap_or(u32::MAX).max(buffer::LEAST_BYTES),
        Bound::Recursion(_) | Bound::Unknown(_) => Instrumentation::STACK_SIZE,
    };
    how.stack_size.unwrap_or(needed)
}

/// What Binaryen says of a reference that lives across a wait.
const REFERENCES: &str = "non-number types";

/// Whose references: those of the functions with which Asyncify says it, when no other that has references is listed; or
/// of all of these, where it takes several together.
fn references(
    veiled: &[u8],
    module: &Module,
    analysis: &Analysis,
    names: &Names,
    work: &Workshop<'_>,
) -> Error {
    let suspected = unsupported::holds_references(module, analysis);
    let is_held = |id: &FunctionId| {
        let mut only = in_order(module, analysis);
        only.retain(|other, _| other == id || !suspected.contains(other));
        work.asyncify(veiled, Some(&only), false).is_err()
    };
    let mut held: Vec<FunctionId> = suspected.iter().copied().filter(is_held).collect();
    if held.is_empty() {
        held = suspected;
    }
    let held: Vec<String> = held.into_iter().filter_map(|id| names.shown(module, id)).collect();
    Error::Unsupported {
        what: "references that are held while the function waits, which Asyncify cannot save,",
        functions: unsupported::list(&held),
        advice: "keep an index into a table instead of the reference",
    }
}

/// Source names of functions by the names they have for Binaryen, and what messages call them.
struct Names(BTreeMap<String, (Option<String>, String)>);

impl Names {
    /// Gives every function a name that is unique and has no meaning.
    fn ours(module: &mut Module) -> Self {
        let mut shown: BTreeMap<FunctionId, String> =
            module.funcs.iter().map(|f| (f.id(), analyse::name(module, f.id()))).collect();
        let mut names = BTreeMap::new();
        for (position, function) in module.funcs.iter_mut().enumerate() {
            let name = format!("faasm{position}");
            let shown = shown.remove(&function.id()).unwrap_or_default();
            names.insert(name.clone(), (function.name.replace(name), shown));
        }
        // Binaryen cannot read a name section in which only some data segments have names.
        let segments: Vec<_> = module.data.iter().map(|data| data.id()).collect();
        for segment in segments {
            module.data.get_mut(segment).name = None;
        }
        Self(names)
    }

    /// What messages call a function that has a name of ours.
    fn shown(&self, module: &Module, id: FunctionId) -> Option<String> {
        self.shown_by_name(module.funcs.get(id).name.as_ref()?)
    }

    fn shown_by_name(&self, name: &str) -> Option<String> {
        self.0.get(name).map(|(_, shown)| shown.clone())
    }

    /// Functions that Binaryen made keep its names.
    fn restore(&self, wasm: &[u8]) -> Result<Vec<u8>, Error> {
        let mut module = parse(wasm)?;
        for function in module.funcs.iter_mut() {
            let name = function.name.as_ref().and_then(|name| self.0.get(name));
            if let Some((source, _)) = name {
                function.name.clone_from(source);
            }
        }
        Ok(module.emit_wasm())
    }
}

/// Every function that can suspend has to be instrumented.
fn check_instrumented(module: &Module, only: &BTreeMap<FunctionId, String>) -> Result<(), Error> {
    let state = State::of(module);
    for name in only.values() {
        let found = module.funcs.by_name(name);
        if !found.is_some_and(|id| state.is_some_and(|state| state.is_asked_by(module, id))) {
            return Err(Error::NotInstrumented { function: name.clone() });
        }
    }
    Ok(())
}

/// A folder, and who works in it.
struct Workshop<'a> {
    folder: TempDir,
    binaryen: &'a Binaryen,
    features: Vec<String>,
}

impl<'a> Workshop<'a> {
    fn new(binaryen: &'a Binaryen, features: &[Feature], module: &Module) -> Result<Self, Error> {
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

    fn asyncify(
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

    fn optimize(&self, wasm: &[u8]) -> Result<Vec<u8>, Error> {
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
        Err(Error::Binaryen { status: status.to_string(), stderr })
    }
}

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
    use crate::{features, normalise, shim};

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

    #[test]
    fn what_never_waits_is_left_alone() {
        let wasm =
            wat::parse_str("(module (memory 1) (func $f (export \"_start\") return_call $f))")
                .unwrap();
        let how = Instrumentation::default();
        let binaryen = Binaryen::of("/nowhere/binaryen");
        let out = instrument(&wasm, &features::used(&wasm), how, &binaryen).unwrap();
        assert_eq!(out.wasm, wasm);
        assert!(out.unwinding.is_none());
    }
}

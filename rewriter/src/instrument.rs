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
//! ([`crate::analyse`]), and the host begins and ends both phases between two returns to it. Tail calls have no frame to
//! come back to, so a module with one is refused.
//!
//! Binaryen takes the functions to instrument by name, in a list with wildcards and commas, where an empty list means all
//! of them. Source names can be anything and need not be unique, so functions get names of ours for the journey; and where
//! nothing suspends, Binaryen is not asked at all.

use crate::analyse::{self, Analysis};
use crate::features::{self, Feature};
use crate::{BRIDGE_MODULE, Error, SUSPEND, buffer, normalise::parse};
use faasm_bridge::manifest::UnwindBuffer;
use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;
use walrus::GlobalId;
use walrus::ir::{GlobalGet, Visitor, dfs_in_order};

/// How to run Binaryen.
#[derive(Clone, Debug)]
pub struct Binaryen {
    /// A `faasm-asyncify` binary; it is called with `__binaryen`.
    pub program: PathBuf,
    /// After this, the child is ended.
    pub timeout: Duration,
}

impl Binaryen {
    /// Ten minutes: SQLite takes ten seconds.
    pub const TIMEOUT: Duration = Duration::from_secs(600);

    /// Runs the binary that is running now, which has to be `faasm-asyncify`.
    ///
    /// # Errors
    /// The system does not tell where that is.
    pub fn this_program() -> std::io::Result<Binaryen> {
        Ok(Binaryen { program: std::env::current_exe()?, timeout: Binaryen::TIMEOUT })
    }
}

/// A function for every engine.
#[derive(Clone, Debug)]
pub struct Instrumented {
    pub wasm: Vec<u8>,
    /// None where nothing suspends: the module is then as it came.
    pub buffer: Option<UnwindBuffer>,
}

/// Adds an unwind buffer of at least `stack_size` bytes to a shimmed module, and Asyncify.
///
/// # Errors
/// What Asyncify cannot do ([`Error::TailCalls`], [`Error::Feature`]), no room for the buffer, or Binaryen's own.
pub fn instrument(
    shimmed: &[u8],
    features: &[Feature],
    stack_size: u32,
    binaryen: &Binaryen,
) -> Result<Instrumented, Error> {
    let module = parse(shimmed)?;
    if Analysis::of(&module).suspending().next().is_none() {
        return Ok(Instrumented { wasm: shimmed.to_vec(), buffer: None });
    }
    let tail_callers = analyse::tail_callers(&module);
    if !tail_callers.is_empty() {
        let names: Vec<String> = tail_callers.iter().map(|name| format!("`{name}`")).collect();
        return Err(Error::TailCalls { functions: names.join(", ") });
    }
    features::instrumentable(features)?;
    let (buffered, buffer) = buffer::add(shimmed, stack_size)?;
    let (named, names) = Names::ours(&buffered)?;
    // On exactly the bytes that Binaryen gets.
    let module = parse(&named)?;
    let suspending = Analysis::of(&module);
    let only: Vec<String> = suspending.suspending().map(|id| analyse::name(&module, id)).collect();
    let wasm = asyncify(&named, &only, features, binaryen)?;
    Ok(Instrumented { wasm: names.restore(&wasm)?, buffer: Some(buffer) })
}

/// Source names of functions by the names they have for Binaryen.
struct Names(BTreeMap<String, Option<String>>);

impl Names {
    /// Gives every function a name that is unique and has no meaning.
    fn ours(wasm: &[u8]) -> Result<(Vec<u8>, Self), Error> {
        let mut module = parse(wasm)?;
        let mut names = BTreeMap::new();
        for (position, function) in module.funcs.iter_mut().enumerate() {
            let name = format!("faasm{position}");
            names.insert(name.clone(), function.name.replace(name));
        }
        // Binaryen cannot read a name section in which only some data segments have names.
        let segments: Vec<_> = module.data.iter().map(|data| data.id()).collect();
        for segment in segments {
            module.data.get_mut(segment).name = None;
        }
        Ok((module.emit_wasm(), Self(names)))
    }

    /// Functions that Binaryen made keep its names.
    fn restore(&self, wasm: &[u8]) -> Result<Vec<u8>, Error> {
        let mut module = parse(wasm)?;
        for function in module.funcs.iter_mut() {
            if let Some(source) = function.name.as_ref().and_then(|name| self.0.get(name)) {
                function.name.clone_from(source);
            }
        }
        Ok(module.emit_wasm())
    }
}

/// Functions that read Asyncify's state are instrumented; every one that can suspend has to be.
fn check_instrumented(wasm: &[u8], only: &[String]) -> Result<(), Error> {
    let module = parse(wasm)?;
    let reads = |id| {
        let mut reads = ReadsGlobals::default();
        let function = module.funcs.get(id).kind.unwrap_local();
        dfs_in_order(&mut reads, function, function.entry_block());
        reads.0
    };
    // Binaryen's getter returns the state, and reads nothing else.
    let state = module.exports.get_func("asyncify_get_state").ok();
    let state = state.and_then(|getter| reads(getter).first().copied());
    for name in only {
        let found = module.funcs.by_name(name);
        if !found.is_some_and(|id| state.is_some_and(|state| reads(id).contains(&state))) {
            return Err(Error::NotInstrumented { function: name.clone() });
        }
    }
    Ok(())
}

#[derive(Default)]
struct ReadsGlobals(Vec<GlobalId>);

impl<'instr> Visitor<'instr> for ReadsGlobals {
    fn visit_global_get(&mut self, instr: &GlobalGet) {
        self.0.push(instr.global);
    }
}

fn asyncify(
    wasm: &[u8],
    only: &[String],
    features: &[Feature],
    binaryen: &Binaryen,
) -> Result<Vec<u8>, Error> {
    let folder = tempfile::tempdir().map_err(|source| at(&std::env::temp_dir(), source))?;
    let [input, scratch, output, list] =
        ["input.wasm", "scratch.wasm", "output.wasm", "only"].map(|name| folder.path().join(name));
    std::fs::write(&input, wasm).map_err(|source| at(&input, source))?;
    std::fs::write(&list, only.join(",")).map_err(|source| at(&list, source))?;

    let mut command = Command::new(&binaryen.program);
    command.arg("__binaryen").args([&input, &scratch, &output, &list]);
    command.arg("--suspending").arg(format!("{BRIDGE_MODULE}.{SUSPEND}"));
    for feature in features {
        command.arg("--feature").arg(feature.name);
    }
    run(command, binaryen)?;
    let between = std::fs::read(&scratch).map_err(|source| at(&scratch, source))?;
    check_instrumented(&between, only)?;
    std::fs::read(&output).map_err(|source| at(&output, source))
}

/// Runs the child to its end, or to the end of its time. Its standard error closes when it ends, however it does.
fn run(mut command: Command, binaryen: &Binaryen) -> Result<(), Error> {
    let start = |source| Error::BinaryenStart { program: binaryen.program.clone(), source };
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
    let Ok(stderr) = ended.recv_timeout(binaryen.timeout) else {
        // It may just have ended; then there is nothing to kill.
        let _ = child.kill();
        let _ = child.wait();
        return Err(Error::BinaryenTimeout { seconds: binaryen.timeout.as_secs() });
    };
    let status = child.wait().map_err(start)?;
    if status.success() {
        return Ok(());
    }
    let stderr = String::from_utf8_lossy(&stderr).trim().to_owned();
    Err(Error::Binaryen { status: status.to_string(), stderr })
}

fn at(path: &Path, source: std::io::Error) -> Error {
    Error::File { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{normalise, shim};

    const WAITING: &str = r#"(module
        (import "env" "__faasm_await_call" (func (param i32) (result i32)))
        (memory (export "memory") 1)
        (func (export "_start") (drop (call 0 (i32.const 1)))))"#;

    fn instrument_with(program: &str, timeout: Duration) -> Error {
        let wasm = wat::parse_str(WAITING).unwrap();
        let shimmed = shim(&normalise(&wasm).unwrap().wasm).unwrap();
        let binaryen = Binaryen { program: program.into(), timeout };
        instrument(&shimmed, &features::used(&shimmed), 65536, &binaryen).unwrap_err()
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
        let binaryen = Binaryen { program: "/nowhere/binaryen".into(), timeout: Binaryen::TIMEOUT };
        let out = instrument(&wasm, &features::used(&wasm), 65536, &binaryen).unwrap();
        assert_eq!((out.wasm, out.buffer), (wasm, None));
    }

    #[test]
    fn tail_calls_are_refused_by_name() {
        let wat =
            WAITING.replace("(func (export", "(func $again return_call $again) (func (export");
        let wasm = wat::parse_str(wat).unwrap();
        let shimmed = shim(&normalise(&wasm).unwrap().wasm).unwrap();
        let binaryen = Binaryen { program: "/nowhere/binaryen".into(), timeout: Binaryen::TIMEOUT };
        let error = instrument(&shimmed, &features::used(&shimmed), 65536, &binaryen).unwrap_err();
        assert!(error.to_string().contains("`again`"), "{error}");
    }
}

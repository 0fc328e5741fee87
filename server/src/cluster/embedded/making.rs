//! From an original to compiled code: bounds, normalise, compile. In this process, or in one of its own that can be ended.
//!
//! The child is this program with a hidden subcommand. What it gets and gives:
//!
//! ```text
//! standard input    u64 length, the original; then nothing, and it stays open: when it ends, so does the child
//! standard output   0, what `Made::bytes` gives; or 1, why the original is refused
//! ```
//!
//! The child has a bound of its own on memory, the parent one on time. However the parent ends, its end of the pipe
//! closes, and no child goes on without it.

use super::engine;
use crate::cluster::builds::BuildConfig;
use crate::cluster::{ClusterError, MAX_FUNCTION_BYTES};
use faasm_asyncify::{Bounds, Warning, input};
use faasm_bridge::manifest::Entry;
use serde::{Deserialize, Serialize};
use std::io::{self, Read, Write};
use std::path::Path;
use std::process::{ExitCode, ExitStatus, Stdio};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;
use wasmtime::Engine;

/// The hidden subcommand.
pub const COMPILE: &str = "compile-child";

/// Far more than compilers of C, C++ and Rust make of programs of some tens of megabytes: CPython has 13 000 functions and
/// SQLite's largest body 120 kB; a `switch` is as many blocks inside each other as it has cases. Cranelift takes seconds
/// for a function at any of these bounds, and minutes at ten times of them.
const BOUNDS: Bounds = Bounds {
    functions: 200_000,
    imports: 20_000,
    body_bytes: 2 * 1024 * 1024,
    blocks: 10_000,
    loops: 500,
};

/// Most bytes of what a child gives: compiled code is some times as large as what it was compiled from.
const MAX_MADE_BYTES: u64 = 32 * MAX_FUNCTION_BYTES as u64;

/// Threads of a child, and heaps of its allocator: each of them takes address space.
const THREADS: &str = "4";
const HEAPS: &str = "2";

const MADE: u8 = 0;
const REFUSED: u8 = 1;

/// How to run a function, and what else is known of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Head {
    pub(super) entry: Entry,
    /// What of its imports only a Faasm cluster has, for people; such a function is not run.
    pub(super) cluster_only: Option<String>,
}

/// A function that is compiled, and not loaded.
pub(super) struct Made {
    pub(super) head: Head,
    /// As [`Engine::precompile_module`] gives it.
    pub(super) code: Vec<u8>,
}

impl Made {
    /// Takes as long as it takes.
    ///
    /// # Errors
    /// Why this is no function.
    pub(super) fn of(engine: &Engine, original: &[u8]) -> Result<Self, String> {
        // Before any code is read.
        input::check_header(original).map_err(|error| error.to_string())?;
        BOUNDS.check(original).map_err(|error| error.to_string())?;
        let normalised = faasm_asyncify::normalise(original).map_err(|error| error.to_string())?;
        // Draft SIMD can be read only now.
        BOUNDS.check(&normalised.wasm).map_err(|error| error.to_string())?;
        let code =
            engine.precompile_module(&normalised.wasm).map_err(|error| format!("{error:#}"))?;
        let cluster_only = cluster_only(&normalised.warnings);
        Ok(Self { head: Head { entry: normalised.entry, cluster_only }, code })
    }

    /// The head as JSON after its length, then the code.
    pub(super) fn bytes(&self) -> io::Result<Vec<u8>> {
        let head = serde_json::to_vec(&self.head)?;
        let length = u32::try_from(head.len()).map_err(io::Error::other)?;
        Ok([&length.to_le_bytes()[..], &head, &self.code].concat())
    }

    /// What [`Made::bytes`] gave.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let (length, rest) = bytes.split_first_chunk()?;
        let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
        let (head, code) = rest.split_at_checked(length)?;
        Some(Self { head: serde_json::from_slice(head).ok()?, code: code.to_vec() })
    }
}

/// The imports that only a Faasm cluster has, by what they are for.
fn cluster_only(warnings: &[Warning]) -> Option<String> {
    let facilities = warnings.iter().filter_map(|warning| match warning {
        Warning::ClusterOnly { what, imports } => {
            Some(format!("{} for {what}", imports.join(", ")))
        }
        _ => None,
    });
    let facilities: Vec<String> = facilities.collect();
    (!facilities.is_empty()).then(|| facilities.join("; "))
}

/// Has a child make it. Dropping the future ends the child.
pub(super) async fn by_child(
    program: &Path,
    config: &BuildConfig,
    original: &[u8],
) -> Result<Made, ClusterError> {
    let internal = |error: io::Error| {
        ClusterError::Internal(format!("building with {}: {error}", program.display()))
    };
    let mut child = Command::new(program)
        .args([COMPILE, "--memory", &config.memory.to_string()])
        .env("RAYON_NUM_THREADS", THREADS)
        .env("MALLOC_ARENA_MAX", HEAPS)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(internal)?;
    let (Some(mut stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(internal(io::Error::other("it has no pipes")));
    };
    let talk = async {
        let mut made = Vec::new();
        let give = async {
            // A child that ends early says why by its status.
            let _ = stdin.write_all(&(original.len() as u64).to_le_bytes()).await;
            let _ = stdin.write_all(original).await;
            let _ = stdin.flush().await;
        };
        let mut stdout = stdout.take(MAX_MADE_BYTES);
        let (_, taken) = tokio::join!(give, stdout.read_to_end(&mut made));
        taken?;
        drop(stdin);
        Ok((child.wait().await?, made))
    };
    match tokio::time::timeout(config.time, talk).await {
        Err(_) => Err(ClusterError::NotAFunction(format!(
            "it was still being compiled after {:?} and was stopped; build it with fewer or smaller functions, or allow more \
             time with builds.time",
            config.time
        ))),
        Ok(Err(error)) => Err(internal(error)),
        Ok(Ok((status, made))) => read(status, &made, config),
    }
}

fn read(status: ExitStatus, made: &[u8], config: &BuildConfig) -> Result<Made, ClusterError> {
    match made.split_first() {
        Some((&MADE, made)) if status.success() => Made::read(made)
            .ok_or_else(|| ClusterError::Internal("what was compiled was cut off".to_owned())),
        Some((&REFUSED, why)) if status.success() => {
            Err(ClusterError::NotAFunction(String::from_utf8_lossy(why).into_owned()))
        }
        // Without memory it is ended by its allocator, or cannot start a thread.
        _ => Err(ClusterError::NotAFunction(format!(
            "compiling it ended early ({status}), most likely since it takes more than {} MiB; build it with fewer or smaller \
             functions, or allow more with builds.memory_bytes",
            config.memory >> 20
        ))),
    }
}

/// What the child does: standard input to standard output, with at most so many bytes of memory.
///
/// # Errors
/// Pipes that fail, and a machine that cannot run WebAssembly.
pub fn compile_child(memory: usize) -> io::Result<ExitCode> {
    limit(memory as u64)?;
    let mut stdin = io::stdin().lock();
    let mut length = [0; 8];
    stdin.read_exact(&mut length)?;
    let length = u64::from_le_bytes(length);
    if length > MAX_FUNCTION_BYTES as u64 {
        return Err(io::Error::other("the original is longer than one may be"));
    }
    let mut original = Vec::new();
    stdin.by_ref().take(length).read_to_end(&mut original)?;
    drop(stdin);
    if (original.len() as u64) < length {
        return Err(io::Error::other("the original was cut off"));
    }
    std::thread::Builder::new().name("parent".to_owned()).spawn(|| {
        // Nothing comes any more: this ends when the parent does, or has all it wants.
        let _ = io::stdin().lock().read(&mut [0]);
        std::process::exit(1);
    })?;
    let engine = engine::compiling().map_err(io::Error::other)?;
    let (tag, answer) = match Made::of(&engine, &original) {
        Ok(made) => (MADE, made.bytes()?),
        Err(why) => (REFUSED, why.into_bytes()),
    };
    let mut out = io::stdout().lock();
    out.write_all(&[tag])?;
    out.write_all(&answer)?;
    out.flush()?;
    // Not by way of the destructors, which would take a while for code that the system takes back at once.
    std::process::exit(0);
}

/// Bounds this process, and lets others have the processor first.
fn limit(memory: u64) -> io::Result<()> {
    use rustix::process::{Resource, Rlimit, nice, setrlimit};
    let bound = Rlimit { current: Some(memory), maximum: Some(memory) };
    setrlimit(Resource::As, bound)?;
    // It may be as nice as it can be already.
    let _ = nice(10);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_is_read_again_and_what_is_cut_off_is_not() {
        let engine = engine::compiling().unwrap();
        let wasm = wat::parse_str(r#"(module (memory 1) (func (export "_start")))"#).unwrap();
        let made = Made::of(&engine, &wasm).unwrap();
        let bytes = made.bytes().unwrap();
        let again = Made::read(&bytes).unwrap();
        assert_eq!((&again.head, &again.code), (&made.head, &made.code));
        assert_eq!(again.head.entry.main, ["_start"]);
        assert!(Made::read(&bytes[..20]).is_none());
        assert!(Made::read(&[0xff; 8]).is_none());
    }

    #[test]
    fn what_takes_a_compiler_too_long_is_refused_before_it_is_compiled() {
        let engine = engine::compiling().unwrap();
        let loops = "loop ".repeat(501) + &"end ".repeat(501);
        let wat = format!(r#"(module (memory 1) (func $deep (export "_start") {loops}))"#);
        let refused = Made::of(&engine, &wat::parse_str(wat).unwrap()).err().unwrap();
        assert!(refused.contains("501 loops inside each other in function `deep`"), "{refused}");
    }
}

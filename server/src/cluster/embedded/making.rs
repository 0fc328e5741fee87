//! Builds compiled code from an original: check bounds, normalise, compile. This runs in the relay's process, or in a
//! child process with limits ([`child`]).

use super::engine;
use crate::budget::Account;
use crate::cluster::ClusterError;
use crate::cluster::builds::BuildConfig;
use crate::cluster::child::{self, BOUNDS, Job};
use faasm_asyncify::{Warning, input};
use faasm_bridge::manifest::Entry;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::Path;
use wasmtime::Engine;

/// How to run a function, and what else is known about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Head {
    pub(super) entry: Entry,
    /// Its imports that only a Faasm cluster implements, as text; such a function is not run.
    pub(super) cluster_only: Option<String>,
}

/// A function that is compiled but not loaded.
pub(super) struct Made {
    pub(super) head: Head,
    /// Output of [`Engine::precompile_module`].
    pub(super) code: Vec<u8>,
}

impl Made {
    /// Builds a function, without a time limit.
    ///
    /// # Errors
    /// Why the original is not a function.
    pub(super) fn of(engine: &Engine, original: &[u8]) -> Result<Self, String> {
        // Checked before any code is parsed.
        input::check_header(original).map_err(|error| error.to_string())?;
        BOUNDS.check(original).map_err(|error| error.to_string())?;
        let normalised = faasm_asyncify::normalise(original).map_err(|error| error.to_string())?;
        // Draft SIMD can be parsed only after normalising.
        BOUNDS.check(&normalised.wasm).map_err(|error| error.to_string())?;
        let code =
            engine.precompile_module(&normalised.wasm).map_err(|error| format!("{error:#}"))?;
        let cluster_only = cluster_only(&normalised.warnings);
        Ok(Self { head: Head { entry: normalised.entry, cluster_only }, code })
    }

    /// Serialises: length of the header, the header as JSON, the code.
    pub(super) fn bytes(&self) -> io::Result<Vec<u8>> {
        let head = serde_json::to_vec(&self.head)?;
        let length = u32::try_from(head.len()).map_err(io::Error::other)?;
        Ok([&length.to_le_bytes()[..], &head, &self.code].concat())
    }

    /// Parses the output of [`Made::bytes`].
    pub(super) fn read(mut bytes: Vec<u8>) -> Option<Self> {
        let (length, rest) = bytes.split_first_chunk()?;
        let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
        let (head, _) = rest.split_at_checked(length)?;
        let head = serde_json::from_slice(head).ok()?;
        // In place, without a copy: the code may be large.
        bytes.drain(..size_of::<u32>() + length);
        Some(Self { head, code: bytes })
    }
}

/// The imports that only a Faasm cluster implements, grouped by purpose.
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

/// Builds a function in a child process. Dropping the future ends the child.
pub(super) async fn by_child(
    program: &Path,
    config: &BuildConfig,
    account: &Account,
    original: &[u8],
) -> Result<Made, ClusterError> {
    let made = child::run(program, config, account, Job::Compile, original).await?;
    Made::read(made)
        .ok_or_else(|| ClusterError::Internal("the compiled function is truncated".to_owned()))
}

/// The child's job: [`Made::bytes`], or why the original is not a function.
pub(in crate::cluster) fn compile(original: &[u8]) -> io::Result<Result<Vec<u8>, String>> {
    let engine = engine::compiling().map_err(io::Error::other)?;
    match Made::of(&engine, original) {
        Ok(made) => made.bytes().map(Ok),
        Err(why) => Ok(Err(why)),
    }
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
        let again = Made::read(bytes.clone()).unwrap();
        assert_eq!((&again.head, &again.code), (&made.head, &made.code));
        assert_eq!(again.head.entry.main, ["_start"]);
        assert!(Made::read(bytes[..20].to_vec()).is_none());
        assert!(Made::read(vec![0xff; 8]).is_none());
    }

    #[test]
    fn what_takes_a_compiler_too_long_is_refused_before_it_is_compiled() {
        let engine = engine::compiling().unwrap();
        let loops = "loop ".repeat(501) + &"end ".repeat(501);
        let wat = format!(r#"(module (memory 1) (func $deep (export "_start") {loops}))"#);
        let refused = Made::of(&engine, &wat::parse_str(wat).unwrap()).err().unwrap();
        assert!(refused.contains("501 nested loops in function `deep`"), "{refused}");
    }
}

//! From an original to compiled code: bounds, normalise, compile. In this process, or in one of its own that can be ended
//! ([`child`]).

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
    pub(super) fn read(mut bytes: Vec<u8>) -> Option<Self> {
        let (length, rest) = bytes.split_first_chunk()?;
        let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
        let (head, _) = rest.split_at_checked(length)?;
        let head = serde_json::from_slice(head).ok()?;
        // In its place, and not a copy: it may be long.
        bytes.drain(..size_of::<u32>() + length);
        Some(Self { head, code: bytes })
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
    account: &Account,
    original: &[u8],
) -> Result<Made, ClusterError> {
    let made = child::run(program, config, account, Job::Compile, original).await?;
    Made::read(made)
        .ok_or_else(|| ClusterError::Internal("what was compiled was cut off".to_owned()))
}

/// What that child does: [`Made::bytes`], or why this is no function.
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

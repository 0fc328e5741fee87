//! Prepares an upload for the cluster: unmodified, or guarded.

use crate::cluster::child::BOUNDS;
use faasm_asyncify::faasm::{self, Options, Use};
use faasm_asyncify::input;
use faasm_bridge::wire::is_valid_name;
use serde::{Deserialize, Serialize};
use std::io;

/// What goes to the upload server, with warnings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Prepared {
    /// The guarded function; `None` if the upload is not guarded.
    #[serde(skip)]
    pub(super) guarded: Option<Vec<u8>>,
    /// Imports that trap in the cluster, with reasons.
    pub(super) warnings: Vec<String>,
    /// Functions of the same user that it chains by constant names.
    pub(super) chained: Vec<String>,
}

impl Prepared {
    /// Serialises: length of the header, the header as JSON, the guarded function, which is never empty.
    fn bytes(&self) -> io::Result<Vec<u8>> {
        let head = serde_json::to_vec(self)?;
        let length = u32::try_from(head.len()).map_err(io::Error::other)?;
        let guarded = self.guarded.as_deref().unwrap_or_default();
        Ok([&length.to_le_bytes()[..], &head, guarded].concat())
    }

    /// Parses the output of [`Prepared::bytes`].
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let (length, rest) = bytes.split_first_chunk()?;
        let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
        let (head, guarded) = rest.split_at_checked(length)?;
        let prepared: Self = serde_json::from_slice(head).ok()?;
        Some(Self { guarded: (!guarded.is_empty()).then(|| guarded.to_vec()), ..prepared })
    }
}

/// The child's job: checks and guards an upload.
pub(in crate::cluster) fn prepare_bytes(
    wasm: &[u8],
    is_trusted: bool,
    check_names: bool,
) -> io::Result<Result<Vec<u8>, String>> {
    match prepare(wasm, is_trusted, check_names) {
        Ok(prepared) => prepared.bytes().map(Ok),
        Err(why) => Ok(Err(why)),
    }
}

/// Checks an upload and prepares it for the cluster.
///
/// # Errors
/// Why the cluster cannot run the function; for an untrusted user also which of its imports a Faasm cluster does not
/// implement.
pub(super) fn prepare(
    wasm: &[u8],
    is_trusted: bool,
    check_names: bool,
) -> Result<Prepared, String> {
    let told = |error: faasm_asyncify::Error| error.to_string();
    // Checked before any code is parsed.
    input::check_header(wasm).map_err(told)?;
    BOUNDS.check(wasm).map_err(told)?;
    // Functions that a page could not run either are rejected.
    faasm_asyncify::normalise(wasm).map_err(told)?;
    faasm::check(wasm).map_err(told)?;
    if !is_trusted {
        faasm::check_loadable(wasm).map_err(told)?;
    }
    let unsupported = faasm::unsupported(wasm, false).map_err(told)?;
    let unsupported: Vec<String> =
        unsupported.iter().map(|it| format!("{}: {}", it.import, it.reason)).collect();
    if !is_trusted && !faasm::is_built_for(wasm) && !unsupported.is_empty() {
        return Err(format!(
            "the function imports host calls that a Faasm cluster does not implement ({})",
            unsupported.join("; ")
        ));
    }
    let mut warnings = unsupported;
    let mut chained: Vec<String> = Vec::new();
    // In a function built for Faasm, its support code wraps the imports.
    chained.extend(faasm::built_for(wasm).into_iter().flat_map(|built| built.chained));
    chained.retain(|name| is_valid_name(name));
    for name in faasm::chained_names(wasm).map_err(told)? {
        match String::from_utf8(name) {
            Ok(name) if is_valid_name(&name) => chained.push(name),
            name => {
                let name = name
                    .unwrap_or_else(|name| String::from_utf8_lossy(name.as_bytes()).into_owned());
                let what = match is_trusted {
                    true => {
                        "in the cluster such a call crashes a worker, or the planner if the name is not UTF-8"
                    }
                    false => "such a call fails",
                };
                warnings.push(format!(
                    "it chains `{}`, which cannot name a function: {what}; names have A-Z a-z 0-9 _ - and ., and do not begin with a dot",
                    name.escape_default()
                ));
            }
        }
    }
    let options = Options { use_: Use::Guarded, check_names };
    let guarded = match is_trusted {
        true => None,
        false => faasm::link(wasm, options).map_err(told)?.map(|made| made.wasm),
    };
    Ok(Prepared { guarded, warnings, chained })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prepared(wat: &str, is_trusted: bool) -> Result<Prepared, String> {
        prepare(&wat::parse_str(wat).unwrap(), is_trusted, true)
    }

    const WRITES: &str = r#"(module (import "env" "__faasm_write_output" (func $write (param i32 i32)))
        (memory (export "memory") 1) (func (export "_start") (call $write (i32.const 0) (i32.const 4))))"#;

    #[test]
    fn what_is_prepared_is_read_again_and_what_is_cut_off_is_not() {
        for is_trusted in [false, true] {
            let prepared = prepared(WRITES, is_trusted).unwrap();
            assert_eq!(prepared.guarded.is_none(), is_trusted);
            let bytes = prepared.bytes().unwrap();
            assert_eq!(Prepared::read(&bytes), Some(prepared));
            assert_eq!(Prepared::read(&bytes[..10]), None);
        }
    }

    #[test]
    fn what_takes_too_long_to_look_at_is_refused_before() {
        let loops = "loop ".repeat(501) + &"end ".repeat(501);
        let wat = format!(
            r#"(module (memory (export "memory") 1) (func $deep (export "_start") {loops}))"#
        );
        let refused = prepared(&wat, true).unwrap_err();
        assert!(refused.contains("501 nested loops in function `deep`"), "{refused}");
    }
}

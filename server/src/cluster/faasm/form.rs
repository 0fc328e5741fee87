//! In which form a function goes to the cluster: as it was uploaded, or guarded.

use faasm_asyncify::faasm::{self, Options, Use};
use faasm_bridge::wire::is_valid_name;

/// What goes to the upload server, and what is worth knowing about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Prepared {
    /// `None` for the upload as it is.
    pub(super) guarded: Option<Vec<u8>>,
    /// Imports that trap there, each with the reason.
    pub(super) warnings: Vec<String>,
    /// Functions of the same user that it chains by names which are constants.
    pub(super) chained: Vec<String>,
}

/// Checks an upload and makes what goes to the cluster of it.
///
/// # Errors
/// Why the cluster cannot run it; or, of a user who is not trusted, which of its imports a Faasm cluster does not have.
pub(super) fn prepare(
    wasm: &[u8],
    is_trusted: bool,
    check_names: bool,
) -> Result<Prepared, String> {
    let told = |error: faasm_asyncify::Error| error.to_string();
    // What a page could not run either is not stored.
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
            "the function imports what a Faasm cluster does not have ({})",
            unsupported.join("; ")
        ));
    }
    let mut warnings = unsupported;
    let mut chained: Vec<String> = Vec::new();
    // Of a function that is built for Faasm they are behind its support.
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
                        "in the cluster that ends a worker, or the planner where it is not UTF-8"
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

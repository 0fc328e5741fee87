//! The last stage: checks the results as if they came from a stranger.

use crate::module::layout::Layout;
use crate::module::{features, features::Feature};
use crate::{BRIDGE_MODULE, Error};
use faasm_bridge::host::{self, ImportClass};
use faasm_bridge::manifest::GROW_EXPORT;

/// The additional exports of an instrumented module: Asyncify's own, and the function by which its host grows memory.
pub const ASYNCIFY_EXPORTS: [&str; 6] = [
    "asyncify_get_state",
    "asyncify_start_rewind",
    "asyncify_start_unwind",
    "asyncify_stop_rewind",
    "asyncify_stop_unwind",
    GROW_EXPORT,
];

/// How an artefact was made of a normalised module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Made {
    Shimmed,
    /// Shimmed, then optimised by Binaryen.
    Optimized,
    /// Also instrumented by Binaryen.
    Instrumented,
}

/// Checks an artefact against the normalised module it was made from.
///
/// It validates with no more than `features`; exports, function table and data are those of `normalised`; it imports
/// only rows of the host interface, and the bridge.
///
/// # Errors
/// [`Error::Changed`], naming the first difference.
pub fn verify(
    normalised: &[u8],
    artefact: &[u8],
    features: &[Feature],
    made: Made,
) -> Result<(), Error> {
    let stage = match made {
        Made::Shimmed => "shim",
        Made::Optimized => "optimize",
        Made::Instrumented => "instrument",
    };
    if !features::suffice(artefact, features) {
        return Err(Error::changed(stage, "validity, or the WebAssembly proposals in use"));
    }
    let (mut before, mut after) = (Layout::read(normalised)?, Layout::read(artefact)?);
    if made != Made::Shimmed {
        (before, after) = (before.exported_tables(), after.exported_tables());
        // Binaryen drops passive segments that nothing reads, and splits others together with the code that reads them.
        after.passive.clone_from(&before.passive);
    }
    before.kept_by(&after, stage)?;
    let is_new = |name: &&String| !before.exports.contains_key(*name);
    let added: Vec<&str> = after.exports.keys().filter(is_new).map(String::as_str).collect();
    let expected: &[&str] = if made == Made::Instrumented { &ASYNCIFY_EXPORTS } else { &[] };
    if added != expected {
        return Err(Error::changed(stage, format!("the exports: added {added:?}")));
    }
    match after.imports.keys().find(|import| !is_answered(import)) {
        Some(import) => Err(Error::changed(stage, format!("the imports: `{import}` is left"))),
        None => Ok(()),
    }
}

fn is_answered(import: &str) -> bool {
    let Some((module, name)) = import.split_once('.') else { return false };
    module == BRIDGE_MODULE || matches!(host::classify(module, name), ImportClass::Known(_))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = r#"(module
        (memory (export "memory") 1)
        (table (export "table") 2 funcref)
        (elem (i32.const 1) $f)
        (data (i32.const 8) "data")
        (func $f (export "_start")))"#;

    fn verify_changed(from: &str, to: &str) -> Result<(), Error> {
        let before = wat::parse_str(BEFORE).unwrap();
        let after = wat::parse_str(BEFORE.replace(from, to)).unwrap();
        verify(&before, &after, &features::used(&before), Made::Shimmed)
    }

    #[test]
    fn an_equal_module_passes() {
        verify_changed("", "").unwrap();
        verify_changed(
            "(module",
            "(module (import \"env\" \"__faasm_get_idx\" (func (result i32)))",
        )
        .unwrap();
    }

    #[test]
    fn each_invariant_is_checked() {
        let cases = [
            ("(export \"_start\")", "", "`_start` (it is gone)"),
            ("(export \"_start\")", "(export \"_start\") (export \"other\")", "other"),
            ("(elem (i32.const 1) $f)", "", "slot 1"),
            ("\"data\"", "\"late\"", "contents of memory"),
            ("(module", "(module (import \"env\" \"mystery\" (func))", "`env.mystery` is left"),
            ("(module", "(module (func (result i32 i32) unreachable)", "proposals"),
        ];
        for (from, to, part) in cases {
            let error = verify_changed(from, to).unwrap_err().to_string();
            assert!(error.contains(part), "no `{part}` in: {error}");
        }
    }
}

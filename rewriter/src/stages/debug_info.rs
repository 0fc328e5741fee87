//! Debug information of the finished artefacts: kept, moved to a file of its own, or removed.
//!
//! Names of functions survive every stage, because walrus and Binaryen preserve them; so they are taken from the final
//! bytes, whose function indices a browser shows. DWARF does not survive. Its addresses are offsets in the code, which
//! every stage moves: Binaryen's Asyncify drops it by design, and walrus 0.27.3 converts it for the other artefact, but
//! panics on DWARF 5 and, in its second pass, on unoptimised C, where it also gave one instruction in sixteen the line
//! of its neighbour. Wrong lines are worse than none, so [`crate::normalise()`] drops it, and [`Warning::Dwarf`]
//! reports that.

use crate::report::inspect;
use crate::{Error, Warning};
use faasm_bridge::names::{Functions, Names};
use wasmparser::{BinaryReaderError, KnownCustom, Name, Parser, Payload};

/// What happens to the names of functions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DebugInfo {
    /// They stay in both artefacts, where browsers find them.
    #[default]
    Keep,
    /// They go to a file of their own, which the runtime fetches to show a stack.
    Move,
    /// They are removed.
    Strip,
}

/// Removes the names from the artefacts unless they stay; returns them, as JSON, if they move.
pub(crate) fn settle(
    wanted: DebugInfo,
    jspi: &mut Vec<u8>,
    asyncify: Option<&mut Vec<u8>>,
) -> Result<Option<Vec<u8>>, Error> {
    if wanted == DebugInfo::Keep {
        return Ok(None);
    }
    let failed = |message: String| Error::Rewrite { message };
    let take = |artefact: &mut Vec<u8>| {
        let (stripped, functions) =
            without_names(artefact).map_err(|error| failed(error.to_string()))?;
        *artefact = stripped;
        Ok::<_, Error>(functions)
    };
    let asyncify = asyncify.map(take).transpose()?.unwrap_or_default();
    let names = Names { jspi: take(jspi)?, asyncify };
    if wanted == DebugInfo::Strip {
        return Ok(None);
    }
    serde_json::to_vec(&names).map(Some).map_err(|error| failed(error.to_string()))
}

/// The warning that DWARF is lost, if debug information is wanted and there is DWARF.
pub(crate) fn warning(wanted: DebugInfo, original: &[u8]) -> Option<Warning> {
    let bytes = inspect::debug_bytes(original);
    let has_names = || {
        let is_named = |payload| matches!(payload, Ok(Payload::CustomSection(section)) if section.name() == "name");
        Parser::new(0).parse_all(original).any(is_named)
    };
    (wanted != DebugInfo::Strip && bytes > 0)
        .then(|| Warning::Dwarf { bytes, has_names: has_names() })
}

/// A module without its name section, and the names of functions from that section.
fn without_names(wasm: &[u8]) -> Result<(Vec<u8>, Functions), BinaryReaderError> {
    const HEADER: usize = 8;
    let mut out = wasm[..HEADER].to_vec();
    let mut functions = Functions::new();
    let mut start = HEADER;
    for payload in Parser::new(0).parse_all(wasm) {
        let payload = payload?;
        // Identifier and length precede the range of a section, and follow the previous section.
        let Some((_, range)) = payload.as_section() else { continue };
        let section = start..range.end;
        start = range.end;
        match &payload {
            Payload::CustomSection(custom) if custom.name() == "name" => {
                if let KnownCustom::Name(names) = custom.as_known() {
                    read(names, &mut functions)?;
                }
            }
            _ => out.extend_from_slice(&wasm[section]),
        }
    }
    Ok((out, functions))
}

fn read(
    names: wasmparser::NameSectionReader<'_>,
    functions: &mut Functions,
) -> Result<(), BinaryReaderError> {
    for names in names {
        if let Name::Function(map) = names? {
            for name in map {
                let name = name?;
                functions.insert(name.index, demangle(name.name));
            }
        }
    }
    Ok(())
}

/// A symbol as written in the source; linkers demangle most names, but not duplicates.
fn demangle(symbol: &str) -> String {
    if let Ok(rust) = rustc_demangle::try_demangle(symbol) {
        return format!("{rust:#}");
    }
    let cpp = symbol.starts_with("_Z").then(|| cpp_demangle::Symbol::new(symbol).ok()).flatten();
    cpp.and_then(|cpp| cpp.demangle().ok()).unwrap_or_else(|| symbol.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_names_are_removed() {
        let wat = r#"(module (import "env" "f" (func)) (memory 1)
            (func $_ZN3foo3barEi) (func) (func $main (export "_start"))
            (data "x") (@custom "mine" "y"))"#;
        let whole = wat::parse_str(wat).unwrap();
        let anonymous = wat.replace("$_ZN3foo3barEi", "").replace("$main", "");
        let mut jspi = whole.clone();
        let mut asyncify = whole.clone();
        let names = settle(DebugInfo::Move, &mut jspi, Some(&mut asyncify)).unwrap().unwrap();
        let names: Names = serde_json::from_slice(&names).unwrap();
        assert_eq!(jspi, wat::parse_str(anonymous).unwrap());
        assert_eq!(asyncify, jspi);
        let functions = [(1, "foo::bar(int)"), (3, "main")].map(|(i, n)| (i, n.to_owned()));
        assert_eq!((names.jspi, names.asyncify), (functions.clone().into(), functions.into()));

        assert_eq!(settle(DebugInfo::Strip, &mut jspi, Some(&mut asyncify)).unwrap(), None);
        let (mut kept, mut also) = (whole.clone(), whole.clone());
        assert_eq!(settle(DebugInfo::Keep, &mut kept, Some(&mut also)).unwrap(), None);
        assert_eq!((&kept, &also), (&whole, &whole));
    }

    #[test]
    fn symbols_are_shown_as_in_the_source() {
        for (symbol, shown) in [
            ("_ZN4core3fmt5write17h0123456789abcdefE", "core::fmt::write"),
            ("_RNvC5crate4main", "crate::main"),
            (
                "_ZNSt6vectorIiSaIiEE2atEm",
                "std::vector<int, std::allocator<int> >::at(unsigned long)",
            ),
            ("_Zebra", "_Zebra"),
            ("env.__faasm_await_call", "env.__faasm_await_call"),
        ] {
            assert_eq!(demangle(symbol), shown);
        }
    }
}

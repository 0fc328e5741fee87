//! `faasm-asyncify build --debug-info`: where the names of functions go.

use super::{Bench, WAITING};
use faasm_bridge::manifest::{Artefact, Manifest};
use faasm_bridge::names::{Functions, Names};
use std::fs;
use wasmparser::{KnownCustom, Name, Parser, Payload};

/// Builds, and returns the manifest.
fn build(bench: &Bench, how: &str) -> Manifest {
    let input = bench.wat("chain.wasm", WAITING);
    let outcome = bench.run("build", &input, &["--debug-info", how]);
    assert_eq!((outcome.status, outcome.stderr.as_str()), (0, ""));
    serde_json::from_slice(&fs::read(bench.out().join("chain.json")).unwrap()).unwrap()
}

/// The names in an artefact.
fn names(bench: &Bench, artefact: &Artefact) -> Functions {
    let wasm = fs::read(bench.out().join(&artefact.file)).unwrap();
    wasmparser::validate(&wasm).unwrap();
    assert_eq!(wasm.len() as u64, artefact.bytes);
    let sections = Parser::new(0).parse_all(&wasm).filter_map(|payload| match payload.unwrap() {
        Payload::CustomSection(section) => match section.as_known() {
            KnownCustom::Name(names) => Some(names),
            _ => None,
        },
        _ => None,
    });
    let functions = sections.flatten().filter_map(|name| match name.unwrap() {
        Name::Function(functions) => Some(functions),
        _ => None,
    });
    let name = |name: wasmparser::Naming<'_>| (name.index, name.name.to_owned());
    functions.flatten().map(|naming| name(naming.unwrap())).collect()
}

#[test]
fn names_move_with_the_indices_of_the_final_artefacts() {
    let (kept, moved) = (Bench::new(), Bench::new());
    let (whole, apart) = (build(&kept, "keep"), build(&moved, "move"));
    assert_eq!(whole.names, None);
    let file = apart.names.unwrap();
    assert_eq!(
        moved.files(),
        ["chain.asyncify.wasm", "chain.json", "chain.names.json", "chain.wasm"]
    );
    let json = fs::read(moved.out().join(&file.file)).unwrap();
    assert_eq!((json.len() as u64, faasm_asyncify::integrity(&json)), (file.bytes, file.integrity));
    let Names { jspi, asyncify } = serde_json::from_slice(&json).unwrap();
    assert_eq!(jspi, names(&kept, &whole.engines.jspi));
    assert_eq!(asyncify, names(&kept, &whole.engines.asyncify.artefact().unwrap().artefact));
    assert_ne!(jspi, asyncify);
    assert!(asyncify.values().any(|name| name == "again"), "{asyncify:?}");

    let engines = apart.engines;
    assert_eq!(names(&moved, &engines.jspi), Functions::new());
    assert_eq!(names(&moved, &engines.asyncify.artefact().unwrap().artefact), Functions::new());
}

#[test]
fn stripped_names_are_gone() {
    let bench = Bench::new();
    let manifest = build(&bench, "strip");
    assert_eq!(manifest.names, None);
    assert_eq!(bench.files(), ["chain.asyncify.wasm", "chain.json", "chain.wasm"]);
    assert_eq!(names(&bench, &manifest.engines.jspi), Functions::new());
    assert_eq!(
        names(&bench, &manifest.engines.asyncify.artefact().unwrap().artefact),
        Functions::new()
    );
}

#[test]
fn lost_dwarf_is_reported_with_the_reason() {
    let bench = Bench::new();
    let wat = r#"(module (memory 1) (func (export "_start")) (@custom ".debug_info" "12345"))"#;
    let input = bench.wat("debug.wasm", wat);
    for (how, said) in [("keep", true), ("move", true), ("strip", false)] {
        let outcome = bench.run("build", &input, &["--debug-info", how]);
        assert_eq!(outcome.status, 0, "{}", outcome.stderr);
        let advice = "show numbers of functions, because it has no names; DWARF comes from every part compiled with `-g`";
        assert_eq!(outcome.stderr.contains(advice), said, "{how}: {}", outcome.stderr);
        let warning = "debug: its 5 bytes of DWARF are dropped, because rewriting moves the code";
        assert_eq!(outcome.stderr.contains(warning), said, "{how}: {}", outcome.stderr);
        let built = fs::read(bench.out().join("debug.wasm")).unwrap();
        assert!(!wasmprinter::print_bytes(built).unwrap().contains(".debug_info"));
    }
}

#[test]
fn the_dwarf_warning_is_true_of_the_function() {
    let bench = Bench::new();
    let said = |name: &str, function: &str, section: &str| {
        let wat = format!(
            r#"(module (memory 1) (func {function} (export "_start")) (@custom "{section}" "12345"))"#
        );
        let outcome = bench.run("build", &bench.wat(name, &wat), &[]);
        assert_eq!(outcome.status, 0, "{}", outcome.stderr);
        outcome.stderr
    };
    let named = said("named.wasm", "$main", ".debug_line");
    assert!(named.contains("still show the names of functions"), "{named}");
    assert!(named.contains("removes the names too"), "{named}");
    // Tables to which nothing refers, and sections that are not DWARF.
    for section in [".debug_str", ".debug_abbrev", ".debug", "sourceMappingURL"] {
        assert_eq!(said("none.wasm", "$main", section), "", "{section}");
    }
}

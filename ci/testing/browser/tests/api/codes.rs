//! The error codes are the same in the types, in the runtime, and in the document that describes the cluster's codes.

use faasm_bridge::ErrorCode as Code;
use std::collections::BTreeSet;

const TYPES: &str = include_str!("../../../../../runtime-web/src/types.d.ts");
const WIRE: &str = include_str!("../../../../../docs/wire.md");

/// The codes that the runtime uses, which are the project's shared codes.
fn of_the_runtime() -> BTreeSet<&'static str> {
    Code::ALL.iter().map(|code| code.as_str()).collect()
}

#[test]
fn the_types_list_the_codes_of_the_runtime() {
    let (_, union) = TYPES.split_once("export type ErrorCode =").expect("the union");
    let rows = union.trim_start().lines().take_while(|line| line.trim_start().starts_with("| \""));
    let listed: Vec<&str> = rows.filter_map(|row| row.split('"').nth(1)).collect();
    assert!(listed.is_sorted(), "in order: {listed:?}");
    assert_eq!(listed.iter().copied().collect::<BTreeSet<_>>(), of_the_runtime());
}

#[test]
fn the_runtime_knows_the_codes_of_failed_calls() {
    let (_, section) = WIRE.split_once("## Failed calls").expect("the section");
    let (section, _) = section.split_once("\n## ").expect("the next one");
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    let codes = rows.filter_map(|row| row.split('|').nth(1)).flat_map(|cell| cell.split(", "));
    let codes: Vec<&str> = codes.map(|code| code.trim().trim_matches('`')).collect();
    assert!(codes.len() > 10, "{codes:?}");
    for code in codes {
        assert!(of_the_runtime().contains(code), "{code}");
        assert_eq!(Code::named(code).as_str(), code);
    }
    assert_eq!(Code::named("of-a-later-version"), Code::Internal);
}

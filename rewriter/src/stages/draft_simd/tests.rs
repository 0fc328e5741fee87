//! Each instruction of the draft alone, all other instructions between them, and damaged modules.

use super::table::{self, ROWS, Today};
use super::*;
use crate::Error;
use crate::stages::input;
use std::borrow::Cow;
use std::fmt::Write;
use std::path::Path;
use wasmparser::{Operator, Parser, Payload};

/// The current name of an instruction, derived from its name in 2019 and not from its number; `None` if it was removed.
fn todays_name(name: &str) -> Option<String> {
    if let Some((lanes, "any_true")) = name.split_once('.') {
        assert!(lanes.starts_with('i'));
        return Some("v128.any_true".to_owned());
    }
    let renamed = match name {
        "i8x16.mul" => return None,
        name if name.contains('/') => return None,
        "v8x16.shuffle" => "i8x16.shuffle".to_owned(),
        "v8x16.swizzle" => "i8x16.swizzle".to_owned(),
        "v8x16.load_splat" => "v128.load8_splat".to_owned(),
        "v16x8.load_splat" => "v128.load16_splat".to_owned(),
        "v32x4.load_splat" => "v128.load32_splat".to_owned(),
        "v64x2.load_splat" => "v128.load64_splat".to_owned(),
        name => match name.split_once('.') {
            Some((_, load)) if load.starts_with("load") => format!("v128.{load}"),
            _ => name.replace("add_saturate", "add_sat").replace("sub_saturate", "sub_sat"),
        },
    };
    Some(renamed.replace("widen", "extend"))
}

/// The parameters and result of an instruction, derived from its current name.
fn signature(name: &str) -> (Vec<&'static str>, Option<&'static str>) {
    let (shape, operation) = name.split_once('.').unwrap();
    let scalar = match shape {
        "i64x2" => "i64",
        "f32x4" => "f32",
        "f64x2" => "f64",
        _ => "i32",
    };
    let is = |prefixes: &[&str]| prefixes.iter().any(|prefix| operation.starts_with(prefix));
    let params = match operation {
        "const" => vec![],
        "store" => vec!["i32", "v128"],
        "bitselect" => vec!["v128"; 3],
        "splat" => vec![scalar],
        "replace_lane" => vec!["v128", scalar],
        "not" | "neg" | "abs" | "sqrt" | "any_true" | "all_true" => vec!["v128"],
        _ if is(&["shl", "shr"]) => vec!["v128", "i32"],
        _ if is(&["load"]) => vec!["i32"],
        _ if is(&["extract_lane", "trunc", "convert", "extend"]) => vec!["v128"],
        _ => vec!["v128"; 2],
    };
    let result = match operation {
        "store" => None,
        "any_true" | "all_true" => Some("i32"),
        _ if is(&["extract_lane"]) => Some(scalar),
        _ => Some("v128"),
    };
    (params, result)
}

fn immediate(row: &table::Row) -> &'static str {
    match (row.immediate, row.name) {
        (reader::Immediate::Nothing, _) => "",
        (reader::Immediate::Memarg, _) => "offset=300",
        (reader::Immediate::Lane, _) => "1",
        (reader::Immediate::Bytes16, "v128.const") => {
            "i8x16 253 1 2 3 4 5 6 7 8 9 10 11 0xfd 0xfd 0 11"
        }
        (reader::Immediate::Bytes16, _) => "0 31 2 3 4 5 6 7 8 9 10 11 12 13 14 15",
    }
}

/// A function of one instruction in the current encoding, assembled from its name; before it, a function with a
/// constant and a store, without which some drafts would validate unchanged.
fn module_with(name: &str, immediate: &str) -> Vec<u8> {
    let (params, result) = signature(name);
    let mut wat = r#"(module (memory 1) (func (export "_start")
        (v128.store (i32.const 16) (v128.const i64x2 1 -1))) (func"#
        .to_owned();
    params.iter().for_each(|param| write!(wat, " (param {param})").unwrap());
    result.iter().for_each(|result| write!(wat, " (result {result})").unwrap());
    (0..params.len()).for_each(|local| write!(wat, " local.get {local}").unwrap());
    write!(wat, " {name} {immediate}))").unwrap();
    wat::parse_str(wat).unwrap()
}

/// The same module as a toolchain of 2019 would encode it: an independent reader finds the SIMD instructions, and
/// `choose` maps each number to a draft's.
fn as_draft(wasm: &[u8], mut choose: impl FnMut(u32) -> u32) -> Vec<u8> {
    let mut bodies = Vec::new();
    let mut section = 0..0;
    for payload in Parser::new(0).parse_all(wasm) {
        match payload.unwrap() {
            Payload::CodeSectionStart { range, .. } => section = range,
            Payload::CodeSectionEntry(body) => {
                let mut out = Vec::new();
                let mut copied = body.range().start;
                for operator in body.get_operators_reader().unwrap().into_iter_with_offsets() {
                    let (_, offset) = operator.unwrap();
                    if wasm[offset] == 0xfd {
                        let mut number = Reader::new(wasm, offset + 1);
                        let draft = choose(number.number().unwrap());
                        out.extend(&wasm[copied..=offset]);
                        write_number(&mut out, draft);
                        copied = number.position();
                    }
                }
                out.extend(&wasm[copied..body.range().end]);
                bodies.push(out);
            }
            _ => {}
        }
    }
    let mut code = Vec::new();
    write_number(&mut code, bodies.len() as u32);
    bodies.iter().for_each(|body| write_sized(&mut code, body).unwrap());
    // The section's size is in its shortest encoding; its id precedes it.
    let mut size = Vec::new();
    write_number(&mut size, section.len() as u32);
    let mut out = wasm[..section.start - size.len()].to_vec();
    write_sized(&mut out, &code).unwrap();
    out.extend(&wasm[section.end..]);
    out
}

fn first_draft(today: u32) -> u32 {
    let is =
        |row: &&table::Row| matches!(row.today, Today::Is(number) if u32::from(number) == today);
    ROWS.iter().find(is).unwrap().draft
}

/// For [`module_with`]: the number of its instruction is `draft`.
fn last_is(draft: u32) -> impl FnMut(u32) -> u32 {
    let mut count = 0;
    move |today| {
        count += 1;
        if count <= 2 { first_draft(today) } else { draft }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
}

/// The last instruction of the last body.
fn last_instruction(wasm: &[u8]) -> (&[u8], String) {
    let from = wasm.windows(1).rposition(|byte| byte == [0x0b]).unwrap();
    let start = last_body(wasm);
    let mut reader = Reader::new(&wasm[..from], start);
    reader.skip_locals().unwrap();
    while wasm[reader.position()] == 0x20 {
        reader.skip(2).unwrap();
    }
    let text = wasmprinter::print_bytes(wasm).unwrap_or_default();
    let text = text.lines().rev().nth(2).unwrap_or_default().trim().to_owned();
    (&wasm[reader.position()..from], text)
}

fn last_body(wasm: &[u8]) -> usize {
    let bodies = Parser::new(0).parse_all(wasm).filter_map(|payload| match payload {
        Ok(Payload::CodeSectionEntry(body)) => Some(body.range().start),
        _ => None,
    });
    bodies.last().unwrap()
}

#[test]
fn each_instruction_becomes_todays() {
    assert_eq!(ROWS.len(), 183);
    let mut shown = String::new();
    for row in ROWS {
        let name = todays_name(row.name);
        let like = name.clone().unwrap_or_else(|| match row.name {
            "i8x16.mul" => "i8x16.add".to_owned(),
            _ => "v128.not".to_owned(),
        });
        let wanted = module_with(&like, immediate(row));
        let draft = as_draft(&wanted, last_is(row.draft));
        let (before, _) = last_instruction(&draft);
        write!(shown, "{:3} {:24} {}\n{:29}", row.draft, row.name, hex(before), "").unwrap();

        match (name, input::check(&draft)) {
            (Some(name), Ok(translated)) => {
                wasmparser::validate(&translated).unwrap();
                assert_eq!(hex(&translated), hex(&wanted), "{} {}", row.draft, row.name);
                let (after, text) = last_instruction(&translated);
                assert!(text.starts_with(&name), "{text} is not {name}");
                writeln!(shown, "{} {text}", hex(after)).unwrap();
            }
            (None, Err(error @ Error::DraftSimd { .. })) => {
                let offset = draft.len() - 1 - before.len();
                assert!(error.to_string().contains(&format!("{offset:#x}")), "{error}");
                writeln!(shown, "error: {error}").unwrap();
            }
            (_, Ok(_)) => panic!("{} has no counterpart", row.name),
            (_, Err(error)) => panic!("{} {}: {error}", row.draft, row.name),
        }
    }
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/draft-simd.txt");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&golden, shown).unwrap();
    } else {
        let wanted = std::fs::read_to_string(&golden).unwrap();
        for (wanted, shown) in wanted.lines().zip(shown.lines()) {
            assert_eq!(shown, wanted, "BLESS=1 accepts it");
        }
        assert_eq!(shown.len(), wanted.len());
    }
}

#[test]
fn unassigned_numbers_are_not_translated() {
    let wanted = module_with("v128.not", "");
    let numbers = (0..300).filter(|number| ROWS.iter().all(|row| row.draft != *number));
    for number in numbers.chain([0x3fff_ffff, u32::MAX]) {
        assert!(translate(&as_draft(&wanted, last_is(number))).is_none(), "{number}");
    }
}

/// Every instruction that is not SIMD, each followed by SIMD that desynchronises a reader which found a wrong end.
fn mixed() -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/modules");
    let instructions = std::fs::read_to_string(folder.join("instructions.txt")).unwrap();
    let mut wat = r#"(module
        (type $t (func (param i32 i64) (result f64)))
        (memory (export "memory") 1)
        (table $table 4 funcref)
        (global $g (mut i32) (i32.const 0))
        (elem $e func $calls)
        (elem (i32.const 1) $calls)
        (data $d "\fd\03\fd\0d\0b")
        (func $calls (type $t) (local i32 i32 f64 v128)"#
        .to_owned();
    for instruction in instructions.lines().filter(|line| !line.starts_with(";;")) {
        let simd = "(drop (i32x4.add (v128.const i32x4 253 1 2 3) (v128.load (i32.const 300))))";
        write!(wat, "\nunreachable\n{instruction}\nunreachable\n{simd}").unwrap();
    }
    wat.push_str(
        r#" unreachable)
        (func $plain (param i32) (result i32) (local.get 0))
        (func (export "_start") (v128.store (i32.const 16) (v128.const i64x2 0 -1)))
        (@custom ".debug_loc" "\fd\03")
        (@custom "other" "\fd\57"))"#,
    );
    wat::parse_str(wat).unwrap()
}

#[test]
fn all_other_instructions_are_skipped() {
    let today = mixed();
    wasmparser::validate(&today).unwrap();
    let draft = as_draft(&today, first_draft);
    assert!(wasmparser::validate(&draft).is_err());
    let translated = input::check(&draft).unwrap();
    assert!(translated == today, "the whole module, names and other sections with it");
}

#[test]
fn the_list_of_other_instructions_is_complete() {
    let mut seen = std::collections::BTreeSet::new();
    let today = mixed();
    for payload in Parser::new(0).parse_all(&today) {
        let Payload::CodeSectionEntry(body) = payload.unwrap() else { continue };
        for operator in body.get_operators_reader().unwrap().into_iter_with_offsets() {
            let (operator, offset) = operator.unwrap();
            let sub = if today[offset] == 0xfc { today[offset + 1] } else { 0 };
            seen.insert((today[offset], sub));
            assert!(!matches!(operator, Operator::Throw { .. }));
        }
    }
    let plain = (0x00..=0x05).chain(0x0b..=0x13).chain([0x1a, 0x1b, 0x1c]).chain(0x20..=0x26);
    let plain = plain.chain(0x28..=0xc4).chain([0xd0, 0xd1, 0xd2]).map(|opcode| (opcode, 0));
    for wanted in plain.chain((0..=17).map(|sub| (0xfc, sub))) {
        assert!(seen.contains(&wanted), "{wanted:02x?} is not in instructions.txt");
    }
}

#[test]
fn a_valid_module_is_unchanged() {
    for today in [mixed(), module_with("i32x4.add", ""), module_with("v128.load", "")] {
        let checked = input::check(&today).unwrap();
        assert!(matches!(checked, Cow::Borrowed(bytes) if bytes == today));
    }
}

#[test]
fn without_simd_there_is_nothing_to_translate() {
    let plain =
        wat::parse_str("(module (memory 1) (func (export \"_start\") (drop (i32.const 253))))");
    assert!(translate(&plain.unwrap()).is_none());
}

#[test]
fn sizes_may_be_padded() {
    let today = module_with("i32x4.add", "");
    let draft = as_draft(&today, first_draft);
    let code = Parser::new(0).parse_all(&draft).find_map(|payload| match payload.unwrap() {
        Payload::CodeSectionStart { range, .. } => Some(range),
        _ => None,
    });
    let code = code.unwrap();
    let mut padded = draft[..code.start - 1].to_vec();
    padded.extend([code.len() as u8 | 0x80, 0x80, 0x80, 0x80, 0]);
    padded.extend(&draft[code]);
    assert_eq!(*input::check(&padded).unwrap(), today);
}

#[test]
fn a_function_without_counterpart_is_named() {
    let wat = r#"(module (memory 1) (func (export "_start"))
        (func $blend (param v128) (result v128) local.get 0 local.get 0 i8x16.add))"#;
    let draft = as_draft(&wat::parse_str(wat).unwrap(), |_| 93);
    let error = input::check(&draft).unwrap_err().to_string();
    assert!(error.contains("`blend`") && error.contains("`i8x16.mul`"), "{error}");
    let error = crate::normalise(&draft).unwrap_err().to_string();
    assert!(error.contains("`blend`"), "{error}");
}

#[test]
fn a_module_that_is_invalid_as_a_draft_keeps_its_own_error() {
    // Current SIMD, whose number had another meaning in the draft, in a function that lacks a result.
    let wasm = wat::parse_str(
        "(module (memory 1) (func (export \"_start\")) (func $f (result i32) (drop (v128.load64_zero (i32.const 0)))))",
    );
    let error = input::check(&wasm.unwrap()).unwrap_err();
    assert!(
        matches!(&error, Error::Invalid { function: Some(name), .. } if name == "f"),
        "{error}"
    );
}

#[test]
fn damage_is_an_error_and_never_a_panic() {
    let draft =
        as_draft(&module_with("i8x16.shuffle", immediate(table::row(3).unwrap())), last_is(3));
    for end in 0..draft.len() {
        translate(&draft[..end]);
    }
    for position in 0..draft.len() {
        for value in [0, 0x0b, 0x0e, 0x7f, 0x80, 0xfc, 0xfd, 0xff] {
            let mut damaged = draft.clone();
            damaged[position] = value;
            if let Ok(checked) = input::check(&damaged) {
                wasmparser::validate(&checked).unwrap();
            }
        }
    }
}

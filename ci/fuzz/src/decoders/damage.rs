//! Damages valid bytes: like [`crate::mutate`] for modules, and by replacing numbers with extreme ones.

use crate::mutate;
use crate::random::Rng;

/// Numbers in text form, around the limits of their types and beyond.
const TEXTS: [&str; 12] = [
    "0",
    "-1",
    "4294967296",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "1e999",
    "-0.0",
    "nan",
    "inf",
    "null",
    "\"\\u0000\"",
];

pub(super) fn damage(bytes: &mut Vec<u8>, other: &[u8], rng: &mut Rng) {
    match rng.below(8) {
        0 => {
            // Little-endian, overwriting existing bytes.
            let number = extreme(rng).to_le_bytes();
            let width = [2, 4, 8][rng.below(3)];
            let at = rng.below(bytes.len());
            let end = bytes.len().min(at + width);
            bytes.splice(at..end, number[..width].iter().copied()).for_each(drop);
        }
        1 => {
            let at = rng.below(bytes.len());
            let end = bytes.len().min(at + 1);
            bytes.splice(at..end, varint(extreme(rng))).for_each(drop);
        }
        2 => replace_number(bytes, rng),
        _ => mutate::edit(bytes, other, rng),
    }
}

/// Near a power of two, or all ones.
fn extreme(rng: &mut Rng) -> u64 {
    let near = (1_u64 << rng.below(64)).wrapping_add(rng.below(3) as u64).wrapping_sub(1);
    if rng.chance(30) { u64::MAX - rng.below(2) as u64 } else { near }
}

fn varint(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

/// Replaces a number in decimal digits by another one.
fn replace_number(bytes: &mut Vec<u8>, rng: &mut Rng) {
    let from = rng.below(bytes.len());
    let Some(start) = bytes[from..].iter().position(u8::is_ascii_digit).map(|at| from + at) else {
        return;
    };
    let digits = bytes[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let text = TEXTS[rng.below(TEXTS.len())];
    bytes.splice(start..start + digits, text.bytes()).for_each(drop);
}

//! Conventions between the relay and the artefacts for a Faasm cluster: how a call's result passes through Faasm, and
//! which state keys are reserved for the relay.
//!
//! # Results
//!
//! Faasm treats an output as text, replaces it if the return value is not 0, and reports 0 for a chained function
//! pointer. An output that is not UTF-8 crashes its planner. So artefacts encode what would be lost, and the relay and
//! functions that await such a call decode it. An encoded output begins with a control character that does not occur in
//! text:
//!
//! | output | meaning |
//! |---|---|
//! | `\x02faasm-output;base64,BASE64` | the output, as bytes; the return value is the one that Faasm reports |
//! | `\x02faasm-result;VALUE;base64,BASE64` | return value (decimal, `i32`) and output; Faasm reports 0 |
//! | `\x02faasm-fault;CODE;TEXT` | a host call ended the run: a code of [`FAULTS`], and the reason for people; Faasm reports 0 |
//! | anything else | the output itself |
//!
//! BASE64 is RFC 4648 with padding. An output that is text and begins like one of these must be encoded, too.
//!
//! # Keys
//!
//! A user's state keys that begin with [`RESERVED`] belong to the relay and to guarded artefacts; pages and functions
//! cannot use them.
//!
//! | key | value |
//! |---|---|
//! | `.faasm.function.NAME` | `1` if the relay has stored function NAME of that user: a guarded function checks it before it chains NAME |
//! | `.faasm.list.GENERATION.KEY` | the list KEY (GENERATION: 8 hexadecimal digits), if lists are kept apart from values: Faasm's workers crash if one key has both |
//! | `.faasm.cleared.KEY` | GENERATION of the list KEY, 8 hexadecimal digits; missing means 0. Workers cannot delete a list, so clearing it starts the next generation |

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Prefix of an output that is encoded as bytes.
pub const BYTES: &str = "\u{2}faasm-output;base64,";

/// Prefix of an output with a return value.
pub const RESULT: &str = "\u{2}faasm-result;";

/// Prefix of an output that reports a fault.
pub const FAULT: &str = "\u{2}faasm-fault;";

/// Separates the return value from the output.
pub const BASE64: &str = ";base64,";

/// Fault codes that an artefact may report; those of [`crate::guest::Fault::code`] and of failed calls.
pub const FAULTS: &[&str] = &[
    "bad-pointer",
    "state",
    "operation-failed",
    "out-of-memory",
    "not-implemented",
    "missing-function",
    "cluster-only",
];

/// Prefix of keys that pages and functions cannot use.
pub const RESERVED: &str = ".faasm.";

/// Largest element, in bytes, that a guarded function, or a page of its user, may append to a list. A function that
/// reads `n` elements must provide memory for `n` of this size, since Faasm reports no sizes and a worker crashes if
/// the buffer is too small.
pub const MAX_LIST_ELEMENT: usize = 16 * 1024;

/// A decoded output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output<'a> {
    /// The output as the function wrote it: unencoded, or with an invalid encoding.
    Plain(&'a str),
    Bytes(Vec<u8>),
    Result {
        value: i32,
        output: Vec<u8>,
    },
    Fault {
        code: &'static str,
        message: &'a str,
    },
}

impl<'a> Output<'a> {
    pub fn read(text: &'a str) -> Self {
        Self::encoded(text).unwrap_or(Output::Plain(text))
    }

    fn encoded(text: &'a str) -> Option<Self> {
        if let Some(base64) = text.strip_prefix(BYTES) {
            return Some(Output::Bytes(STANDARD.decode(base64).ok()?));
        }
        if let Some(rest) = text.strip_prefix(RESULT) {
            let (value, base64) = rest.split_once(BASE64)?;
            let (value, output) = (value.parse().ok()?, STANDARD.decode(base64).ok()?);
            return Some(Output::Result { value, output });
        }
        let (code, message) = text.strip_prefix(FAULT)?.split_once(';')?;
        let code = FAULTS.iter().copied().find(|known| *known == code)?;
        Some(Output::Fault { code, message })
    }
}

/// Key of the mark that a function is stored in the cluster.
pub fn function_key(function: &str) -> String {
    format!("{RESERVED}function.{function}")
}

/// Key of a list that is kept apart from values.
pub fn list_key(key: &str, generation: u32) -> String {
    format!("{RESERVED}list.{generation:08x}.{key}")
}

/// Key of a list's generation.
pub fn cleared_key(key: &str) -> String {
    format!("{RESERVED}cleared.{key}")
}

/// Parses the value of [`cleared_key`]; `None` if it is invalid.
pub fn generation(value: &[u8]) -> Option<u32> {
    let is_digits = value.len() == 8 && value.iter().all(u8::is_ascii_hexdigit);
    let text = std::str::from_utf8(value).ok().filter(|_| is_digits)?;
    u32::from_str_radix(text, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_are_read() {
        let bytes = vec![0, 255, 128];
        assert_eq!(Output::read(&format!("{BYTES}AP+A")), Output::Bytes(bytes.clone()));
        assert_eq!(
            Output::read(&format!("{RESULT}-7{BASE64}AP+A")),
            Output::Result { value: -7, output: bytes }
        );
        assert_eq!(
            Output::read(&format!("{FAULT}state;key `k;` has 3 bytes")),
            Output::Fault { code: "state", message: "key `k;` has 3 bytes" }
        );
    }

    #[test]
    fn an_output_without_encoding_is_plain() {
        for text in [
            String::new(),
            "text".into(),
            format!("{BYTES}not base64"),
            format!("{RESULT}x{BASE64}AP+A"),
            format!("{RESULT}4294967296{BASE64}"),
            format!("{FAULT}made-up;text"),
            format!("{FAULT}state"),
        ] {
            assert_eq!(Output::read(&text), Output::Plain(&text));
        }
    }

    #[test]
    fn keys_are_told_apart() {
        assert_eq!(list_key("k", 0x1f), ".faasm.list.0000001f.k");
        assert_eq!(generation(b"0000001f"), Some(0x1f));
        for bad in [&b""[..], b"1f", b"0000001g", b"000000001", b"+000001f"] {
            assert_eq!(generation(bad), None);
        }
        for key in [list_key("k", 0), cleared_key("k"), function_key("f")] {
            assert!(key.starts_with(RESERVED));
        }
    }
}

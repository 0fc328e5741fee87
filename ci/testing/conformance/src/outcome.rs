//! The result of a run, its differences from the required one, and the error codes.

use crate::case::{After, Case, End, Text};
use sha2::{Digest, Sha256};
use std::fmt;

/// Maximum length of bytes that are compared and shown verbatim; longer ones are replaced by their hash.
pub const MAX_SHOWN_BYTES: usize = 1024 * 1024;

/// Maximum length of text in a message.
const MAX_MESSAGE: usize = 1500;

/// Why a run did not return; one code for each reason, the same everywhere.
pub use faasm_bridge::ErrorCode as Code;

/// The result of a run as a column observed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    pub ended: Ended,
    /// As text; invalid UTF-8 is replaced.
    pub stdout: String,
    pub stderr: String,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    Returned {
        value: i32,
        output: Vec<u8>,
    },
    Failed {
        code: String,
        message: String,
    },
    /// The place itself failed: it crashed, hung, or behaved unexpectedly.
    Broken(String),
}

/// The content of the global tier after a run, in the order of [`Case::after`].
pub type Left = Vec<Option<Vec<u8>>>;

/// Bytes as they are compared: long ones become a line with their length and hash.
pub fn shortened(bytes: &[u8]) -> Vec<u8> {
    if bytes.len() <= MAX_SHOWN_BYTES {
        return bytes.to_vec();
    }
    let hash: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("[{} bytes, sha256 {hash}]", bytes.len()).into_bytes()
}

/// One difference from the required result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    pub what: String,
    pub expected: String,
    pub got: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Difference { what, expected, got } = self;
        write!(f, "{what}\n    expected {expected}\n    got      {got}")
    }
}

/// All differences from the result that the case requires.
pub fn differences(case: &Case, observed: &Observed, left: &Left) -> Vec<Difference> {
    let mut found = Vec::new();
    let mut differs = |what: &str, expected: String, got: String| {
        found.push(Difference { what: what.to_owned(), expected, got });
    };
    match (&case.end, &observed.ended) {
        (End::Returns { value, output }, Ended::Returned { value: got, output: bytes }) => {
            if value != got {
                differs("return value", value.to_string(), got.to_string());
            }
            if !matches(output, bytes) {
                differs("output", shown(output), quoted(bytes));
            }
        }
        (End::Fails(code), Ended::Failed { code: got, .. }) if code.as_str() == got => {}
        (End::Returns { value, .. }, ended) => {
            differs("end", format!("returned {value}"), in_words(ended));
        }
        (End::Fails(code), ended) => {
            differs("end", format!("failed: {}", code.as_str()), in_words(ended));
        }
    }
    for (what, wanted, got) in [
        ("standard output", &case.stdout, &observed.stdout),
        ("standard error", &case.stderr, &observed.stderr),
    ] {
        if !matches(wanted, got.as_bytes()) {
            differs(what, shown(wanted), quoted(got.as_bytes()));
        }
    }
    for (wanted, got) in case.after.iter().zip(left) {
        let (what, expected) = match wanted {
            After::Value(key, bytes) => (format!("value {key}"), Some(bytes)),
            After::Missing(key) => (format!("value {key}"), None),
            After::List(key, bytes) => (format!("list {key}"), Some(bytes)),
        };
        if expected != got.as_ref() {
            let text =
                |bytes: Option<&Vec<u8>>| bytes.map_or("nothing".to_owned(), |bytes| quoted(bytes));
            differs(&what, text(expected), text(got.as_ref()));
        }
    }
    found
}

fn matches(wanted: &Text, got: &[u8]) -> bool {
    match wanted {
        Text::Any => true,
        Text::Exactly(bytes) => shortened(bytes) == got,
        Text::Like(pattern) => is_like(pattern, &String::from_utf8_lossy(got)),
    }
}

/// Whether a text matches a pattern, where `*` matches anything.
fn is_like(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let mut last = None;
    for part in parts {
        if let Some(between) = last.replace(part) {
            let Some(at) = rest.find(between) else { return false };
            rest = &rest[at + between.len()..];
        }
    }
    last.map_or(rest.is_empty(), |end| rest.ends_with(end))
}

fn in_words(ended: &Ended) -> String {
    match ended {
        Ended::Returned { value, output } => format!("returned {value} with {}", quoted(output)),
        Ended::Failed { code, message } => format!("failed: {code} ({})", cut(message)),
        Ended::Broken(reason) => format!("broken: {}", cut(reason)),
    }
}

fn shown(text: &Text) -> String {
    match text {
        Text::Any => "anything".to_owned(),
        Text::Exactly(bytes) => quoted(&shortened(bytes)),
        Text::Like(pattern) => format!("like {pattern:?}"),
    }
}

fn quoted(bytes: &[u8]) -> String {
    cut(&format!("\"{}\"", bytes.escape_ascii()))
}

fn cut(text: &str) -> String {
    if text.chars().count() <= MAX_MESSAGE {
        return text.to_owned();
    }
    let start: String = text.chars().take(MAX_MESSAGE).collect();
    format!("{start}…")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        assert!(is_like("a*c", "abbc") && is_like("*b*", "abbc") && is_like("abc", "abc"));
        assert!(is_like("a*b*c", "a-b-b-c"));
        assert!(!is_like("a*c", "abbcd") && !is_like("abc", "abcd") && !is_like("a*x*c", "abc"));
        assert!(!is_like("a*ab", "ab"), "parts do not overlap");
    }
}

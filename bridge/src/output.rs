//! Outputs that are not text, on their way through a cluster that carries text only.
//!
//! Faasm's planner keeps a call's output in a field that has to be UTF-8; one that is not ends the planner's process, with
//! everything it knows. So a function that is to run there and may output other bytes has to encode them: the output is
//! [`ENCODED`], and then base64 (RFC 4648, with padding) of the bytes. Whoever encodes must also encode an output that is
//! text and begins with [`ENCODED`]. A relay in front of such a cluster decodes what begins so.
//!
//! Where nothing encodes, nothing changes: functions that only write text need not know.

/// How an encoded output begins: a control character that no text has, and what follows it, for people who see it in a log.
pub const ENCODED: &str = "\u{2}faasm-output;base64,";

/// The base64 of an encoded output; `None` where the output is what it is.
pub fn encoded(output: &str) -> Option<&str> {
    output.strip_prefix(ENCODED)
}

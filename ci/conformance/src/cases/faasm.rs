//! What cases give in a Faasm cluster where that is something else than everywhere: by what a case does, and by name, each
//! with the reason.

use crate::case::{Case, End, Instead, Limit, Text};
use crate::outcome::Code;

const ORIGINALS: &[&str] = &["faasm-originals"];
const FAASM: &[&str] = &["faasm"];

const NOT_CARRIED: &str = "Faasm carries no environment, and no arguments with blanks";
const REPLACED: &str = "Faasm replaces the output of a call that returns something else than 0";
const LACKING: &str = "WAMR has no such host call";
const NOT_TEXT: &str = "an output that is not UTF-8 ends the planner";
const ONE_TEXT: &str = "Faasm tells all failures alike";

/// Commands of scripts whose host calls WAMR does not have.
const LACKED: &[&str] = &[
    "map",
    "map_at",
    "read_at",
    "write_at",
    "flag",
    "flag_at",
    "push_partial",
    "push_mask",
    "clear",
    "lock_read",
    "lock_write",
    "unlock_read",
    "unlock_write",
    "lock_global",
    "unlock_global",
    "conf",
    "from_file",
];

/// The case with its limits in the columns of a Faasm cluster.
pub(super) fn in_faasm(mut case: Case) -> Case {
    let is_word = |arg: &&str| !arg.is_empty() && !arg.contains(char::is_whitespace);
    if !case.env.is_empty() || !case.args.iter().all(is_word) {
        return case.limited(fails(FAASM, Code::OperationFailed, NOT_CARRIED));
    }
    if let Some(limit) = original(&case) {
        case = case.limited(limit);
    }
    case
}

fn fails(columns: &'static [&'static str], code: Code, reason: &'static str) -> Limit {
    Limit { columns, instead: Instead::Fails(code), leaves: false, reason }
}

/// What Faasm makes of an original.
fn original(case: &Case) -> Option<Limit> {
    let script = String::from_utf8_lossy(&case.input);
    let lacks = script.split_whitespace().any(|word| LACKED.contains(&word));
    if lacks && case.is_script() {
        return Some(fails(ORIGINALS, Code::Trap, LACKING));
    }
    match &case.end {
        End::Returns { value, .. } if *value != 0 => {
            let output = Text::Exactly(format!("Call failed (return value={value})").into_bytes());
            let instead = Instead::Returns { value: *value, output };
            Some(Limit { columns: ORIGINALS, instead, leaves: true, reason: REPLACED })
        }
        End::Returns { output: Text::Exactly(bytes), .. }
            if std::str::from_utf8(bytes).is_err() =>
        {
            Some(fails(ORIGINALS, Code::OutcomeUnknown, NOT_TEXT))
        }
        End::Fails(Code::Trap | Code::MissingFunction | Code::CannotLoad) | End::Returns { .. } => {
            None
        }
        End::Fails(_) => Some(fails(ORIGINALS, Code::Trap, ONE_TEXT)),
    }
}

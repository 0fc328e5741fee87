//! Encodes a call as a Faasm message, or rejects what Faasm cannot express.

use crate::cluster::{Call, ClusterError, Outcome, failure};
use bytes::Bytes;
use faasm_asyncify::faasm::{POINTER_HEADER_BYTES, POINTER_MAGIC};
use faasm_bridge::wire::CallEntry;

/// The fields of a message that differ from the call's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct EncodedCall {
    /// Function pointer; 0 is the main entry.
    pub(super) pointer: i32,
    pub(super) cmdline: String,
}

impl EncodedCall {
    /// Enters a function that is built for Faasm through its dispatcher entry, which calls the pointer and handles its
    /// return value.
    pub(super) fn enter_by(&mut self, entry: u32, input: &mut Bytes) {
        let mut header = Vec::with_capacity(POINTER_HEADER_BYTES + input.len());
        header.extend(POINTER_MAGIC);
        header.extend(self.pointer.to_le_bytes());
        header.extend_from_slice(input);
        *input = header.into();
        self.pointer = entry.cast_signed();
    }
}

/// Why a call is not sent to the cluster.
#[derive(Debug)]
pub(super) enum UnsupportedCall {
    /// The call would fail in the cluster in the same way.
    Failed(Outcome),
    Refused(ClusterError),
}

pub(super) fn encode_call(call: &Call) -> Result<EncodedCall, UnsupportedCall> {
    let refused = |what: String| UnsupportedCall::Refused(ClusterError::Refused(what));
    let bad = |why: String| UnsupportedCall::Failed(Outcome::failed(failure::BAD_ENTRY, why));
    if let Some((name, _)) = call.env.first() {
        return Err(refused(format!(
            "Faasm does not pass an environment to functions, but this call sets `{name}`: remove it, or pass it in the input"
        )));
    }
    let pointer = match call.entry {
        CallEntry::Main | CallEntry::Index(0) => 0,
        CallEntry::Index(index) => {
            return Err(refused(format!(
                "Faasm assigns the indices of a batch itself, so a call cannot have index {index}: pass it in the input"
            )));
        }
        // For a planner, 0 means the main entry.
        CallEntry::Pointer(0) => return Err(bad("function pointer 0 is null".to_owned())),
        CallEntry::Pointer(index) => i32::try_from(index)
            .map_err(|_| bad(format!("function pointer {index} lies outside every table")))?,
    };
    // Faasm splits the command line at blanks.
    let is_one_word = |arg: &String| !arg.is_empty() && !arg.contains(char::is_whitespace);
    if let Some(arg) = call.args.iter().find(|arg| !is_one_word(arg)) {
        let shown: String = arg.chars().take(40).collect();
        return Err(refused(format!(
            "Faasm's command line is one string of arguments separated by blanks, so it cannot contain `{shown}`: remove the argument, or pass it in the input"
        )));
    }
    Ok(EncodedCall { pointer, cmdline: call.args.join(" ") })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(change: impl FnOnce(&mut Call)) -> Result<EncodedCall, UnsupportedCall> {
        let mut call = Call::new("ada", "f", Vec::new());
        change(&mut call);
        encode_call(&call)
    }

    #[test]
    fn pointers_and_arguments_are_carried() {
        let carried = with(|call| {
            call.entry = CallEntry::Pointer(7);
            call.args = vec!["--a".into(), "b=ü".into()];
        });
        assert_eq!(carried.unwrap(), EncodedCall { pointer: 7, cmdline: "--a b=ü".into() });
        let plain = EncodedCall { pointer: 0, cmdline: String::new() };
        assert_eq!(with(|_| ()).unwrap(), plain);
        assert_eq!(with(|call| call.entry = CallEntry::Index(0)).unwrap(), plain);
    }

    #[test]
    fn a_function_built_for_faasm_is_entered_by_its_own_pointer() {
        let mut carried = EncodedCall { pointer: 7, cmdline: String::new() };
        let mut input = Bytes::from_static(b"input");
        carried.enter_by(3, &mut input);
        assert_eq!(carried.pointer, 3);
        assert_eq!(input, b"\x02faasmp;\x07\0\0\0input"[..]);
    }

    #[test]
    fn a_null_pointer_does_not_become_the_main_entry() {
        for index in [0, 1 << 31, u32::MAX] {
            let not = with(|call| call.entry = CallEntry::Pointer(index)).unwrap_err();
            let UnsupportedCall::Failed(Outcome::Failed { code, .. }) = not else {
                panic!("{not:?}")
            };
            assert_eq!(code, failure::BAD_ENTRY);
        }
    }

    #[test]
    fn what_cannot_be_carried_is_refused_by_name() {
        type Change = fn(&mut Call);
        let cases: [(Change, &str); 4] = [
            (|call| call.env = vec![("HOME".into(), "/".into())], "`HOME`"),
            (|call| call.entry = CallEntry::Index(3), "index 3"),
            (|call| call.args = vec!["a b".into()], "`a b`"),
            (|call| call.args = vec!["a".into(), String::new()], "``"),
        ];
        for (change, why) in cases {
            let not = with(change).unwrap_err();
            let UnsupportedCall::Refused(error) = not else { panic!("{not:?}") };
            assert!(error.to_string().contains(why), "{error}");
        }
    }
}

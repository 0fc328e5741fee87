//! Decodes the outcome of a call from the planner's result. Faasm reports failures as texts.

use super::message::Ended;
use crate::cluster::{Outcome, failure};
use faasm_bridge::faasm::Output;
use faasm_bridge::guest::CallResult;

/// Output of a call whose function cannot be loaded, for example because it was not uploaded.
const CANNOT_LOAD: &str = "Error trying to claim executor";

/// The outcome of a call. The text of a trap contains the call's id, which is random and secret, so a function cannot
/// forge a trap.
pub(super) fn outcome(ended: &Ended<'_>) -> Outcome {
    let output = &*ended.output_data;
    if ended.return_value == 1 {
        let thrown = format!("Task {} threw exception. What: ", ended.id);
        if let Some(what) = output.strip_prefix(&thrown) {
            // Some workers' engines report it themselves.
            let what = what.trim_start_matches("trap: ");
            return Outcome::failed(failure::TRAP, format!("trap: {what}"));
        }
        if output.trim() == CANNOT_LOAD {
            let message = format!(
                "the cluster cannot load function {}/{}: upload it with faasm-asyncify upload; if it was uploaded, the workers' logs have the reason",
                ended.user, ended.function
            );
            return Outcome::failed(failure::MISSING_FUNCTION, message);
        }
    }
    let (return_value, output) = match Output::read(output) {
        Output::Plain(text) => (ended.return_value, text.as_bytes().to_vec()),
        Output::Bytes(bytes) => (ended.return_value, bytes),
        Output::Result { value, output } => (value, output),
        Output::Fault { code, message } => return Outcome::failed(code, message),
    };
    Outcome::Returned(CallResult { return_value, output })
}

#[cfg(test)]
mod tests {
    use super::*;
    use faasm_bridge::faasm::{BASE64, BYTES, FAULT, RESULT};

    fn of(return_value: i32, output: &str) -> Outcome {
        let (user, function) = ("ada".into(), "f".into());
        outcome(&Ended { id: 1071, user, function, return_value, output_data: output.into() })
    }

    fn returned(return_value: i32, output: &[u8]) -> Outcome {
        Outcome::Returned(CallResult { return_value, output: output.to_vec() })
    }

    #[test]
    fn failures_are_known_by_their_texts() {
        let trap = Outcome::failed(failure::TRAP, "trap: unreachable");
        assert_eq!(of(1, "Task 1071 threw exception. What: unreachable"), trap);
        let Outcome::Failed { code, message } = of(1, "Error trying to claim executor") else {
            panic!("it failed")
        };
        assert_eq!(code, failure::MISSING_FUNCTION);
        assert!(message.contains("ada/f") && message.contains("upload"), "{message}");
        // The return value counts: Faasm replaced the output with this text.
        let text = "Call failed (return value=7)";
        assert_eq!(of(7, text), returned(7, text.as_bytes()));
        assert_eq!(of(-3, ""), returned(-3, b""));
    }

    #[test]
    fn what_a_function_says_is_no_failure() {
        for (value, text) in [
            (0, "Error trying to claim executor"),
            (0, "Task 1071 threw exception. What: no"),
            (1, "Task 1070 threw exception. What: another one"),
            (1, "Task 1071 is done"),
        ] {
            assert_eq!(of(value, text), returned(value, text.as_bytes()));
        }
    }

    #[test]
    fn an_encoded_output_is_decoded() {
        assert_eq!(of(0, &format!("{BYTES}AP+A")), returned(0, &[0, 255, 128]));
        assert_eq!(of(5, BYTES), returned(5, b""));
        assert_eq!(of(0, &format!("{RESULT}122{BASE64}AP+A")), returned(122, &[0, 255, 128]));
        let fault = Outcome::failed("state", "key `k` has 3 bytes");
        assert_eq!(of(0, &format!("{FAULT}state;key `k` has 3 bytes")), fault);
        let broken = format!("{BYTES}not base64");
        assert_eq!(of(0, &broken), returned(0, broken.as_bytes()));
    }
}

//! `POST /`: one JSON message that calls a function or polls a call, in the format of Faasm's endpoint of 2020.
//!
//! ```text
//! {"user": "demo", "function": "hello", "input_data": "Ada"}                  200, the output; 500 and the reason if it failed
//! {"user": "demo", "function": "hello", "cmdline": "-v 3"}                    the same with a command line
//! {"user": "demo", "function": "hello", "index": 3, "async": true}            200, the call's id
//! {"user": "demo", "function": "hello", "status": true, "id": 7}              200, `RUNNING`, `SUCCESS: …` or `FAILED: …`
//! ```
//!
//! The text of a failure is Faasm's if the function returned another value than 0: `Call failed (return value=N)`, its
//! output in the lines after it. Otherwise it is `Call failed (CODE): REASON`, with a code of
//! [`crate::cluster::failure`] or of [`faasm_bridge::guest::Fault::code`].
//!
//! If the relay has tokens, the request needs one as `Authorization: Bearer`. For old pages, and for `curl`: each call
//! is a separate request, input and output are text in the message, and a repeated request calls again. Sessions have
//! none of these limits.

use super::answer::{charged, streamed};
use super::body::{self, Bound};
use super::calls::Ended;
use super::{Answer, HttpContext, Refusal, access, plain};
use crate::auth::Operation;
use crate::budget::{Charge, Kind};
use crate::cluster::{Call, ClusterError, Outcome, failure};
use crate::session::Exceeds;
use faasm_bridge::explain::with_link;
use faasm_bridge::guest::CallResult;
use faasm_bridge::wire::{self, CallEntry, is_valid_name};
use hyper::body::Incoming;
use hyper::{Request, StatusCode};
use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use tracing::Instrument;

/// Maximum size of a message, bytes.
const MAX_MESSAGE_BYTES: usize = 16 * 1024 * 1024;

const TEXT: &str = "text/plain; charset=utf-8";

/// A message. Other fields are ignored.
#[derive(Debug, Deserialize)]
pub(crate) struct Message {
    user: String,
    function: String,
    #[serde(default, deserialize_with = "whole")]
    index: u32,
    #[serde(default)]
    input_data: String,
    /// The command line after `argv[0]` as Faasm has it: one text, arguments separated by blanks.
    #[serde(default)]
    cmdline: String,
    /// Further arguments, one by one: these may contain blanks.
    #[serde(default, deserialize_with = "arguments")]
    args: Vec<String>,
    #[serde(default, deserialize_with = "variables")]
    env: BTreeMap<String, String>,
    #[serde(default, rename = "async")]
    is_async: bool,
    #[serde(default, rename = "status")]
    asks_status: bool,
    #[serde(default, deserialize_with = "whole_or_none")]
    id: Option<u32>,
}

/// Maximum number of arguments, and of variables: each needs more memory here than in the message.
const MAX_WORDS: usize = 16 * 1024;

fn arguments<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    struct Arguments;
    impl<'de> Visitor<'de> for Arguments {
        type Value = Vec<String>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a sequence of arguments")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<String>, A::Error> {
            let mut arguments = Vec::new();
            while let Some(argument) = list.next_element()? {
                if arguments.len() == MAX_WORDS {
                    return Err(A::Error::custom(format!("more than {MAX_WORDS} arguments")));
                }
                arguments.push(argument);
            }
            Ok(arguments)
        }
    }
    deserializer.deserialize_seq(Arguments)
}

fn variables<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, String>, D::Error> {
    struct Variables;
    impl<'de> Visitor<'de> for Variables {
        type Value = BTreeMap<String, String>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a map of variables")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut variables = BTreeMap::new();
            while let Some((name, value)) = map.next_entry()? {
                if variables.len() == MAX_WORDS {
                    return Err(A::Error::custom(format!("more than {MAX_WORDS} variables")));
                }
                variables.insert(name, value);
            }
            Ok(variables)
        }
    }
    deserializer.deserialize_map(Variables)
}

/// A whole number in any JSON notation: `7.0` equals `7`.
fn whole<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    let number = serde_json::Number::deserialize(deserializer)?;
    let whole = number.as_f64().filter(|number| number.fract() == 0.0 && *number >= 0.0);
    // Every whole number below 2^32 is exact as a float.
    let fits = whole.filter(|number| *number <= f64::from(u32::MAX));
    let most = u32::MAX;
    fits.map(|number| number as u32)
        .ok_or_else(|| D::Error::custom(format!("{number} is no whole number from 0 to {most}")))
}

fn whole_or_none<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    #[derive(Deserialize)]
    struct Whole(#[serde(deserialize_with = "whole")] u32);
    Ok(Option::<Whole>::deserialize(deserializer)?.map(|Whole(number)| number))
}

/// Answers a message.
pub(super) async fn answer(
    context: &Arc<HttpContext>,
    request: Request<Incoming>,
) -> Result<Answer, Refusal> {
    let bound = Bound { what: "a message", bytes: MAX_MESSAGE_BYTES };
    let headers = request.headers().clone();
    let admission = &context.sessions.admission;
    // Charged to no user before the body is read, because it names the user.
    let budget = &context.config.budget;
    let account = match access::grant(admission, &headers)?.user() {
        Some(user) => budget.user(user),
        None => budget.anybody(),
    };
    let body = body::receive(request, bound, &context.config.limits, &account).await?;
    let message = read(&body.bytes).map_err(bad)?;
    access::check(
        admission,
        &headers,
        Some(&message.user),
        Operation::Request(&message.request()),
    )?;
    if message.asks_status {
        return status(context, &message);
    }
    let input = message.input_data.len();
    admission.may_call(&message.user, input).map_err(|exceeds| match exceeds {
        Exceeds::Input(why) => Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, why),
        Exceeds::Rate(why) => Refusal::new(StatusCode::TOO_MANY_REQUESTS, why),
    })?;
    // From here on the message is charged to the user.
    let mut charge = body.charge.to(&budget.user(&message.user))?;
    charge.set_anyway(body.bytes.len() as u64);
    drop(body.bytes);
    if message.is_async {
        return start(context, message, charge);
    }
    let account = charge.account().clone();
    let (succeeded, output) = perform(context, message, charge).await?;
    let status = if succeeded { StatusCode::OK } else { StatusCode::INTERNAL_SERVER_ERROR };
    let charge = account.charge(Kind::Answer, output.capacity())?;
    Ok(streamed(status, TEXT, charged(output, charge)))
}

/// A message whose names are valid.
pub(crate) fn read(json: &[u8]) -> Result<Message, String> {
    let message: Message = serde_json::from_slice(json).map_err(|error| {
        format!("the body is a JSON message with `user` and `function`: {error}")
    })?;
    if !is_valid_name(&message.user) || !is_valid_name(&message.function) {
        let what =
            "names of users and functions have A-Z a-z 0-9 _ - and ., and do not start with a dot";
        return Err(what.to_owned());
    }
    let is_name = |name: &String| !name.is_empty() && !name.contains(['=', '\0']);
    if let Some(name) = message.env.keys().find(|name| !is_name(name)) {
        let shown: String = name.chars().take(40).collect();
        return Err(format!("`{shown}` is not a valid name of an environment variable"));
    }
    if message.strings().any(|text| text.contains('\0')) {
        return Err("arguments and the environment cannot contain NUL".to_owned());
    }
    match message.request().problem(&[]) {
        Some(problem) => Err(problem),
        None => Ok(message),
    }
}

fn bad(what: impl Into<String>) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, what)
}

impl Message {
    fn entry(&self) -> CallEntry {
        match self.index {
            0 => CallEntry::Main,
            index => CallEntry::Index(index),
        }
    }

    fn strings(&self) -> impl Iterator<Item = &String> {
        [&self.cmdline].into_iter().chain(&self.args).chain(self.env.values())
    }

    fn args(&self) -> Vec<String> {
        let words = self.cmdline.split_whitespace().map(str::to_owned);
        words.chain(self.args.iter().cloned()).collect()
    }

    fn env(&self) -> Vec<(String, String)> {
        self.env.iter().map(|(name, value)| (name.clone(), value.clone())).collect()
    }

    /// The call, as a session's request.
    fn request(&self) -> wire::Request {
        let (function, entry) = (self.function.clone(), self.entry());
        wire::Request::Call { function, entry, args: self.args(), env: self.env() }
    }
}

/// Performs a call; the charge for the message is released when it has ended.
async fn perform(
    context: &HttpContext,
    message: Message,
    _charge: Charge,
) -> Result<Ended, Refusal> {
    let _running = context.sessions.run().ok_or_else(|| {
        Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "the relay stops; try again later")
    })?;
    let _room = context.sessions.admission.acquire_permit(&message.user).await;
    let (entry, args, env) = (message.entry(), message.args(), message.env());
    let input = message.input_data.into_bytes();
    let call = Call { entry, args, env, ..Call::new(message.user, message.function, input) };
    let outcome = context.app.cluster.call(call).await.map_err(|error| {
        let status = match error {
            ClusterError::Refused(why) => return bad(why),
            ClusterError::OverBudget(over) => return over.into(),
            ClusterError::UserFull { .. } => StatusCode::TOO_MANY_REQUESTS,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        };
        tracing::error!(%error, "call by message");
        let code = error.code();
        Refusal::new(status, with_link(error, code.as_str()))
    })?;
    let most = context.config.limits.output_bytes;
    Ok(match outcome {
        Outcome::Returned(CallResult { output, .. }) if output.len() > most => {
            let (code, bytes) = (failure::TOO_LARGE, output.len());
            let what = "the call ran, and its output";
            let text = format!(
                "Call failed ({code}): {what} of {bytes} bytes is not sent; this relay sends at most {most}"
            );
            (false, with_link(text, code).into_bytes())
        }
        Outcome::Returned(CallResult { return_value: 0, output }) => (true, output),
        Outcome::Returned(CallResult { return_value, output }) => {
            (false, returned(return_value, output))
        }
        Outcome::Failed { code, message } => {
            (false, with_link(format!("Call failed ({code}): {message}"), code).into_bytes())
        }
    })
}

/// The text for a function that returned another value than 0; Faasm itself returns it in place of the output.
fn returned(value: i32, output: Vec<u8>) -> Vec<u8> {
    let text = format!("Call failed (return value={value})").into_bytes();
    match output {
        output if output.is_empty() || output == text => text,
        output => [text, output].join(&b'\n'),
    }
}

/// Starts an asynchronous call.
fn start(context: &Arc<HttpContext>, message: Message, charge: Charge) -> Result<Answer, Refusal> {
    let id = context.calls.add(&message.user, &message.function)?;
    let (context, user) = (Arc::clone(context), message.user.clone());
    let going_on = async move {
        let ended = perform(&context, message, charge).await;
        let ended = ended.unwrap_or_else(|refusal| (false, refusal.message.into_bytes()));
        context.calls.end(&user, id, ended);
    };
    tokio::spawn(going_on.in_current_span());
    Ok(plain(StatusCode::OK, TEXT, id.to_string()))
}

fn status(context: &HttpContext, message: &Message) -> Result<Answer, Refusal> {
    let id = message.id.ok_or_else(|| bad("a message with `status` needs the call's `id`"))?;
    let text = context.calls.status(id, &message.user, &message.function).ok_or_else(|| {
        let what = format!("no call {id} of {}/{}", message.user, message.function);
        Refusal::new(StatusCode::NOT_FOUND, what)
    })?;
    Ok(streamed(StatusCode::OK, TEXT, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_of_arguments_and_variables_are_bounded() {
        let args = |count| {
            let json = serde_json::json!({ "user": "u", "function": "f", "args": vec![""; count] });
            read(json.to_string().as_bytes())
        };
        assert!(args(100).is_ok());
        let refused = args(MAX_WORDS + 1).unwrap_err();
        assert!(refused.contains("more than 16384 arguments"), "{refused}");
        let env: BTreeMap<String, &str> =
            (0..=MAX_WORDS).map(|number| (number.to_string(), "")).collect();
        let json = serde_json::json!({ "user": "u", "function": "f", "env": env });
        let refused = read(json.to_string().as_bytes()).unwrap_err();
        assert!(refused.contains("more than 16384 variables"), "{refused}");
    }
}

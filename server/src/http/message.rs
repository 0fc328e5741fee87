//! `POST /`: one JSON message that calls a function or asks after a call, as clients of Faasm's endpoint of 2020 send it.
//!
//! ```text
//! {"user": "demo", "function": "hello", "input_data": "Ada"}                  200, the output; 500 where it failed, and why
//! {"user": "demo", "function": "hello", "cmdline": "-v 3"}                    the same with a command line
//! {"user": "demo", "function": "hello", "index": 3, "async": true}            200, the call's id
//! {"user": "demo", "function": "hello", "status": true, "id": 7}              200, `RUNNING`, `SUCCESS: …` or `FAILED: …`
//! ```
//!
//! The text of a failure is Faasm's for a function that returned another value than 0, `Call failed (return value=N)`, its output
//! in the lines after it; else `Call failed (CODE): REASON`, with a code of [`crate::cluster::failure`] or of
//! [`faasm_bridge::guest::Fault::code`].
//!
//! With a token as `Authorization: Bearer`, where the relay wants one. For old pages, and for `curl`: each call is a request
//! of its own, input and output are text in the message, and what is asked for twice is done twice. Sessions do better.

use super::body::{self, Bound};
use super::{Answer, Refusal, Site, access, plain};
use crate::auth::Operation;
use crate::cluster::{Call, ClusterError, Outcome};
use crate::session::Exceeds;
use faasm_bridge::guest::CallResult;
use faasm_bridge::wire::{self, CallEntry, is_valid_name};
use hyper::body::Incoming;
use hyper::{Request, StatusCode};
use serde::de::Error;
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tracing::Instrument;

/// Longest message, bytes.
const MAX_MESSAGE_BYTES: usize = 16 * 1024 * 1024;

/// Most calls whose end nobody has asked for; the oldest that have ended are forgotten first.
const MAX_CALLS: usize = 1024;

const TEXT: &str = "text/plain; charset=utf-8";

/// A message. What else clients put into it is ignored.
#[derive(Debug, Deserialize)]
pub(crate) struct Message {
    user: String,
    function: String,
    #[serde(default, deserialize_with = "whole")]
    index: u32,
    #[serde(default)]
    input_data: String,
    /// The command line after `argv[0]` as Faasm has it: one text, with blanks between the arguments.
    #[serde(default)]
    cmdline: String,
    /// More of it, argument by argument: these can have blanks in them.
    #[serde(default)]
    args: Vec<String>,
    #[serde(default)]
    env: BTreeMap<String, String>,
    #[serde(default, rename = "async")]
    is_async: bool,
    #[serde(default, rename = "status")]
    asks_status: bool,
    #[serde(default, deserialize_with = "whole_or_none")]
    id: Option<u32>,
}

/// A whole number in whichever way JSON writes it: to JSON `7.0` is the same as `7`.
fn whole<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    let number = serde_json::Number::deserialize(deserializer)?;
    let whole = number.as_f64().filter(|number| number.fract() == 0.0 && *number >= 0.0);
    // Every number below 2^32 is exact as a float.
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

/// Calls that were not waited for.
#[derive(Debug, Default)]
pub(super) struct Calls {
    by_id: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    last_id: u32,
    calls: BTreeMap<u32, Entry>,
}

#[derive(Debug)]
struct Entry {
    user: String,
    function: String,
    /// None while it runs.
    ended: Option<Ended>,
}

/// Whether it succeeded, and its output or the reason.
type Ended = (bool, Vec<u8>);

/// Answers a message.
pub(super) async fn answer(
    site: &Arc<Site>,
    request: Request<Incoming>,
) -> Result<Answer, Refusal> {
    let bound = Bound { what: "a message", bytes: MAX_MESSAGE_BYTES };
    let headers = request.headers().clone();
    let message = body::receive(request, bound, &site.config.limits).await?;
    let message = read(&message).map_err(bad)?;
    let gate = &site.sessions.gate;
    access::check(gate, &headers, Some(&message.user), Operation::Request(&message.request()))?;
    if message.asks_status {
        return status(site, &message);
    }
    let input = message.input_data.len();
    gate.may_call(&message.user, input).map_err(|exceeds| match exceeds {
        Exceeds::Input(why) => Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, why),
        Exceeds::Rate(why) => Refusal::new(StatusCode::TOO_MANY_REQUESTS, why),
    })?;
    if message.is_async {
        return start(site, message);
    }
    let (succeeded, output) = perform(site, message).await?;
    let status = if succeeded { StatusCode::OK } else { StatusCode::INTERNAL_SERVER_ERROR };
    Ok(plain(status, TEXT, output))
}

/// A message whose names can be names.
pub(crate) fn read(json: &[u8]) -> Result<Message, String> {
    let message: Message = serde_json::from_slice(json).map_err(|error| {
        format!("the body is a JSON message with `user` and `function`: {error}")
    })?;
    if !is_valid_name(&message.user) || !is_valid_name(&message.function) {
        let what =
            "names of users and functions have A-Z a-z 0-9 _ - and ., and do not begin with a dot";
        return Err(what.to_owned());
    }
    let is_name = |name: &String| !name.is_empty() && !name.contains(['=', '\0']);
    if let Some(name) = message.env.keys().find(|name| !is_name(name)) {
        let shown: String = name.chars().take(40).collect();
        return Err(format!("`{shown}` cannot name a variable of the environment"));
    }
    if message.strings().any(|text| text.contains('\0')) {
        return Err("arguments and the environment cannot have NUL in them".to_owned());
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

    /// The call as a session would ask for it.
    fn request(&self) -> wire::Request {
        let (function, entry) = (self.function.clone(), self.entry());
        wire::Request::Call { function, entry, args: self.args(), env: self.env() }
    }
}

async fn perform(site: &Site, message: Message) -> Result<Ended, Refusal> {
    let _running = site.sessions.run().ok_or_else(|| {
        Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "the relay stops; try again later")
    })?;
    let _room = site.sessions.gate.room(&message.user).await;
    let (entry, args, env) = (message.entry(), message.args(), message.env());
    let input = message.input_data.into_bytes();
    let call = Call { entry, args, env, ..Call::new(message.user, message.function, input) };
    let outcome = site.app.cluster.call(call).await.map_err(|error| {
        if let ClusterError::Refused(why) = error {
            return bad(why);
        }
        tracing::error!(%error, "call by message");
        Refusal::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
    })?;
    Ok(match outcome {
        Outcome::Returned(CallResult { return_value: 0, output }) => (true, output),
        Outcome::Returned(CallResult { return_value, output }) => {
            (false, returned(return_value, output))
        }
        Outcome::Failed { code, message } => {
            (false, format!("Call failed ({code}): {message}").into_bytes())
        }
    })
}

/// What is said of a function that returned another value than 0; Faasm itself says it in place of the output.
fn returned(value: i32, output: Vec<u8>) -> Vec<u8> {
    let text = format!("Call failed (return value={value})").into_bytes();
    match output {
        output if output.is_empty() || output == text => text,
        output => [text, output].join(&b'\n'),
    }
}

/// Starts a call that goes on by itself.
fn start(site: &Arc<Site>, message: Message) -> Result<Answer, Refusal> {
    let id = site.calls.add(&message).ok_or_else(|| {
        let what = format!("{MAX_CALLS} calls run that nobody waits for; try again later");
        Refusal::new(StatusCode::SERVICE_UNAVAILABLE, what)
    })?;
    let site = Arc::clone(site);
    let going_on = async move {
        let ended = perform(&site, message).await;
        site.calls.end(id, ended.unwrap_or_else(|refusal| (false, refusal.message.into_bytes())));
    };
    tokio::spawn(going_on.in_current_span());
    Ok(plain(StatusCode::OK, TEXT, id.to_string()))
}

fn status(site: &Site, message: &Message) -> Result<Answer, Refusal> {
    let id =
        message.id.ok_or_else(|| bad("a message that asks for a status has the call's `id`"))?;
    let text = site.calls.status(id, message).ok_or_else(|| {
        let what = format!("no call {id} of {}/{}", message.user, message.function);
        Refusal::new(StatusCode::NOT_FOUND, what)
    })?;
    Ok(plain(StatusCode::OK, TEXT, text))
}

impl Calls {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.by_id.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new call's id, unless too many run.
    fn add(&self, message: &Message) -> Option<u32> {
        let mut table = self.table();
        if table.calls.len() >= MAX_CALLS {
            let ended = table.calls.iter().find(|(_, call)| call.ended.is_some());
            let oldest = *ended?.0;
            table.calls.remove(&oldest);
        }
        table.last_id = table.last_id.wrapping_add(1);
        let id = table.last_id;
        let (user, function) = (message.user.clone(), message.function.clone());
        table.calls.insert(id, Entry { user, function, ended: None });
        Some(id)
    }

    fn end(&self, id: u32, ended: Ended) {
        if let Some(call) = self.table().calls.get_mut(&id) {
            call.ended = Some(ended);
        }
    }

    /// How a call is doing, in Faasm's words.
    fn status(&self, id: u32, message: &Message) -> Option<Vec<u8>> {
        let table = self.table();
        let call = table.calls.get(&id)?;
        if (&call.user, &call.function) != (&message.user, &message.function) {
            return None;
        }
        let (word, output) = match &call.ended {
            None => return Some(b"RUNNING".to_vec()),
            Some((true, output)) => ("SUCCESS: ", output),
            Some((false, reason)) => ("FAILED: ", reason),
        };
        Some([word.as_bytes(), output].concat())
    }
}

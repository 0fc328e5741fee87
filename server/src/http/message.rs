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

use super::answer::{charged, streamed};
use super::body::{self, Bound};
use super::{Answer, Refusal, Site, access, plain};
use crate::auth::Operation;
use crate::budget::{Budget, Charge, Frees, Kind, OverBudget};
use crate::cluster::{Call, ClusterError, Outcome, failure};
use crate::session::Exceeds;
use bytes::Bytes;
use faasm_bridge::guest::CallResult;
use faasm_bridge::wire::{self, CallEntry, is_valid_name};
use hyper::body::Incoming;
use hyper::{Request, StatusCode};
use serde::de::Error;
use serde::{Deserialize, Deserializer};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};
use tracing::Instrument;

/// Longest message, bytes.
const MAX_MESSAGE_BYTES: usize = 16 * 1024 * 1024;

/// Most calls of one user that were not waited for; the oldest that have ended are forgotten first.
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

/// Calls that were not waited for. What came of one is kept for a while, unless its user makes the relay hold so much that it is in
/// the way; users are not in each other's.
#[derive(Debug)]
pub(super) struct Calls {
    kept: Duration,
    budget: Budget,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    last_id: u32,
    by_user: HashMap<String, BTreeMap<u32, Entry>>,
}

#[derive(Debug)]
struct Entry {
    function: String,
    charge: Charge,
    /// When, and how; none while it runs.
    ended: Option<(Instant, Ended)>,
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
    let gate = &site.sessions.gate;
    // Before anything of the body is read: whose it is shows only when it is here.
    let budget = &site.config.budget;
    let account = match access::grant(gate, &headers)?.user() {
        Some(user) => budget.user(user),
        None => budget.anybody(),
    };
    let body = body::receive(request, bound, &site.config.limits, &account).await?;
    let message = read(&body.bytes).map_err(bad)?;
    access::check(gate, &headers, Some(&message.user), Operation::Request(&message.request()))?;
    if message.asks_status {
        return status(site, &message);
    }
    let input = message.input_data.len();
    gate.may_call(&message.user, input).map_err(|exceeds| match exceeds {
        Exceeds::Input(why) => Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, why),
        Exceeds::Rate(why) => Refusal::new(StatusCode::TOO_MANY_REQUESTS, why),
    })?;
    // From here on the message is the user's.
    let mut charge = body.charge.to(&budget.user(&message.user))?;
    charge.set_anyway(body.bytes.len() as u64);
    drop(body.bytes);
    if message.is_async {
        return start(site, message, charge);
    }
    let account = charge.account().clone();
    let (succeeded, output) = perform(site, message, charge).await?;
    let status = if succeeded { StatusCode::OK } else { StatusCode::INTERNAL_SERVER_ERROR };
    let charge = account.charge(Kind::Answer, output.capacity())?;
    Ok(streamed(status, TEXT, charged(output, charge)))
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

/// Performs a call; what the message is charged for is given back when it has ended.
async fn perform(site: &Site, message: Message, _charge: Charge) -> Result<Ended, Refusal> {
    let _running = site.sessions.run().ok_or_else(|| {
        Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "the relay stops; try again later")
    })?;
    let _room = site.sessions.gate.room(&message.user).await;
    let (entry, args, env) = (message.entry(), message.args(), message.env());
    let input = message.input_data.into_bytes();
    let call = Call { entry, args, env, ..Call::new(message.user, message.function, input) };
    let outcome = site.app.cluster.call(call).await.map_err(|error| {
        let status = match error {
            ClusterError::Refused(why) => return bad(why),
            ClusterError::OverBudget(over) => return over.into(),
            ClusterError::UserFull { .. } => StatusCode::TOO_MANY_REQUESTS,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        };
        tracing::error!(%error, "call by message");
        Refusal::new(status, error.to_string())
    })?;
    let most = site.config.limits.output_bytes;
    Ok(match outcome {
        Outcome::Returned(CallResult { output, .. }) if output.len() > most => {
            let (code, bytes) = (failure::TOO_LARGE, output.len());
            let what = "the call ran, and its output";
            let text = format!(
                "Call failed ({code}): {what} of {bytes} bytes is not sent; this relay sends at most {most}"
            );
            (false, text.into_bytes())
        }
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
fn start(site: &Arc<Site>, message: Message, charge: Charge) -> Result<Answer, Refusal> {
    let id = site.calls.add(&message)?;
    let (site, user) = (Arc::clone(site), message.user.clone());
    let going_on = async move {
        let ended = perform(&site, message, charge).await;
        let ended = ended.unwrap_or_else(|refusal| (false, refusal.message.into_bytes()));
        site.calls.end(&user, id, ended);
    };
    tokio::spawn(going_on.in_current_span());
    Ok(plain(StatusCode::OK, TEXT, id.to_string()))
}

fn status(site: &Site, message: &Message) -> Result<Answer, Refusal> {
    let id =
        message.id.ok_or_else(|| bad("a message that asks for a status has the call's `id`"))?;
    let text = site.calls.status(id, message)?.ok_or_else(|| {
        let what = format!("no call {id} of {}/{}", message.user, message.function);
        Refusal::new(StatusCode::NOT_FOUND, what)
    })?;
    Ok(streamed(StatusCode::OK, TEXT, text))
}

/// What a call takes up besides its output.
const ENTRY_BYTES: usize = 512;

impl Calls {
    pub(super) fn new(kept: Duration, budget: &Budget) -> Arc<Self> {
        let calls = Arc::new(Self { kept, budget: budget.clone(), table: Mutex::default() });
        let frees: Arc<dyn Frees> = Arc::clone(&calls) as _;
        budget.ask(Arc::downgrade(&frees));
        calls
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new call's id.
    ///
    /// # Errors
    /// When too many of the user run, or there is no memory to keep what comes of it.
    fn add(&self, message: &Message) -> Result<u32, Refusal> {
        let charge = self.budget.user(&message.user).charge(Kind::Answer, ENTRY_BYTES)?;
        let mut table = self.table();
        table.forget_old(Instant::now(), self.kept);
        let Table { last_id, by_user } = &mut *table;
        let theirs = by_user.entry(message.user.clone()).or_default();
        if theirs.len() >= MAX_CALLS {
            let ended = theirs.iter().find(|(_, call)| call.ended.is_some()).map(|(id, _)| *id);
            let oldest = ended.ok_or_else(|| {
                let what = format!(
                    "{MAX_CALLS} calls of this user run that nobody waits for; try again later"
                );
                Refusal::new(StatusCode::TOO_MANY_REQUESTS, what)
            })?;
            theirs.remove(&oldest);
        }
        *last_id = last_id.wrapping_add(1);
        let function = message.function.clone();
        theirs.insert(*last_id, Entry { function, charge, ended: None });
        Ok(*last_id)
    }

    fn end(&self, user: &str, id: u32, (succeeded, output): Ended) {
        // Before the table is locked, of which results may have to make room.
        let charge = self.budget.user(user).charge(Kind::Answer, output.capacity() + ENTRY_BYTES);
        let (ended, charge) = match charge {
            Ok(charge) => ((succeeded, output), Some(charge)),
            Err(over) => {
                let text = format!("Call failed (over-budget): the call ran, and {over}");
                ((false, text.into_bytes()), None)
            }
        };
        if let Some(call) =
            self.table().by_user.get_mut(user).and_then(|theirs| theirs.get_mut(&id))
        {
            call.ended = Some((Instant::now(), ended));
            if let Some(charge) = charge {
                call.charge = charge;
            }
        }
    }

    /// How a call is doing, in Faasm's words.
    fn status(&self, id: u32, message: &Message) -> Result<Option<Bytes>, OverBudget> {
        let account = self.budget.user(&message.user);
        let mut table = self.table();
        table.forget_old(Instant::now(), self.kept);
        let call = table.by_user.get(&message.user).and_then(|theirs| theirs.get(&id));
        let Some(call) = call.filter(|call| call.function == message.function) else {
            return Ok(None);
        };
        let (word, output) = match &call.ended {
            None => return Ok(Some(Bytes::from_static(b"RUNNING"))),
            Some((_, (true, output))) => ("SUCCESS: ", output),
            Some((_, (false, reason))) => ("FAILED: ", reason),
        };
        let charge = account.charge(Kind::Answer, word.len() + output.len())?;
        Ok(Some(charged([word.as_bytes(), output].concat(), charge)))
    }
}

impl Table {
    fn forget_old(&mut self, now: Instant, kept: Duration) {
        self.retain(|_, ended| now.saturating_duration_since(*ended) < kept);
    }

    /// Forgets what ended and is not to stay.
    fn retain(&mut self, stays: impl Fn(&str, &Instant) -> bool) {
        self.by_user.retain(|user, theirs| {
            let ended = |call: &Entry| call.ended.as_ref().map(|(when, _)| *when);
            theirs.retain(|_, call| ended(call).is_none_or(|when| stays(user, &when)));
            !theirs.is_empty()
        });
    }
}

impl Frees for Calls {
    fn free(&self, user: Option<&str>) {
        // Nobody loses results for what others hold.
        let Some(user) = user else { return };
        let mut table = match self.table.try_lock() {
            Ok(table) => table,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        table.retain(|of, _| of != user);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::Bounds;

    const KEPT: Duration = Duration::from_secs(300);

    fn message(user: &str) -> Message {
        read(format!(r#"{{"user":"{user}","function":"f"}}"#).as_bytes()).unwrap()
    }

    fn status(calls: &Calls, user: &str, id: u32) -> Option<String> {
        let text = calls.status(id, &message(user)).unwrap()?;
        Some(String::from_utf8(text.to_vec()).unwrap())
    }

    #[test]
    fn users_do_not_take_each_others_results() {
        let calls = Calls::new(KEPT, &Budget::new(Bounds::NONE));
        let first = calls.add(&message("ada")).unwrap();
        calls.end("ada", first, (true, b"one".to_vec()));
        let theirs = calls.add(&message("eve")).unwrap();
        calls.end("eve", theirs, (true, b"two".to_vec()));
        for _ in 1..MAX_CALLS {
            calls.add(&message("eve")).unwrap();
        }
        calls.add(&message("eve")).unwrap();
        let refused = calls.add(&message("eve")).unwrap_err();
        assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(status(&calls, "ada", first).as_deref(), Some("SUCCESS: one"));
        assert_eq!(status(&calls, "eve", first), None);
        assert_eq!(status(&calls, "eve", theirs), None, "it made room for one of her own");
    }

    #[test]
    fn results_are_kept_for_a_while_and_make_room_for_what_their_user_does() {
        let budget = Budget::new(Bounds { relay: u64::MAX, user: 2000 });
        let calls = Calls::new(KEPT, &budget);
        let first = calls.add(&message("ada")).unwrap();
        calls.end("ada", first, (true, vec![b'x'; 1000]));
        assert!(status(&calls, "ada", first).is_none() || budget.used() > 1000);
        let charge = budget.user("ada").charge(Kind::Body, 1500).unwrap();
        assert_eq!(status(&calls, "ada", first), None);
        drop(charge);
        let second = calls.add(&message("ada")).unwrap();
        calls.end("ada", second, (true, vec![b'x'; 3000]));
        let text = status(&calls, "ada", second).unwrap();
        assert!(text.starts_with("FAILED: Call failed (over-budget)"), "{text}");
        calls.table().forget_old(Instant::now() + KEPT, KEPT);
        assert_eq!(budget.used(), 0);
    }
}

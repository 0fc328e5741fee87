//! The figures that have targets.

use super::load::Answers;
use super::middle;
use crate::figure::Figure;
use crate::table::Table;
use anyhow::{Context as _, Result};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::collections::BTreeMap;

pub(crate) const ECHO: &str = "echo, tokio-tungstenite";
pub(crate) const ECHO_FAST: &str = "echo, fastwebsockets";
pub(crate) const CALL: &str = "call of an embedded function";

/// Calls per second, relative to messages of the echo.
const CALLS: f64 = 0.4;
/// 99th percentile of calls, relative to the echo's.
const SLOWEST: f64 = 3.0;
/// Memory of an idle session, in KiB.
const IDLE: f64 = 24.0;
/// Throughput of a pull, relative to nginx.
const PULL: f64 = 0.7;
/// Bytes sent for a push of 4 KiB.
const PUSH: f64 = 4096.0 + 256.0;
/// Bytes allocated for each one that is carried.
const ALLOCATED: f64 = 2.2;
/// Microseconds, in the middle.
const START: f64 = 100.0;

/// All columns, with the median of their rounds.
pub(crate) fn answers(found: &BTreeMap<&str, Vec<Answers>>) -> Table {
    let mut table = Table::new(&["", "answers/s", "p50, µs", "p99, µs"]);
    for (name, rounds) in found {
        let quantile = |at| middle(rounds.iter().map(|round| round.quantile(at)));
        table.row([
            (*name).to_owned(),
            format!("{:.0}", middle(rounds.iter().map(Answers::per_second))),
            format!("{:.0}", quantile(0.5)),
            format!("{:.0}", quantile(0.99)),
        ]);
    }
    table
}

pub(crate) fn calls(found: &BTreeMap<&str, Vec<Answers>>) -> Vec<Figure> {
    let ratio = |of: fn(&Answers) -> f64, base: &str| -> f64 {
        let (Some(calls), Some(bases)) = (found.get(CALL), found.get(base)) else {
            return f64::NAN;
        };
        middle(calls.iter().zip(bases).map(|(call, base)| of(call) / of(base)))
    };
    let slowest = |answers: &Answers| answers.quantile(0.99);
    let rate = |base| {
        Figure::ratio(format!("calls in a second, of {base}"), ratio(Answers::per_second, base))
    };
    let p99 =
        |base| Figure::ratio(format!("99th percentile of calls, of {base}"), ratio(slowest, base));
    vec![
        rate(ECHO).at_least(CALLS).note("the middle of the rounds"),
        p99(ECHO).at_most(SLOWEST).note("the middle of the rounds"),
        rate(ECHO_FAST),
        p99(ECHO_FAST),
    ]
}

pub(crate) fn idle(kibibytes: f64, count: usize) -> Figure {
    Figure::new("idle session", kibibytes, "KiB").at_most(IDLE).note(format!("of {count}"))
}

pub(crate) fn pull(ratio: f64) -> Figure {
    Figure::ratio("pull of 64 MiB of state, of a file from nginx, throughput", ratio).at_least(PULL)
}

pub(crate) fn push(bytes: f64) -> Figure {
    Figure::new("push of 4 KiB of 64 MiB, sent", bytes, "bytes").at_most(PUSH)
}

pub(crate) fn allocated(what: &str, store: &str, ratio: f64) -> Figure {
    Figure::ratio(format!("allocated for {what} of 64 MiB, {store}"), ratio).at_most(ALLOCATED)
}

pub(crate) fn warm_start(microseconds: f64) -> Figure {
    Figure::new("warm start, p50", microseconds, "µs").at_most(START).note("of 20 000 calls")
}

/// Median time that the relay adds to a call of a Faasm cluster, in microseconds: a planner does not report the end of
/// a call, and polls are at least a millisecond apart.
const ADDED: f64 = 1500.0;
/// Status requests for a call that does nothing, and for each of many concurrent calls of one run, which share them;
/// and for a single call that takes a second.
const POLLS: f64 = 2.0;
const POLLS_SECOND: f64 = 35.0;

pub(crate) fn added(microseconds: f64) -> Figure {
    let name = "call through the Faasm backend, p50 over the cluster's own";
    Figure::new(name, microseconds, "µs").at_most(ADDED)
}

pub(crate) fn polls(of_nothing: f64, of_a_second: f64, of_each: f64) -> Vec<Figure> {
    let count = |of: &str, value| Figure::new(format!("status requests, {of}"), value, "requests");
    vec![
        count("call that does nothing", of_nothing).at_most(POLLS),
        count("call of a second", of_a_second).at_most(POLLS_SECOND),
        count("each of 50 calls of one run, of a second", of_each).at_most(POLLS),
    ]
}

/// Settings of a relay that allows this many connections and sessions of one user, and any number of calls.
pub(crate) fn room_for(sessions: usize) -> Vec<String> {
    let room = [
        ("limits.connections", sessions),
        ("limits.connections_per_address", sessions),
        ("limits.handshakes_per_address", 0),
        ("limits.sessions", sessions),
        ("limits.sessions_per_user", sessions),
        ("limits.calls_per_second", 0),
    ];
    room.iter().flat_map(|(key, value)| ["--set".to_owned(), format!("{key}={value}")]).collect()
}

/// Lets this process, and those it starts, have so many files open.
pub(crate) fn raise_file_limit(files: u64) -> Result<()> {
    let (_, most) =
        getrlimit(Resource::RLIMIT_NOFILE).context("asking how many files may be open")?;
    let files = files.min(most);
    setrlimit(Resource::RLIMIT_NOFILE, files, most).context("allowing more open files")
}

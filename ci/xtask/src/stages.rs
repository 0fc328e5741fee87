//! Stages of a longer command: each is announced, timed, and listed at the end.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

/// The stages so far, with their times.
pub(crate) struct Stages {
    started: Instant,
    /// Time before this program started, in which cargo built it.
    before: Duration,
    done: Vec<(&'static str, Duration)>,
}

impl Stages {
    pub(crate) fn new() -> Stages {
        let started = Instant::now();
        let before = since_process_start().unwrap_or_default();
        Stages { started, before, done: vec![("starting, with building xtask", before)] }
    }

    /// Runs a stage; adds the stage's name to an error.
    pub(crate) fn run<T>(
        &mut self,
        name: &'static str,
        body: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        eprintln!("\n== {name}");
        let started = Instant::now();
        let result = body().with_context(|| format!("stage `{name}`"))?;
        let took = started.elapsed();
        eprintln!("== {name}: {}", in_words(took));
        self.done.push((name, took));
        Ok(result)
    }

    /// Time since the command started, including the build of this program.
    pub(crate) fn total(&self) -> Duration {
        self.before + self.started.elapsed()
    }

    /// Prints each stage's time and the total.
    pub(crate) fn print(&self) {
        eprintln!();
        for (name, took) in &self.done {
            eprintln!("{:>12}  {name}", in_words(*took));
        }
        eprintln!("{:>12}  in total", in_words(self.total()));
    }

    /// The stages' times as figures without a target.
    pub(crate) fn figures(&self) -> Vec<Value> {
        self.done.iter().map(|(name, took)| figure(name, *took, None, "")).collect()
    }
}

/// A time in the format of the lists of figures.
pub(crate) fn figure(name: &str, took: Duration, target: Option<Duration>, note: &str) -> Value {
    json!({
        "name": name,
        "value": (took.as_secs_f64() * 10.0).round() / 10.0,
        "unit": "s",
        "target": target.map(|target| target.as_secs()),
        "met": target.map(|target| took <= target),
        "note": note,
    })
}

/// Writes a list of figures.
pub(crate) fn write_figures(path: &Path, figures: &[Value]) -> Result<()> {
    let text = format!("{:#}\n", Value::from(figures));
    fs::write(path, text).with_context(|| format!("writing figures to {}", path.display()))
}

/// A time in a form for people.
pub(crate) fn in_words(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    if seconds < 60.0 {
        format!("{seconds:.1} s")
    } else {
        format!("{} min {:02} s", time.as_secs() / 60, time.as_secs() % 60)
    }
}

/// Time since this process started. `cargo run` replaces itself by the program that it runs, so this includes the time
/// in which cargo built it. Only on Linux.
fn since_process_start() -> Option<Duration> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let uptime = fs::read_to_string("/proc/uptime").ok()?;
    process_age(&stat, &uptime)
}

/// The age of a process from its `stat` file and the system's `uptime` file.
fn process_age(stat: &str, uptime: &str) -> Option<Duration> {
    /// The value that Linux reports to programs on every architecture in use.
    const TICKS_PER_SECOND: f64 = 100.0;
    // The second field, in parentheses, may contain blanks; field 22 is the start time.
    let (_, fields) = stat.rsplit_once(") ")?;
    let start: f64 = fields.split(' ').nth(22 - 3)?.parse().ok()?;
    let uptime: f64 = uptime.split(' ').next()?.parse().ok()?;
    Duration::try_from_secs_f64(uptime - start / TICKS_PER_SECOND).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn age_is_uptime_less_start() {
        let stat = "7 (a) b) R 1 7 7 0 -1 4194560 104 0 0 0 0 0 0 0 20 0 1 0 51050 5677056 1 2";
        assert_eq!(process_age(stat, "515.50 980.11\n"), Some(Duration::from_secs(5)));
        assert_eq!(process_age("nonsense", "1.0 1.0"), None);
    }

    #[test]
    fn a_figure_says_whether_its_target_is_met() {
        let minute = Duration::from_secs(60);
        assert_eq!(figure("a", minute, Some(minute), "")["met"], true);
        assert_eq!(figure("a", minute * 2, Some(minute), "")["met"], false);
        assert_eq!(figure("a", minute, None, "")["met"], Value::Null);
    }
}

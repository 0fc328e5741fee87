//! Logs what functions print: one escaped log line per line, and a limited number of bytes per user and minute.

use super::lock;
use faasm_bridge::guest::Stream;
use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Longest part of one write that is logged, bytes.
const MAX_LOGGED_BYTES: usize = 4096;

/// Approximate overhead of a log line besides its text, bytes.
const LINE_BYTES: usize = 128;

/// Most logged bytes of one user's functions, and of all users, within [`WINDOW`].
const MAX_USER_BYTES: usize = 256 * 1024;
const MAX_BYTES: usize = 8 * 1024 * 1024;

const WINDOW: Duration = Duration::from_secs(60);

/// Most users that are counted at a time; output of further users is not logged.
const MAX_USERS: usize = 1024;

/// Bytes logged in the current window.
#[derive(Default)]
pub(super) struct Printed(Mutex<Windows>);

#[derive(Default)]
struct Windows {
    all: Option<Window>,
    users: HashMap<String, Window>,
}

struct Window {
    began: Instant,
    bytes: usize,
    /// Bytes printed but not logged in this window.
    left_out: u64,
}

/// Whether a piece of text is logged.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    /// The text is logged; `left_out` bytes before it were not.
    Logged {
        left_out: u64,
    },
    /// The first text over the limit.
    FirstLeftOut,
    LeftOut,
}

impl Window {
    fn new(now: Instant) -> Self {
        Self { began: now, bytes: 0, left_out: 0 }
    }

    fn is_over(&self, now: Instant) -> bool {
        now.duration_since(self.began) >= WINDOW
    }
}

impl Windows {
    fn take(&mut self, user: &str, bytes: usize, now: Instant) -> Fate {
        let all = self.all.get_or_insert_with(|| Window::new(now));
        if all.is_over(now) {
            *all = Window::new(now);
        }
        if self.users.len() >= MAX_USERS && !self.users.contains_key(user) {
            self.users.retain(|_, window| !window.is_over(now));
            if self.users.len() >= MAX_USERS {
                return Fate::LeftOut;
            }
        }
        let window = self.users.entry(user.to_owned()).or_insert_with(|| Window::new(now));
        let mut left_out = 0;
        if window.is_over(now) {
            left_out = window.left_out;
            *window = Window::new(now);
        }
        if window.bytes + bytes > MAX_USER_BYTES || all.bytes + bytes > MAX_BYTES {
            let is_first = window.left_out == 0;
            window.left_out = (left_out + window.left_out).saturating_add(bytes as u64);
            return if is_first { Fate::FirstLeftOut } else { Fate::LeftOut };
        }
        window.bytes += bytes;
        all.bytes += bytes;
        Fate::Logged { left_out }
    }
}

impl Printed {
    pub(super) fn log(&self, user: &str, function: &str, stream: Stream, bytes: &[u8]) {
        let shown = &bytes[..bytes.len().min(MAX_LOGGED_BYTES)];
        let mut text = String::from_utf8_lossy(shown);
        if shown.len() < bytes.len() {
            text.to_mut().push('…');
        }
        for line in text.split('\n') {
            let line = line.trim_end();
            if line.is_empty() {
                continue;
            }
            let line = escaped(line);
            let fate = lock(&self.0).take(user, line.len() + LINE_BYTES, Instant::now());
            match fate {
                Fate::LeftOut => return,
                Fate::FirstLeftOut => {
                    tracing::warn!(
                        %user, %function,
                        "this user prints more than {MAX_USER_BYTES} bytes, or all users more than {MAX_BYTES}, in {} s: the rest is not logged", WINDOW.as_secs()
                    );
                    return;
                }
                Fate::Logged { left_out: 0 } => {
                    tracing::info!(target: "guest", %user, %function, ?stream, "{line}");
                }
                Fate::Logged { left_out } => {
                    tracing::info!(target: "guest", %user, %function, ?stream, left_out, "{line}");
                }
            }
        }
    }
}

/// Escapes a guest's text: no control characters, line ends or bidirectional overrides remain.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '"' | '\'' | '\t' => escaped.push(char),
            char => escaped.extend(char.escape_debug()),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_user_has_so_many_bytes_in_a_minute_and_all_have_a_bound_too() {
        let mut windows = Windows::default();
        let now = Instant::now();
        assert_eq!(windows.take("ada", MAX_USER_BYTES, now), Fate::Logged { left_out: 0 });
        assert_eq!(windows.take("ada", 2, now), Fate::FirstLeftOut);
        assert_eq!(windows.take("ada", 3, now), Fate::LeftOut);
        assert_eq!(windows.take("bob", 1, now), Fate::Logged { left_out: 0 });
        let later = now + WINDOW;
        assert_eq!(windows.take("ada", 1, later), Fate::Logged { left_out: 5 });
        assert_eq!(windows.take("ada", 1, later), Fate::Logged { left_out: 0 });
        let others = MAX_BYTES / MAX_USER_BYTES;
        for user in 0..others - 1 {
            let fate = windows.take(&user.to_string(), MAX_USER_BYTES, later);
            assert_eq!(fate, Fate::Logged { left_out: 0 });
        }
        assert_eq!(windows.take("eve", MAX_USER_BYTES, later), Fate::FirstLeftOut);
        for user in 0..2 * MAX_USERS {
            windows.take(&format!("user-{user}"), 1, later);
        }
        assert!(windows.users.len() <= MAX_USERS);
    }
}

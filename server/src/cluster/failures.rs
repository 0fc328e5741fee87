//! Logs failed calls, with a rate limit.
//!
//! A function sees a failed call as return value 1 with the reason as output. If it ignores both, only the log explains
//! what went wrong. Guests and pages cannot flood the log: the first failures of a run, or of a user within a minute,
//! are logged, and the rest are counted.

use super::{Call, Cluster, ClusterError, Outcome, Uploaded, Usage};
use faasm_bridge::explain::link;
use faasm_bridge::wire::CallEntry;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use std::collections::HashMap;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Failures that are logged before the rest are only counted.
pub(crate) const MAX_NAMED: u32 = 16;

/// Window in which at most [`MAX_NAMED`] failures of one user are logged.
const WINDOW: Duration = Duration::from_secs(60);

/// Most users whose failures are counted at a time.
const MAX_USERS: usize = 1024;

/// Longest name, and longest reason, in a log line, characters.
const MAX_SHOWN: usize = 500;

/// Escapes and truncates a guest's text for one log line.
pub(crate) fn shown(text: &str) -> String {
    let mut shown: String = text.chars().take(MAX_SHOWN).flat_map(char::escape_debug).collect();
    if text.chars().nth(MAX_SHOWN).is_some() {
        shown.push('…');
    }
    shown
}

/// The callee for messages: a function, and its entry unless that is the main entry.
pub(crate) struct Callee<'a>(pub(crate) &'a str, pub(crate) CallEntry);

impl fmt::Display for Callee<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&shown(self.0))?;
        match self.1 {
            CallEntry::Main => Ok(()),
            CallEntry::Pointer(pointer) => write!(f, " (function pointer {pointer})"),
            CallEntry::Index(index) => write!(f, " (index {index})"),
        }
    }
}

/// Wraps a cluster: logs failed calls, and turns a panic in a call into an error. The inner cluster handles chained
/// calls itself.
pub(crate) struct Named {
    inner: Arc<dyn Cluster>,
    users: Arc<Mutex<Users>>,
}

impl Named {
    pub(crate) fn new(inner: Arc<dyn Cluster>) -> Self {
        Self { inner, users: Arc::default() }
    }
}

impl Cluster for Named {
    fn call(&self, call: Call) -> BoxFuture<'static, Result<Outcome, ClusterError>> {
        let (user, function, entry) = (call.user.clone(), call.function.clone(), call.entry);
        let users = Arc::clone(&self.users);
        let calling = self.inner.call(call);
        Box::pin(async move {
            let ended = AssertUnwindSafe(calling).catch_unwind().await.unwrap_or_else(|_| {
                tracing::error!(%user, function = %Callee(&function, entry), "the relay panicked in a call");
                Err(ClusterError::Unknown("the relay panicked while it ran the call; its log has the cause".to_owned()))
            });
            if let Ok(Outcome::Failed { code, message }) = &ended {
                let mut users = users.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(unnamed) = users.take(&user, Instant::now()) {
                    let (called, reason) = (Callee(&function, entry), shown(message));
                    let see = link(code).unwrap_or_default();
                    tracing::warn!(%user, function = %called, code, reason, unnamed, see, "a call failed");
                }
            }
            ended
        })
    }

    fn upload(
        &self,
        user: String,
        function: String,
        wasm: Vec<u8>,
    ) -> BoxFuture<'static, Result<Uploaded, ClusterError>> {
        self.inner.upload(user, function, wasm)
    }

    fn integrity(
        &self,
        user: String,
        function: String,
    ) -> BoxFuture<'static, Result<Option<String>, ClusterError>> {
        self.inner.integrity(user, function)
    }

    fn usage(&self) -> Option<Usage> {
        self.inner.usage()
    }
}

/// Logged failures of each user in the current window.
#[derive(Default)]
struct Users {
    windows: HashMap<String, Window>,
}

struct Window {
    began: Instant,
    named: u32,
    /// Failures not logged since the last logged one.
    unnamed: u64,
}

impl Users {
    /// Counts a failure. `None` if it is not to be logged, otherwise the number of failures not logged since the last
    /// one.
    fn take(&mut self, user: &str, now: Instant) -> Option<u64> {
        if self.windows.len() >= MAX_USERS && !self.windows.contains_key(user) {
            self.windows.retain(|_, window| now.duration_since(window.began) < WINDOW);
            // With so many failing users in one minute, further ones are not logged.
            if self.windows.len() >= MAX_USERS {
                return None;
            }
        }
        let fresh = Window { began: now, named: 0, unnamed: 0 };
        let window = self.windows.entry(user.to_owned()).or_insert(fresh);
        if now.duration_since(window.began) >= WINDOW {
            (window.began, window.named) = (now, 0);
        }
        if window.named == MAX_NAMED {
            window.unnamed += 1;
            return None;
        }
        window.named += 1;
        Some(std::mem::take(&mut window.unnamed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logged_failures_are_limited_per_user_and_minute() {
        let mut users = Users::default();
        let now = Instant::now();
        for _ in 0..MAX_NAMED {
            assert_eq!(users.take("ada", now), Some(0));
        }
        for _ in 0..5 {
            assert_eq!(users.take("ada", now), None);
        }
        assert_eq!(users.take("eve", now), Some(0), "the limit is per user");
        assert_eq!(users.take("ada", now + WINDOW), Some(5));
        assert_eq!(users.take("ada", now + WINDOW), Some(0));
    }

    #[test]
    fn users_are_bounded() {
        let mut users = Users::default();
        let now = Instant::now();
        for user in 0..MAX_USERS {
            assert_eq!(users.take(&user.to_string(), now), Some(0));
        }
        assert_eq!(users.take("one more", now), None);
        assert_eq!(users.take("one more", now + WINDOW), Some(0));
        assert_eq!(users.windows.len(), 1);
    }

    #[test]
    fn text_of_a_guest_stays_in_one_line() {
        assert_eq!(shown("a\nWARN forged \u{1b}[0m"), "a\\nWARN forged \\u{1b}[0m");
        let long = shown(&"x".repeat(MAX_SHOWN + 1));
        assert_eq!(long.chars().count(), MAX_SHOWN + 1);
        assert!(long.ends_with('…'));
        assert_eq!(Callee("f", CallEntry::Pointer(3)).to_string(), "f (function pointer 3)");
    }
}

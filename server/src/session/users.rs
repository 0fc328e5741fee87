//! Limits shared by all sessions of a user: the rate of calls, and the number of running calls.

use super::lock;
use crate::config::Limits;
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Users remembered besides those with sessions, so that reconnecting does not reset the rate limit.
const MAX_IDLE_USERS: usize = 4096;

/// Recently active users.
#[derive(Debug, Default)]
pub(super) struct Users(Mutex<HashMap<String, Arc<User>>>);

/// One user, across all connections and sessions.
#[derive(Debug)]
pub(super) struct User {
    rate: Option<DefaultDirectRateLimiter>,
    calls: Arc<Semaphore>,
}

impl Users {
    /// The user of this name, which the caller has checked.
    pub(super) fn get(&self, name: &str, limits: &Limits) -> Arc<User> {
        let mut users = lock(&self.0);
        if let Some(user) = users.get(name) {
            return Arc::clone(user);
        }
        if users.len() >= limits.sessions.saturating_add(MAX_IDLE_USERS) {
            users.retain(|_, user| Arc::strong_count(user) > 1);
        }
        let user = Arc::new(User::new(limits));
        users.insert(name.to_owned(), Arc::clone(&user));
        user
    }
}

impl User {
    pub(super) fn new(limits: &Limits) -> Self {
        let per_second = u32::try_from(limits.calls_per_second).unwrap_or(u32::MAX);
        let quota = NonZeroU32::new(per_second).map(Quota::per_second);
        let calls = limits.calls_per_user.min(Semaphore::MAX_PERMITS);
        Self { rate: quota.map(RateLimiter::direct), calls: Arc::new(Semaphore::new(calls)) }
    }

    /// Whether another call may start now; if so, it counts.
    pub(super) fn may_begin(&self) -> bool {
        self.rate.as_ref().is_none_or(|rate| rate.check().is_ok())
    }

    /// Waits for a permit to run another call; the call runs until the permit is dropped.
    pub(super) async fn run(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.calls).acquire_owned().await.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_the_users_and_idle_ones_are_forgotten() {
        let limits = Limits { calls_per_second: 2, sessions: 1, ..Limits::default() };
        let users = Users::default();
        let ada = users.get("ada", &limits);
        assert!(ada.may_begin() && users.get("ada", &limits).may_begin());
        assert!(!users.get("ada", &limits).may_begin());
        assert!(users.get("bob", &limits).may_begin(), "another user");
        for number in 0..3 * MAX_IDLE_USERS {
            users.get(&format!("user-{number}"), &limits);
        }
        assert!(lock(&users.0).len() <= MAX_IDLE_USERS + 1);
        assert!(Arc::ptr_eq(&ada, &users.get("ada", &limits)), "one who is here stays");
    }
}

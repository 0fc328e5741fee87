//! A relay's heartbeats, which show other relays that the calls it accepted may still complete, and the renewals of its
//! sessions' expiry.

use super::journal::on_session;
use super::keys::relay_key;
use super::link::{Question, RedisConnection, Repeat};
use super::{Inner, script};
use crate::store::{SessionKey, StoreError};
use futures_util::{StreamExt, stream};
use redis::Script;
use std::sync::{LazyLock, PoisonError, Weak};
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior, interval, interval_at};

static BEAT: LazyLock<Script> = script!("beat.lua");
static REFRESH: LazyLock<Script> = script!("forgotten.lua", "refresh.lua");

/// Interval between heartbeats.
const BEAT_EVERY: Duration = Duration::from_secs(1);

/// How long after its last heartbeat other relays regard a relay as dead.
const GONE_AFTER: Duration = Duration::from_secs(5);

/// Interval between renewals of the sessions' expiry.
const REFRESH_EVERY: Duration = Duration::from_secs(20);

/// How much longer than the configured time sessions last: covers late renewals and an outage of Redis.
pub(super) const MARGIN: Duration = Duration::from_secs(60);

/// Sessions refreshed concurrently.
const AT_ONCE: usize = 64;

/// The time by the clock of Redis, extrapolated locally from its last answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    milliseconds: u64,
    heard: Instant,
}

impl Clock {
    /// A lower bound of the clock of Redis, unless that clock is set back.
    pub(super) fn now(self) -> u64 {
        self.milliseconds.saturating_add(milliseconds(self.heard.elapsed()))
    }
}

/// Sends one heartbeat.
pub(super) async fn beat(
    link: &RedisConnection,
    relay: &str,
    time_limit: Duration,
) -> Result<Clock, StoreError> {
    let mut invocation = BEAT.key(relay_key(relay));
    invocation.arg(milliseconds(GONE_AFTER));
    let question = Question::Script(invocation);
    let milliseconds: u64 =
        link.ask_for(time_limit, "send a heartbeat", Repeat::Reads, 0, question).await?;
    Ok(Clock { milliseconds, heard: Instant::now() })
}

/// Sends heartbeats while the store exists.
pub(super) async fn keep(store: Weak<Inner>) {
    let mut beats = interval(BEAT_EVERY);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut is_away = false;
    loop {
        beats.tick().await;
        let Some(store) = store.upgrade() else { return };
        let beaten = beat(&store.presence, &store.relay, GONE_AFTER).await;
        match &beaten {
            Ok(_) if is_away => tracing::info!("Redis is reachable again"),
            Err(error) if !is_away => tracing::error!(%error, "Redis is unreachable"),
            _ => {}
        }
        is_away = beaten.is_err();
        if let Ok(clock) = beaten {
            *store.clock.lock().unwrap_or_else(PoisonError::into_inner) = clock;
        }
    }
}

/// Keeps the sessions of this relay from expiring, while the store exists.
pub(super) async fn keep_sessions(store: Weak<Inner>) {
    let mut turns = interval_at(Instant::now() + REFRESH_EVERY, REFRESH_EVERY);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        turns.tick().await;
        let Some(store) = store.upgrade() else { return };
        refresh(&store).await;
    }
}

/// Renews the expiry of every session of this relay; drops those that another relay has acquired.
async fn refresh(store: &Inner) {
    let sessions: Vec<SessionKey> = store.held().keys().copied().collect();
    let lasting = store.lasting();
    let refreshing = stream::iter(sessions).map(|session| async move {
        let mut invocation = on_session(&REFRESH, session);
        invocation.arg(&*store.relay).arg(lasting);
        let question = Question::Script(invocation);
        let refreshed: Result<String, _> =
            store.presence.ask("keep a session", Repeat::Reads, 0, question).await;
        if refreshed.is_ok_and(|refreshed| refreshed == "lost") {
            store.held().remove(&session);
        }
    });
    refreshing.buffer_unordered(AT_ONCE).for_each(|()| async {}).await;
}

pub(super) fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

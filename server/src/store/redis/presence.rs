//! A relay's signs of life, which tell others that calls it accepted are still to be waited for, and those of its sessions,
//! without which they expire.

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

/// Between two signs of life.
const BEAT_EVERY: Duration = Duration::from_secs(1);

/// Without one, until others take a relay for gone.
const GONE_AFTER: Duration = Duration::from_secs(5);

/// Between two times that the expiry of a relay's sessions is put off.
const REFRESH_EVERY: Duration = Duration::from_secs(20);

/// What sessions last longer than they are kept: a relay puts their expiry off that late, and Redis may be away.
pub(super) const MARGIN: Duration = Duration::from_secs(60);

/// Sessions refreshed at once.
const AT_ONCE: usize = 64;

/// The time by the clock of Redis, as it was when Redis said so and as it goes on here.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    milliseconds: u64,
    heard: Instant,
}

impl Clock {
    /// Not later than it is in Redis, as long as that clock is not put back.
    pub(super) fn now(self) -> u64 {
        self.milliseconds.saturating_add(milliseconds(self.heard.elapsed()))
    }
}

/// Gives one sign of life.
pub(super) async fn beat(
    link: &RedisConnection,
    relay: &str,
    time_limit: Duration,
) -> Result<Clock, StoreError> {
    let mut invocation = BEAT.key(relay_key(relay));
    invocation.arg(milliseconds(GONE_AFTER));
    let question = Question::Script(invocation);
    let milliseconds: u64 =
        link.ask_for(time_limit, "give a sign of life", Repeat::Reads, 0, question).await?;
    Ok(Clock { milliseconds, heard: Instant::now() })
}

/// Gives signs of life for as long as the store is there.
pub(super) async fn keep(store: Weak<Inner>) {
    let mut beats = interval(BEAT_EVERY);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut is_away = false;
    loop {
        beats.tick().await;
        let Some(store) = store.upgrade() else { return };
        let beaten = beat(&store.presence, &store.relay, GONE_AFTER).await;
        match &beaten {
            Ok(_) if is_away => tracing::info!("Redis is back"),
            Err(error) if !is_away => tracing::error!(%error, "Redis is away"),
            _ => {}
        }
        is_away = beaten.is_err();
        if let Ok(clock) = beaten {
            *store.clock.lock().unwrap_or_else(PoisonError::into_inner) = clock;
        }
    }
}

/// Keeps the sessions of this relay from expiring, for as long as the store is there.
pub(super) async fn keep_sessions(store: Weak<Inner>) {
    let mut turns = interval_at(Instant::now() + REFRESH_EVERY, REFRESH_EVERY);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        turns.tick().await;
        let Some(store) = store.upgrade() else { return };
        refresh(&store).await;
    }
}

/// Puts off the expiry of every session of this relay; those that are another one's are let go.
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

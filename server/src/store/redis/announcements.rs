//! Notification of writes by other relays to the same Redis: `change.lua` publishes each write on a channel, atomically
//! with it.
//!
//! The relay subscribes only while it has listeners for a value. Messages published while it was not subscribed, or
//! while the connection was broken, are lost; so after each subscription every value counts as written. Clients that
//! write to Redis directly, such as Faasm's workers, publish nothing.

use super::keys::{WRITTEN, user_and_key};
use crate::store::Changes;
use futures_util::StreamExt;
use redis::aio::{PubSubSink, PubSubStream};
use redis::{Client, RedisError, RedisResult};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, timeout};

/// Time limit for an answer of Redis.
const ANSWER: Duration = Duration::from_secs(4);

/// Interval between pings, and between attempts to connect.
const EVERY: Duration = Duration::from_secs(5);

/// Passes messages on to the listeners while the store exists.
pub(super) async fn hear(client: Client, relay: Arc<str>, changes: Weak<Changes>) {
    let mut is_deaf = false;
    loop {
        let Some(mut is_heard) = changes.upgrade().map(|changes| changes.is_heard()) else {
            return;
        };
        if is_heard.wait_for(|is_heard| *is_heard).await.is_err() {
            return;
        }
        let Err(reason) = listen(&client, &relay, &changes, &mut is_heard, &mut is_deaf).await
        else {
            continue;
        };
        if !std::mem::replace(&mut is_deaf, true) {
            tracing::warn!(
                reason,
                "not subscribed to other relays' writes to Redis: pages may keep stale values"
            );
        }
        tokio::time::sleep(EVERY).await;
    }
}

/// Runs until the last listener leaves, or the subscription fails.
async fn listen(
    client: &Client,
    relay: &str,
    changes: &Weak<Changes>,
    is_heard: &mut watch::Receiver<bool>,
    is_deaf: &mut bool,
) -> Result<(), String> {
    let (mut sink, mut stream) = answered(subscribe(client)).await?;
    if std::mem::take(is_deaf) {
        tracing::info!("subscribed to other relays' writes to Redis again");
    }
    let Some(all) = changes.upgrade() else { return Ok(()) };
    all.tell_all();
    drop(all);
    let mut signs = interval(EVERY);
    signs.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            said = stream.next() => {
                let said = said.ok_or("the connection broke")?;
                let said: String = said.get_payload().map_err(|error| error.to_string())?;
                let Some(changes) = changes.upgrade() else { return Ok(()) };
                if let Some((user, key)) = of_others(&said, relay) {
                    changes.tell(user, key, None);
                }
            }
            _ = signs.tick() => answered(ping(&mut sink)).await?,
            () = is_over(is_heard) => return Ok(()),
        }
    }
}

/// Completes when the last listener has left.
async fn is_over(is_heard: &mut watch::Receiver<bool>) {
    // If the store is gone, so are its listeners.
    let _ = is_heard.wait_for(|is_heard| !*is_heard).await;
}

async fn subscribe(client: &Client) -> RedisResult<(PubSubSink, PubSubStream)> {
    let (mut sink, stream) = client.get_async_pubsub().await?.split();
    sink.subscribe(WRITTEN).await?;
    Ok((sink, stream))
}

async fn ping(sink: &mut PubSubSink) -> RedisResult<()> {
    sink.ping::<redis::Value>().await.map(drop)
}

async fn answered<T>(asking: impl Future<Output = Result<T, RedisError>>) -> Result<T, String> {
    let answer = timeout(ANSWER, asking).await;
    let answer = answer.map_err(|_| format!("no answer for {} s", ANSWER.as_secs()))?;
    answer.map_err(|error| error.to_string())
}

/// The value that another relay has written; `None` for this relay's own writes.
fn of_others<'a>(said: &'a str, relay: &str) -> Option<(&'a str, &'a str)> {
    let (writer, state_key) = said.split_at_checked(relay.len())?;
    (writer != relay).then(|| user_and_key(state_key)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relay_ignores_its_own_announcements() {
        assert_eq!(of_others("otherada_k", "thisx"), Some(("ada", "k")));
        assert_eq!(of_others("thisxada_k", "thisx"), None);
        for odd in ["", "other", "otherada", "\u{fc}\u{fc}\u{fc}_k"] {
            assert_eq!(of_others(odd, "thisx"), None, "{odd}");
        }
    }
}

//! Calls that another relay runs for a session that this relay owns now: their results are awaited, and sent to the
//! page as if they had run here.
//!
//! The other relay records each outcome in the journal. Until then, or until that relay is dead, this relay polls the
//! journal, for all calls of a session at once, and less often the longer it takes.

use super::{Session, lock};
use crate::store::SessionLog;
use faasm_bridge::session::{InFlight, RecoveredSession};
use faasm_bridge::wire::RequestId;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::time::Instant;

/// First polling interval; doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(5);

/// Longest polling interval.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// Time limit for a result, after which its outcome is reported as unknown: the other relay is alive, and may have
/// dropped the record because its queue to the journal was full.
const TIME_LIMIT: Duration = Duration::from_secs(24 * 60 * 60);

/// Calls that other relays run.
pub(super) fn ids(recovered: &RecoveredSession) -> Vec<RequestId> {
    let is_elsewhere = |begun: &InFlight| matches!(begun, InFlight::Elsewhere);
    recovered.begun.iter().filter(|(_, begun)| is_elsewhere(begun)).map(|(id, _)| *id).collect()
}

/// Waits for these, as long as somebody has the session.
pub(super) fn watch(session: &Arc<Session>, log: &Arc<dyn SessionLog>, ids: Vec<RequestId>) {
    if !ids.is_empty() {
        tracing::info!(session = %session.shown(), calls = ids.len(), "calls run at another relay");
        tokio::spawn(wait(Arc::downgrade(session), Arc::clone(log), ids));
    }
}

async fn wait(session: Weak<Session>, log: Arc<dyn SessionLog>, mut ids: Vec<RequestId>) {
    let deadline = Instant::now() + TIME_LIMIT;
    let mut pause = FIRST_PAUSE;
    loop {
        let Some(key) = session.upgrade().filter(|session| !session.is_lost()).map(|s| s.key)
        else {
            return;
        };
        let mut decided = match log.decided(key, ids.clone()).await {
            Ok(decided) => decided,
            Err(error) => {
                tracing::warn!(%error, "polling for outcomes of calls at another relay failed and is retried");
                Vec::new()
            }
        };
        if Instant::now() >= deadline {
            decided.extend(ids.iter().map(|id| (*id, InFlight::Unknown)));
        }
        ids.retain(|id| decided.iter().all(|(decided, _)| decided != id));
        let Some(session) = session.upgrade() else { return };
        tell(&session, decided);
        drop(session);
        if ids.is_empty() {
            return;
        }
        tokio::time::sleep(pause).await;
        pause = (2 * pause).min(LONGEST_PAUSE);
    }
}

fn tell(session: &Session, decided: Vec<(RequestId, InFlight)>) {
    let mut live = lock(&session.live);
    for (id, begun) in decided {
        live.machine.resolve(id, begun);
    }
    live.settle();
    live.wake.notify_one();
}

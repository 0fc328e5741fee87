//! Laws that every journal has to satisfy: each journal's tests run them.

use super::{
    Change, Claim, IdempotencyRecord, SessionKey, SessionLog, SessionNotes, StateChanges,
    StateStore, StoreError,
};
use faasm_bridge::session::{InFlight, RecoveredSession};
use faasm_bridge::wire::RequestId;

pub(super) fn mark(session: SessionKey, request: u64) -> IdempotencyRecord {
    let reply = vec![1, request as u8];
    IdempotencyRecord { session, claim: Claim::new(), request: RequestId(request), reply }
}

pub(super) fn append(element: &[u8]) -> Change {
    Change::Append { key: "l".into(), element: element.to_vec() }
}

pub(super) async fn list(store: &impl StateStore, user: &str) -> Vec<u8> {
    store.read_appended(user, "l", u32::MAX).await.unwrap()
}

/// What one relay notes; then [`the_next_relay_finds_it`].
pub(super) async fn a_relay_notes(
    journal: &(impl SessionLog + SessionNotes + StateChanges),
    session: SessionKey,
    user: &str,
) {
    let claim = Claim::new();
    journal.begin(session, user).await.unwrap();
    for call in [1, 2, 3] {
        journal.accept(session, claim, RequestId(call)).await.unwrap();
    }
    journal.finish(session, claim, RequestId(1), b"one".to_vec().into());
    journal.finish(session, claim, RequestId(3), b"three".to_vec().into());
    journal.change(mark(session, 4), user, append(b"a")).await.unwrap();
    journal.change(mark(session, 4), user, append(b"a")).await.unwrap();
    journal.change(mark(session, 5), user, append(b"b")).await.unwrap();
    journal.forget(session, 1..2);
    journal.forget(session, 5..6);
    journal.settle().await;
}

/// `running` is the expected state of a call that was accepted and has not ended.
pub(super) async fn the_next_relay_finds_it(
    store: &(impl SessionLog + SessionNotes + StateChanges + StateStore),
    session: SessionKey,
    (user, other): (&str, &str),
    running: InFlight,
) {
    assert_eq!(list(store, user).await, b"ab", "a change that is marked is not made again");
    assert_eq!(store.take_up(session, other).await.unwrap(), None, "another user");
    let mut recovered = store.take_up(session, user).await.unwrap().unwrap();
    // Acknowledged records may be deleted asynchronously.
    recovered.begun.retain(|(id, _)| id.0 != 5);
    recovered.begun.sort_by_key(|(id, _)| *id);
    let begun = vec![
        (RequestId(2), running),
        (RequestId(3), InFlight::Replied(b"three".to_vec())),
        (RequestId(4), InFlight::Replied(vec![1, 4])),
    ];
    assert_eq!(recovered, RecoveredSession { acked: vec![1..2, 5..6], begun });
    assert!(store.holds(session).await.unwrap());
    store.end_left_over();
    assert!(store.take_up(session, user).await.unwrap().is_some(), "it was taken up");
    store.end(session);
    store.settle().await;
    assert_eq!(store.take_up(session, user).await.unwrap(), None);
    let refused = store.accept(session, Claim::new(), RequestId(6)).await;
    assert!(refused.is_err(), "a call in no session may not start");
}

/// A rejected change leaves no idempotency record, and can be made later.
pub(super) async fn what_is_refused_is_not_marked(
    store: &(impl SessionLog + SessionNotes + StateChanges + StateStore),
    session: SessionKey,
    user: &str,
) {
    store.begin(session, user).await.unwrap();
    store.write(user, "v", 3, vec![]).await.unwrap();
    let write = |size| Change::Write { key: "v".into(), size, chunks: vec![] };
    let refused = store.change(mark(session, 1), user, write(4)).await.unwrap_err();
    assert!(matches!(refused, StoreError::State(_)), "{refused}");
    store.change(mark(session, 1), user, write(3)).await.unwrap();
    let recovered = store.take_up(session, user).await.unwrap().unwrap();
    assert_eq!(recovered.begun, [(RequestId(1), InFlight::Replied(vec![1, 1]))]);
}

/// A request to create a session that arrives after the session's end creates nothing: the session's records are
/// deleted, so a new one would perform its page's requests a second time.
pub(super) async fn a_session_that_ended_does_not_begin_again(
    journal: &(impl SessionLog + SessionNotes),
    session: SessionKey,
    user: &str,
) {
    let (claim, call) = (Claim::new(), RequestId(1));
    journal.begin(session, user).await.unwrap();
    journal.accept(session, claim, call).await.unwrap();
    journal.finish(session, claim, call, b"one".to_vec().into());
    journal.end(session);
    journal.settle().await;
    let begun = journal.begin(session, user).await;
    assert!(matches!(begun, Err(StoreError::SessionLost { .. })), "{begun:?}");
    assert_eq!(journal.take_up(session, user).await.unwrap(), None);
    let accepted = journal.accept(session, claim, call).await;
    assert!(matches!(accepted, Err(StoreError::SessionLost { .. })), "{accepted:?}");
}

//! Concurrent connections for one session, also while it expires: one test for each order of their steps.

use super::*;
use crate::budget::{Bounds, Budget};
use crate::store::{IdempotencyRecord, Stores};
use faasm_bridge::session::{InFlight, RecoveredSession};
use faasm_bridge::wire::{
    Answer, ClientMessage, Hello, Request, VERSIONS, encode, encode_handshake,
};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

/// A session log that answers whose a session is only when the test lets it.
struct Paused {
    inner: Arc<dyn SessionLog>,
    answers: Semaphore,
}

impl SessionLog for Paused {
    fn begin<'a>(&'a self, s: SessionKey, user: &'a str) -> BoxFuture<'a, Result<(), StoreError>> {
        self.inner.begin(s, user)
    }

    fn take_up<'a>(
        &'a self,
        session: SessionKey,
        user: &'a str,
    ) -> BoxFuture<'a, Result<Option<RecoveredSession>, StoreError>> {
        self.inner.take_up(session, user)
    }

    fn holds(&self, session: SessionKey) -> BoxFuture<'_, Result<bool, StoreError>> {
        Box::pin(async move {
            self.answers.acquire().await.unwrap().forget();
            self.inner.holds(session).await
        })
    }

    fn decided(
        &self,
        session: SessionKey,
        requests: Vec<RequestId>,
    ) -> BoxFuture<'_, Result<Vec<(RequestId, InFlight)>, StoreError>> {
        self.inner.decided(session, requests)
    }

    fn accept(
        &self,
        session: SessionKey,
        claim: Claim,
        request: RequestId,
    ) -> BoxFuture<'_, Result<(), StoreError>> {
        self.inner.accept(session, claim, request)
    }

    fn unlock<'a>(
        &'a self,
        mark: IdempotencyRecord,
        user: &'a str,
        key: &'a str,
        run: u64,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        self.inner.unlock(mark, user, key, run)
    }
}

fn sessions() -> (Arc<Sessions>, Arc<Paused>) {
    let Stores { journal, locks, changes, .. } = Stores::in_memory().unwrap();
    let paused = Arc::new(Paused { inner: journal.log, answers: Semaphore::new(0) });
    let journal = Journal { log: Arc::clone(&paused) as _, ..journal };
    let admission = Admission::new(None, Limits::default(), Budget::new(Bounds::NONE));
    let sessions =
        Sessions::new(admission, journal, locks, changes, Metrics::new(None), Duration::MAX);
    (Arc::new(sessions), paused)
}

fn auth(sessions: &Sessions, version: u16) -> SessionAuth {
    let hello = Hello { versions: (1, version), user: "ada".into(), token: None, resume: None };
    sessions.admission.admit(&hello, version).unwrap()
}

fn attach(session: &Arc<Session>, sessions: &Arc<Sessions>, version: u16) -> Option<Attachment> {
    let auth = auth(sessions, version);
    Attachment::attach(Arc::clone(session), Arc::clone(sessions), auth, Timings::default())
}

async fn begun(sessions: &Arc<Sessions>) -> (Arc<Session>, Attachment) {
    let (session, _) = sessions.enter("ada", None).await.unwrap();
    let attachment = attach(&session, sessions, 1).unwrap();
    (session, attachment)
}

fn is_in_the_table(sessions: &Sessions, session: &Arc<Session>) -> bool {
    sessions.places.lock().has(session)
}

#[tokio::test]
async fn a_session_that_expires_during_a_resumption_is_not_attached() {
    let (sessions, journal) = sessions();
    let (session, first) = begun(&sessions).await;
    first.leave(true);
    let hello =
        Hello { versions: (1, 1), user: "ada".into(), token: None, resume: Some(session.id) };
    let frame = encode_handshake(&hello).unwrap();
    let timings = Timings::default();
    let mut entering = Box::pin(handshake::enter(&frame, &sessions, &timings));
    assert!((&mut entering).now_or_never().is_none(), "the journal has not answered");
    sessions.places.forget(&mut sessions.places.lock(), &session);
    assert!(!is_in_the_table(&sessions, &session));
    journal.answers.add_permits(1);
    let (answer, attachment) = entering.await;
    let attachment = attachment.unwrap();
    assert!(
        is_in_the_table(&sessions, &attachment.session),
        "an attached session must be in the table"
    );
    let id = attachment.session.id;
    assert_eq!(answer, Answer::Welcome { version: 1, session: id, resumed: false });
    assert_ne!(id, session.id);
}

#[tokio::test]
async fn a_session_lost_or_evicted_before_attachment_is_looked_up_again() {
    let (sessions, _) = sessions();
    let (session, _) = sessions.enter("ada", None).await.unwrap();
    sessions.places.make_room(&mut sessions.places.lock(), None).unwrap();
    assert!(attach(&session, &sessions, 1).is_none());
    let (session, _) = sessions.enter("ada", None).await.unwrap();
    session.lose();
    assert!(attach(&session, &sessions, 1).is_none());
}

#[tokio::test]
async fn an_attachment_has_the_rights_and_version_of_its_own_handshake() {
    let (sessions, journal) = sessions();
    journal.answers.add_permits(2);
    let (session, _first) = begun(&sessions).await;
    let newest = *VERSIONS.end();
    let (one, _) = sessions.enter("ada", Some(session.id)).await.unwrap();
    let (other, _) = sessions.enter("ada", Some(session.id)).await.unwrap();
    // Both have looked the session up; the one whose lookup was last attaches first.
    let quick = attach(&other, &sessions, newest).unwrap();
    assert_eq!(lock(&session.live).auth.version(), newest);
    let slow = attach(&one, &sessions, 1).unwrap();
    assert!(quick.live().is_none() && slow.live().is_some());
    assert_eq!(lock(&session.live).auth.version(), 1);
    // Frames of version 1 are sent one per message, without a length.
    let live = lock(&session.live);
    let frames: Vec<_> = live.machine.frames_of(&[9, 9, 9]).collect();
    assert_eq!(frames, [Ok(&[9, 9, 9][..])]);
}

fn asks(session: &Session, id: RequestId) {
    let request = Request::ReadFile { path: "f".into() };
    let frame = encode(&ClientMessage::Request { id, request }, &[]).unwrap();
    assert!(lock(&session.live).machine.receive(&frame).unwrap().is_some());
}

#[tokio::test]
async fn an_unstarted_request_of_a_lost_session_does_not_affect_its_successor() {
    let (sessions, _) = sessions();
    let (lost, attachment) = begun(&sessions).await;
    let id = RequestId(1);
    asks(&lost, id);
    attachment.leave(true);
    lost.lose();
    sessions.places.forget(&mut sessions.places.lock(), &lost);
    let again = sessions.session(ServerSession::new(lost.id, "ada".into()));
    asks(&again, id);
    sessions.place(again).unwrap();
    lost.unstart(id);
    let room = sessions.places.make_room(&mut sessions.places.lock(), None);
    assert_eq!((room, sessions.count()), (None, (1, 0)), "it awaits something");
}

#[tokio::test]
async fn detached_sessions_have_no_tasks_of_their_own() {
    let (sessions, _) = sessions();
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    for _ in 0..100 {
        drop(begun(&sessions).await);
    }
    assert_eq!(sessions.count(), (100, 0));
    assert!(tasks() <= before, "{} tasks, {before} before", tasks());
}

#[tokio::test]
async fn ended_sessions_leave_no_task() {
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let (sessions, _) = sessions();
    let before = tasks();
    drop(sessions);
    while tasks() >= before {
        tokio::task::yield_now().await;
    }
}

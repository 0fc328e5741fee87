//! Flushes of fake executors.

use super::*;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tokio::sync::Semaphore;

/// Executors that are busy, or fail, as configured.
struct Fake {
    is_idle: AtomicBool,
    asked: AtomicUsize,
    flushed: AtomicUsize,
    answers: Mutex<Vec<Result<Flushed, String>>>,
    /// Each flush takes a permit.
    may_flush: Semaphore,
}

impl Fake {
    fn new(is_idle: bool, may_flush: usize) -> Arc<Self> {
        Arc::new(Self {
            is_idle: AtomicBool::new(is_idle),
            asked: AtomicUsize::new(0),
            flushed: AtomicUsize::new(0),
            answers: Mutex::default(),
            may_flush: Semaphore::new(may_flush),
        })
    }

    fn flushed(&self) -> usize {
        self.flushed.load(Ordering::SeqCst)
    }
}

impl Executors for Fake {
    async fn is_idle(&self) -> Result<bool, String> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        Ok(self.is_idle.load(Ordering::SeqCst))
    }

    async fn flush(&self) -> Result<Flushed, String> {
        self.may_flush.acquire().await.unwrap().forget();
        self.flushed.fetch_add(1, Ordering::SeqCst);
        lock(&self.answers).pop().unwrap_or(Ok(Flushed::Done))
    }
}

/// Longer than any test.
const LONG: Duration = Duration::from_secs(60);

fn quick() -> Times {
    let millisecond = Duration::from_millis(1);
    Times {
        hold: 5 * millisecond,
        flush: LONG,
        question: millisecond,
        pause: millisecond,
        longest_pause: 2 * millisecond,
    }
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(LONG, future).await.expect("in time")
}

async fn until(mut is: impl FnMut() -> bool) {
    within(async {
        while !is() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_flush_waits_for_calls_and_holds_new_ones_back_until_it_is_done() {
    let (flush, fake) =
        (Flush::new(Times { hold: LONG, ..quick() }, FaasmCounts::default()), Fake::new(true, 0));
    let pass = flush.enter().await;
    let done = flush.request(&fake);
    until(|| lock(&flush.state).is_held).await;
    assert_eq!(fake.asked.load(Ordering::SeqCst), 0, "a call of this relay runs");
    let mut next = Box::pin(flush.enter());
    assert!(timeout(Duration::ZERO, &mut next).await.is_err(), "the call is held back");
    drop(pass);
    until(|| fake.asked.load(Ordering::SeqCst) > 0).await;
    assert!(
        timeout(Duration::ZERO, &mut next).await.is_err(),
        "the call is held back during the flush, too"
    );
    fake.may_flush.add_permits(1);
    assert_eq!(within(done).await, Ok(()));
    drop(within(next).await);
    assert_eq!((fake.flushed(), lock(&flush.state).running), (1, 0));
}

#[tokio::test]
async fn a_busy_cluster_is_not_stalled_and_is_flushed_when_it_is_idle() {
    let (flush, fake) = (Flush::new(quick(), FaasmCounts::default()), Fake::new(false, 9));
    let done = flush.request(&fake);
    // Calls start between failed attempts.
    for _ in 0..3 {
        let asked = fake.asked.load(Ordering::SeqCst);
        until(|| fake.asked.load(Ordering::SeqCst) > asked).await;
        drop(within(flush.enter()).await);
    }
    assert_eq!(fake.flushed(), 0);
    fake.is_idle.store(true, Ordering::SeqCst);
    assert_eq!(within(done).await, Ok(()));
    assert_eq!(fake.flushed(), 1);
}

#[tokio::test]
async fn requests_coalesce_and_one_during_a_flush_gets_another() {
    let (flush, fake) = (Flush::new(quick(), FaasmCounts::default()), Fake::new(true, 0));
    let pass = flush.enter().await;
    let early = [flush.request(&fake), flush.request(&fake), flush.request(&fake)];
    drop(pass);
    until(|| fake.asked.load(Ordering::SeqCst) > 0).await;
    let late = flush.request(&fake);
    fake.may_flush.add_permits(1);
    for done in early {
        assert_eq!(within(done).await, Ok(()));
    }
    assert_eq!(fake.flushed(), 1);
    fake.may_flush.add_permits(1);
    assert_eq!(within(late).await, Ok(()));
    assert_eq!(fake.flushed(), 2);
    until(|| !lock(&flush.state).is_worked_on).await;
}

#[tokio::test]
async fn a_flush_that_fails_is_tried_again() {
    let (flush, fake) = (Flush::new(quick(), FaasmCounts::default()), Fake::new(true, 9));
    lock(&fake.answers).extend([Err("down".to_owned()), Err("down".to_owned())]);
    assert_eq!(within(flush.request(&fake)).await, Ok(()));
    assert_eq!(fake.flushed(), 3);
}

#[tokio::test]
async fn the_older_version_is_told_until_the_flush_after_it() {
    let (flush, fake) = (Flush::new(quick(), FaasmCounts::default()), Fake::new(true, 0));
    flush.note_replaced("ada", "f", "one".into());
    let first = flush.request(&fake);
    until(|| fake.asked.load(Ordering::SeqCst) > 0).await;
    // During the first flush.
    flush.note_replaced("ada", "f", "two".into());
    flush.note_replaced("ada", "g", "other".into());
    flush.note_replaced("ada", "f", "three".into());
    let second = flush.request(&fake);
    assert_eq!(flush.stale("ada", "f").as_deref(), Some("one"));
    fake.may_flush.add_permits(1);
    assert_eq!(within(first).await, Ok(()));
    assert_eq!(flush.stale("ada", "f").as_deref(), Some("two"), "replaced again meanwhile");
    assert_eq!(flush.stale("ada", "g").as_deref(), Some("other"));
    assert_eq!(flush.stale("eve", "g"), None);
    fake.may_flush.add_permits(1);
    assert_eq!(within(second).await, Ok(()));
    assert_eq!((flush.stale("ada", "f"), flush.stale("ada", "g")), (None, None));
}

#[tokio::test]
async fn a_planner_that_does_not_know_flushes_is_asked_once() {
    let (flush, fake) = (Flush::new(quick(), FaasmCounts::default()), Fake::new(true, 9));
    lock(&fake.answers).push(Ok(Flushed::NotKnown));
    flush.note_replaced("ada", "f", "one".into());
    let why = within(flush.request(&fake)).await.unwrap_err();
    assert!(why.contains("restart the workers"), "{why}");
    assert_eq!(flush.stale("ada", "f"), None, "the relay cannot know when workers are restarted");
    assert!(within(flush.request(&fake)).await.is_err());
    assert_eq!(fake.flushed(), 1);
    drop(within(flush.enter()).await);
}

#[tokio::test]
async fn a_flush_is_done_though_nobody_waits_for_it() {
    let (flush, fake) = (Flush::new(quick(), FaasmCounts::default()), Fake::new(true, 9));
    drop(flush.request(&fake));
    until(|| fake.flushed() == 1).await;
}

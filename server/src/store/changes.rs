//! Who is told that a state value was written: a list of listeners, and how an app writes, which tells them.
//!
//! [`Stores::for_app`](super::Stores::for_app) puts [`Writing`] around everything that writes values, so that nobody who writes
//! has to think of the listeners, or of how long a value may be. What other relays write over the same Redis is told by `redis/announcements.rs`.

use super::{Change, Claim, IdempotencyRecord, StateChanges, StateRead, StateStore, StoreError};
use faasm_bridge::state::Chunk;
use futures_util::future::BoxFuture;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use tokio::sync::watch;

/// One who listens.
pub(crate) trait Hears: Send + Sync {
    /// Another one has written a value.
    fn changed(&self, key: &str);
}

struct Listener {
    claim: Claim,
    hears: Weak<dyn Hears>,
}

/// Listeners, by user and key. As many as sessions watch values, which the protocol bounds for each of them.
#[derive(Default)]
pub struct Changes {
    by_user: Mutex<HashMap<String, HashMap<String, Vec<Listener>>>>,
    /// Whether there are any.
    is_heard: watch::Sender<bool>,
}

impl std::fmt::Debug for Changes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Changes").finish_non_exhaustive()
    }
}

impl Changes {
    fn by_user(&self) -> MutexGuard<'_, HashMap<String, HashMap<String, Vec<Listener>>>> {
        self.by_user.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Subscribes a session to a value until it [leaves](Self::leave).
    pub(crate) fn listen(&self, user: &str, key: &str, claim: Claim, hears: Weak<dyn Hears>) {
        let mut by_user = self.by_user();
        let by_key = by_user.entry(user.to_owned()).or_default();
        by_key.entry(key.to_owned()).or_default().push(Listener { claim, hears });
        self.is_heard.send_if_modified(|is_heard| !std::mem::replace(is_heard, true));
    }

    pub(crate) fn leave(&self, user: &str, key: &str, claim: Claim) {
        let mut by_user = self.by_user();
        let Some(by_key) = by_user.get_mut(user) else { return };
        if let Some(listeners) = by_key.get_mut(key) {
            listeners.retain(|listener| listener.claim != claim);
            if listeners.is_empty() {
                by_key.remove(key);
            }
        }
        if by_key.is_empty() {
            by_user.remove(user);
        }
        let is_heard = !by_user.is_empty();
        self.is_heard
            .send_if_modified(|was_heard| std::mem::replace(was_heard, is_heard) != is_heard);
    }

    /// Whether anybody listens, now and from now on.
    pub(super) fn is_heard(&self) -> watch::Receiver<bool> {
        self.is_heard.subscribe()
    }

    /// Tells that a value was written; not the session that has written it.
    pub(crate) fn tell(&self, user: &str, key: &str, writer: Option<Claim>) {
        if !*self.is_heard.borrow() {
            return;
        }
        let listeners: Vec<_> = {
            let by_user = self.by_user();
            let listeners = by_user.get(user).and_then(|by_key| by_key.get(key));
            let others = |listener: &&Listener| Some(listener.claim) != writer;
            listeners.into_iter().flatten().filter(others).map(|one| one.hears.clone()).collect()
        };
        // A session takes its own lock, under which it listens and leaves.
        listeners.iter().filter_map(Weak::upgrade).for_each(|listener| listener.changed(key));
    }

    /// Notifies the listeners of every value that it may have been written.
    pub(super) fn tell_all(&self) {
        let keys: Vec<(String, String)> = {
            let by_user = self.by_user();
            let of = |(user, by_key): (&String, &HashMap<String, _>)| {
                by_key.keys().map(|key| (user.clone(), key.clone())).collect::<Vec<_>>()
            };
            by_user.iter().flat_map(of).collect()
        };
        keys.iter().for_each(|(user, key)| self.tell(user, key, None));
    }

    /// Writes, and then notifies. A write that has started completes even if its future is dropped, and must still be
    /// followed by the notification, so both run in a task.
    async fn tell_after(
        self: Arc<Self>,
        (user, key): (String, String),
        writer: Option<Claim>,
        writing: impl Future<Output = Result<(), StoreError>> + Send + 'static,
    ) -> Result<(), StoreError> {
        let is_heard = *self.is_heard.borrow();
        let telling = async move {
            let written = writing.await;
            if let Ok(()) | Err(StoreError::Uncertain { .. }) = &written {
                self.tell(&user, &key, writer);
            }
            written
        };
        if !is_heard {
            return telling.await;
        }
        tokio::spawn(telling).await.unwrap_or_else(|error| {
            Err(StoreError::Uncertain { action: "write state", reason: error.to_string() })
        })
    }
}

/// How an app writes values: they have no more bytes than its limit, and who listens is told.
pub(super) struct Writing<S: ?Sized> {
    inner: Arc<S>,
    changes: Arc<Changes>,
    /// Bytes.
    longest: u64,
}

impl<S: ?Sized> Writing<S> {
    pub(super) fn new(inner: Arc<S>, changes: Arc<Changes>, longest: u64) -> Self {
        Self { inner, changes, longest }
    }

    /// Writes a value with what `write` gives, where it is not too long.
    fn write<'a, F>(
        &'a self,
        (user, key, size): (&str, &str, u64),
        writer: Option<Claim>,
        write: impl FnOnce(Arc<S>, String, String) -> F,
    ) -> StoreFuture<'a, ()>
    where
        F: Future<Output = Result<(), StoreError>> + Send + 'static,
    {
        let (user, key, longest) = (user.to_owned(), key.to_owned(), self.longest);
        if size > longest {
            return Box::pin(
                async move { Err(StoreError::ValueTooLong { key, size, most: longest }) },
            );
        }
        let writing = write(Arc::clone(&self.inner), user.clone(), key.clone());
        Box::pin(Arc::clone(&self.changes).tell_after((user, key), writer, writing))
    }
}

type StoreFuture<'a, T> = BoxFuture<'a, Result<T, StoreError>>;

impl StateStore for Writing<dyn StateStore> {
    fn read<'a>(
        &'a self,
        user: &'a str,
        key: &'a str,
        offset: u64,
        length: Option<u64>,
    ) -> StoreFuture<'a, StateRead> {
        self.inner.read(user, key, offset, length)
    }

    fn write<'a>(
        &'a self,
        user: &'a str,
        key: &'a str,
        size: u64,
        chunks: Vec<Chunk>,
    ) -> StoreFuture<'a, ()> {
        self.write((user, key, size), None, |inner, user, key| async move {
            inner.write(&user, &key, size, chunks).await
        })
    }

    fn append<'a>(&'a self, user: &'a str, key: &'a str, element: Vec<u8>) -> StoreFuture<'a, ()> {
        self.inner.append(user, key, element)
    }

    fn read_appended<'a>(
        &'a self,
        user: &'a str,
        key: &'a str,
        count: u32,
    ) -> StoreFuture<'a, Vec<u8>> {
        self.inner.read_appended(user, key, count)
    }

    fn appended_bytes<'a>(
        &'a self,
        user: &'a str,
        key: &'a str,
        count: u32,
    ) -> BoxFuture<'a, Result<u64, StoreError>> {
        self.inner.appended_bytes(user, key, count)
    }

    fn clear_appended<'a>(&'a self, user: &'a str, key: &'a str) -> StoreFuture<'a, ()> {
        self.inner.clear_appended(user, key)
    }
}

impl StateChanges for Writing<dyn StateChanges> {
    fn change<'a>(
        &'a self,
        mark: IdempotencyRecord,
        user: &'a str,
        change: Change,
    ) -> StoreFuture<'a, ()> {
        let Change::Write { key, size, .. } = &change else {
            return self.inner.change(mark, user, change);
        };
        let (key, size, claim) = (key.clone(), *size, mark.claim);
        self.write((user, &key, size), Some(claim), |inner, user, _| async move {
            inner.change(mark, &user, change).await
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Stores;

    #[derive(Default)]
    struct Heard(Mutex<Vec<String>>);

    impl Heard {
        fn take(&self) -> Vec<String> {
            std::mem::take(&mut self.0.lock().unwrap())
        }
    }

    impl Hears for Heard {
        fn changed(&self, key: &str) {
            self.0.lock().unwrap().push(key.to_owned());
        }
    }

    fn listen(changes: &Changes, user: &str, key: &str) -> (Arc<Heard>, Claim) {
        let (heard, claim) = (Arc::new(Heard::default()), Claim::new());
        let hears: Weak<dyn Hears> = Arc::downgrade(&heard) as _;
        changes.listen(user, key, claim, hears);
        (heard, claim)
    }

    #[test]
    fn those_who_listen_are_told_and_nothing_is_left_of_those_who_left() {
        let changes = Changes::default();
        let (ada, claim) = listen(&changes, "ada", "k");
        let (other, other_claim) = listen(&changes, "ada", "k");
        let (bob, bob_claim) = listen(&changes, "bob", "k");
        changes.tell("ada", "k", Some(claim));
        changes.tell("ada", "l", None);
        assert_eq!((ada.take(), other.take(), bob.take()), (vec![], vec!["k".into()], vec![]));
        changes.tell_all();
        assert_eq!((ada.take().len(), other.take().len(), bob.take().len()), (1, 1, 1));
        changes.leave("ada", "k", claim);
        changes.leave("ada", "k", claim);
        changes.tell("ada", "k", None);
        assert_eq!((ada.take().len(), other.take().len()), (0, 1));
        changes.leave("ada", "k", other_claim);
        drop(bob);
        changes.tell("bob", "k", None);
        assert!(*changes.is_heard().borrow());
        changes.leave("bob", "k", bob_claim);
        assert!(changes.by_user().is_empty() && !*changes.is_heard().borrow());
    }

    #[tokio::test]
    async fn a_write_that_nobody_waits_for_is_told_once_it_is_made() {
        let stores = Stores::in_memory().unwrap().for_app();
        let (heard, _) = listen(&stores.changes, "ada", "k");
        let chunks = vec![Chunk { offset: 0, bytes: b"v".to_vec().into() }];
        let writing = stores.state.write("ada", "k", 1, chunks);
        // InFlight, and given up.
        assert!(futures_util::FutureExt::now_or_never(writing).is_none());
        while heard.take() != ["k"] {
            tokio::task::yield_now().await;
        }
        let read = stores.state.read("ada", "k", 0, None).await.unwrap();
        assert_eq!(read.chunk.bytes, b"v"[..]);
        let refused = stores.state.write("ada", "k", 2, vec![]).await;
        assert!(refused.is_err() && heard.take().is_empty(), "nothing was written");
    }
}

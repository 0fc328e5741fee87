//! Places for builds: checking and compiling a function takes the time that the function's author chooses.
//!
//! A user builds one function at a time, and so many are built at once by all; the others wait their turn, in order, a
//! bounded number of them. Builds run on threads and in processes of their own, since whoever fills the threads on which
//! the store reads stops everybody. Whoever gives up waiting leaves the queue.

use super::ClusterError;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// Bounds of building functions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildConfig {
    /// Most builds at once.
    pub at_once: usize,
    /// Most builds that wait, of all users; of one user an eighth of it, but one at least.
    pub queue: usize,
    /// Longest any one build may take, where it has a process of its own.
    pub time: Duration,
    /// Most address space of that process, bytes.
    pub memory: usize,
    /// The `faasm-relay` binary, which builds in a process of its own ([`super::child`]); without it functions are built in
    /// this process, and a build ends by itself only.
    pub program: Option<PathBuf>,
}

impl Default for BuildConfig {
    fn default() -> Self {
        Self {
            at_once: 2,
            queue: 64,
            time: Duration::from_secs(120),
            memory: 2 << 30,
            program: None,
        }
    }
}

/// Who builds, and who waits to.
#[derive(Debug)]
pub(crate) struct Builds {
    places: Arc<Semaphore>,
    queue: usize,
    users: Arc<Mutex<Users>>,
}

#[derive(Debug, Default)]
struct Users {
    /// Of all users.
    waiting: usize,
    by_name: HashMap<String, User>,
}

#[derive(Debug)]
struct User {
    /// One permit.
    turn: Arc<Semaphore>,
    waiting: usize,
    /// Builds that wait or run.
    present: usize,
}

impl Builds {
    pub(crate) fn new(config: &BuildConfig) -> Self {
        Self {
            places: Arc::new(Semaphore::new(config.at_once.clamp(1, Semaphore::MAX_PERMITS))),
            queue: config.queue,
            users: Arc::default(),
        }
    }

    /// Waits for a place.
    ///
    /// # Errors
    /// [`ClusterError::Busy`] where the queue is full.
    pub(crate) async fn place(&self, user: &str) -> Result<Arc<Place>, ClusterError> {
        let (presence, turn) = self.enter(user)?;
        let closed = |_| ClusterError::Internal("builds have ended".to_owned());
        let turn = turn.acquire_owned().await.map_err(closed)?;
        let place = Arc::clone(&self.places).acquire_owned().await.map_err(closed)?;
        presence.begins();
        Ok(Arc::new(Place { _place: place, _turn: turn, _presence: presence }))
    }

    fn enter(&self, name: &str) -> Result<(Presence, Arc<Semaphore>), ClusterError> {
        let mut users = lock(&self.users);
        let of_user = (self.queue / 8).max(1);
        let waiting = users.by_name.get(name).map_or(0, |user| user.waiting);
        if waiting >= of_user || users.waiting >= self.queue.max(1) {
            let whose =
                if waiting >= of_user { format!("of user {name}") } else { "here".to_owned() };
            let most = if waiting >= of_user { of_user } else { self.queue.max(1) };
            return Err(ClusterError::Busy(format!(
                "{most} functions {whose} wait to be built, and no more may: try again when they are"
            )));
        }
        users.waiting += 1;
        let user = users.by_name.entry(name.to_owned()).or_insert_with(|| User {
            turn: Arc::new(Semaphore::new(1)),
            waiting: 0,
            present: 0,
        });
        user.waiting += 1;
        user.present += 1;
        let turn = Arc::clone(&user.turn);
        let (users, name) = (Arc::clone(&self.users), name.to_owned());
        Ok((Presence { users, name, waits: Mutex::new(true) }, turn))
    }

    /// Does something that takes a while on a thread of its own. It keeps the place until it ends, whoever waits for it.
    ///
    /// # Errors
    /// There is no thread for it, or it panicked.
    pub(crate) async fn on_thread<T: Send + 'static>(
        place: &Arc<Place>,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ClusterError> {
        let (sender, done) = oneshot::channel();
        let place = Arc::clone(place);
        let run = move || {
            let made = job();
            drop(place);
            // Nobody may wait for it any more.
            let _ = sender.send(made);
        };
        let internal = |why: String| ClusterError::Internal(format!("building a function: {why}"));
        let thread = std::thread::Builder::new().name("build".to_owned());
        thread.spawn(run).map_err(|error| internal(error.to_string()))?;
        done.await.map_err(|_| internal("it panicked, which the log tells".to_owned()))
    }
}

/// The right to build one function now.
#[derive(Debug)]
pub(crate) struct Place {
    _place: OwnedSemaphorePermit,
    _turn: OwnedSemaphorePermit,
    _presence: Presence,
}

/// That a build waits or runs, in the books.
#[derive(Debug)]
struct Presence {
    users: Arc<Mutex<Users>>,
    name: String,
    waits: Mutex<bool>,
}

impl Presence {
    fn begins(&self) {
        let mut users = lock(&self.users);
        if std::mem::take(&mut *lock(&self.waits)) {
            users.waiting -= 1;
            if let Some(user) = users.by_name.get_mut(&self.name) {
                user.waiting -= 1;
            }
        }
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.begins();
        let mut users = lock(&self.users);
        if let Some(user) = users.by_name.get_mut(&self.name) {
            user.present -= 1;
            if user.present == 0 {
                users.by_name.remove(&self.name);
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    fn builds(at_once: usize, queue: usize) -> Builds {
        Builds::new(&BuildConfig { at_once, queue, ..BuildConfig::default() })
    }

    #[tokio::test]
    async fn a_user_has_one_place_and_leaves_the_others_to_others() {
        let builds = builds(2, 64);
        let first = builds.place("eve").await.unwrap();
        let mut second = Box::pin(builds.place("eve"));
        assert!(second.as_mut().now_or_never().is_none());
        let other = builds.place("ada").now_or_never().expect("the other place is free").unwrap();
        assert!(builds.place("bob").now_or_never().is_none());
        drop(first);
        assert!(second.as_mut().now_or_never().is_some());
        drop(other);
    }

    #[tokio::test]
    async fn the_queue_is_bounded_by_user_and_in_all_and_left_by_who_gives_up() {
        let builds = builds(1, 16);
        let running = builds.place("eve").await.unwrap();
        let wait = |user: &'static str| {
            let mut waits = Box::pin(builds.place(user));
            match waits.as_mut().now_or_never() {
                None => Ok(waits),
                Some(Ok(_)) => panic!("a place is free"),
                Some(Err(error)) => Err(error.to_string()),
            }
        };
        let mut waiting = vec![wait("eve").unwrap(), wait("eve").unwrap()];
        let refused = wait("eve").err().unwrap();
        assert!(refused.contains("2 functions of user eve wait"), "{refused}");
        for user in ["a", "b", "c", "d", "e", "f", "g"] {
            waiting.extend([wait(user).unwrap(), wait(user).unwrap()]);
        }
        let refused = wait("ada").err().unwrap();
        assert!(refused.contains("16 functions here wait"), "{refused}");
        drop(waiting.remove(0));
        waiting.push(wait("ada").unwrap());
        drop(waiting);
        drop(running);
        assert!(builds.place("ada").now_or_never().unwrap().is_ok());
        assert!(lock(&builds.users).by_name.is_empty());
        assert_eq!(lock(&builds.users).waiting, 0);
    }

    #[tokio::test]
    async fn a_thread_keeps_its_place_after_its_caller_has_gone() {
        let builds = builds(1, 16);
        let place = builds.place("eve").await.unwrap();
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let (begun, begins) = oneshot::channel();
        let mut running = Box::pin(Builds::on_thread(&place, move || {
            let _ = begun.send(());
            wait.recv().is_ok()
        }));
        assert!(running.as_mut().now_or_never().is_none());
        begins.await.unwrap();
        drop(running);
        drop(place);
        let mut next = Box::pin(builds.place("ada"));
        assert!(next.as_mut().now_or_never().is_none());
        go.send(()).unwrap();
        next.await.unwrap();
    }

    #[tokio::test]
    async fn a_panic_is_an_error_and_gives_the_place_back() {
        let builds = builds(1, 16);
        let place = builds.place("eve").await.unwrap();
        let ended = Builds::on_thread(&place, || panic!("as a test")).await;
        let ended: Result<(), _> = ended;
        assert!(ended.unwrap_err().to_string().contains("panicked"));
        drop(place);
        builds.place("ada").await.unwrap();
    }
}

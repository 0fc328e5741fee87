//! Admission of builds: the time for checking and compiling a function is under the control of the function's author.
//!
//! Each user builds one function at a time, and the number of concurrent builds is limited; further builds wait in a
//! bounded FIFO queue. Builds run on threads and in processes of their own: on the blocking threads that the store uses
//! they would stall every user. A caller that drops its future leaves the queue.

use super::ClusterError;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// Limits of builds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildConfig {
    /// Most concurrent builds.
    pub at_once: usize,
    /// Most queued builds of all users; of one user an eighth of that, but at least one.
    pub queue: usize,
    /// Time limit of one build that runs in a process of its own.
    pub time: Duration,
    /// Most address space of that process, bytes.
    pub memory: usize,
    /// The `faasm-relay` binary, which is started as the build process ([`super::child`]); if `None`, functions are
    /// built in this process, without a time limit.
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

/// The running and the queued builds.
#[derive(Debug)]
pub(crate) struct Builds {
    slots: Arc<Semaphore>,
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
    /// Queued and running builds.
    present: usize,
}

impl Builds {
    pub(crate) fn new(config: &BuildConfig) -> Self {
        Self {
            slots: Arc::new(Semaphore::new(config.at_once.clamp(1, Semaphore::MAX_PERMITS))),
            queue: config.queue,
            users: Arc::default(),
        }
    }

    /// Waits for a permit to build.
    ///
    /// # Errors
    /// [`ClusterError::Busy`] if the queue is full.
    pub(crate) async fn acquire(&self, user: &str) -> Result<Arc<BuildPermit>, ClusterError> {
        let (presence, turn) = self.enter(user)?;
        let closed = |_| ClusterError::Internal("the build queue is closed".to_owned());
        let turn = turn.acquire_owned().await.map_err(closed)?;
        let slot = Arc::clone(&self.slots).acquire_owned().await.map_err(closed)?;
        presence.begins();
        Ok(Arc::new(BuildPermit { _slot: slot, _turn: turn, _presence: presence }))
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
                "{most} functions {whose} wait to be built, which is the limit: try again later"
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

    /// Runs a long job on a thread of its own. The job holds the permit until it ends, even if its caller has gone.
    ///
    /// # Errors
    /// The thread cannot be started, or the job panicked.
    pub(crate) async fn on_thread<T: Send + 'static>(
        permit: &Arc<BuildPermit>,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ClusterError> {
        let (sender, done) = oneshot::channel();
        let permit = Arc::clone(permit);
        let run = move || {
            let made = job();
            drop(permit);
            // The caller may have gone.
            let _ = sender.send(made);
        };
        let internal = |why: String| ClusterError::Internal(format!("building a function: {why}"));
        let thread = std::thread::Builder::new().name("build".to_owned());
        thread.spawn(run).map_err(|error| internal(error.to_string()))?;
        done.await.map_err(|_| internal("the build panicked; see the relay's log".to_owned()))
    }
}

/// The right to build one function now.
#[derive(Debug)]
pub(crate) struct BuildPermit {
    _slot: OwnedSemaphorePermit,
    _turn: OwnedSemaphorePermit,
    _presence: Presence,
}

/// Counts a queued or running build until it is dropped.
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
    async fn a_user_builds_one_function_at_a_time() {
        let builds = builds(2, 64);
        let first = builds.acquire("eve").await.unwrap();
        let mut second = Box::pin(builds.acquire("eve"));
        assert!(second.as_mut().now_or_never().is_none());
        let other = builds.acquire("ada").now_or_never().expect("the other slot is free").unwrap();
        assert!(builds.acquire("bob").now_or_never().is_none());
        drop(first);
        assert!(second.as_mut().now_or_never().is_some());
        drop(other);
    }

    #[tokio::test]
    async fn the_queue_is_bounded_per_user_and_in_total_and_a_dropped_waiter_leaves_it() {
        let builds = builds(1, 16);
        let running = builds.acquire("eve").await.unwrap();
        let wait = |user: &'static str| {
            let mut waits = Box::pin(builds.acquire(user));
            match waits.as_mut().now_or_never() {
                None => Ok(waits),
                Some(Ok(_)) => panic!("a slot is free"),
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
        assert!(builds.acquire("ada").now_or_never().unwrap().is_ok());
        assert!(lock(&builds.users).by_name.is_empty());
        assert_eq!(lock(&builds.users).waiting, 0);
    }

    #[tokio::test]
    async fn a_thread_holds_its_permit_after_its_caller_has_gone() {
        let builds = builds(1, 16);
        let permit = builds.acquire("eve").await.unwrap();
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let (begun, begins) = oneshot::channel();
        let mut running = Box::pin(Builds::on_thread(&permit, move || {
            let _ = begun.send(());
            wait.recv().is_ok()
        }));
        assert!(running.as_mut().now_or_never().is_none());
        begins.await.unwrap();
        drop(running);
        drop(permit);
        let mut next = Box::pin(builds.acquire("ada"));
        assert!(next.as_mut().now_or_never().is_none());
        go.send(()).unwrap();
        next.await.unwrap();
    }

    #[tokio::test]
    async fn a_panic_is_an_error_and_releases_the_permit() {
        let builds = builds(1, 16);
        let permit = builds.acquire("eve").await.unwrap();
        let ended = Builds::on_thread(&permit, || panic!("as a test")).await;
        let ended: Result<(), _> = ended;
        assert!(ended.unwrap_err().to_string().contains("panicked"));
        drop(permit);
        builds.acquire("ada").await.unwrap();
    }
}

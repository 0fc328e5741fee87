//! Memory budget: a limit for the data of each user, and one for all users.
//!
//! Code that holds data for a user (a state value, a result, an incoming body) first acquires a [`Charge`] from the
//! user's [`Account`]. If a charge would exceed a limit, the registered [`Frees`] are invoked; if that does not
//! suffice, the charge fails with [`OverBudget`]. A charge is released on drop.
//!
//! * `charge.rs`: charges.
//! * `machine.rs`: the memory limit of the process.
//!
//! * `disk.rs`: disk space of users.
//!
//! All code that holds bytes for a user, and its charge:
//!
//! | place | held | charged by |
//! |---|---|---|
//! | `session/progress.rs` | a message that arrives | `Arriving`, above 64 KiB |
//! | `session/requests.rs` | a request, its payload and the copies that writes make | `Held` |
//! | `session/reads.rs` | what a request reads | the reply's charge, before it is read |
//! | `session/mod.rs` | replies that are not acknowledged | `Live::kept` |
//! | `session/websocket.rs`, `session/fetch.rs` | what is being sent | a charge of its own, which is not refused: one message for each connection |
//! | `session/transfers.rs` | long values | `Kept`, `Staged` |
//! | `http/body.rs` | bodies | `Arrived`, before each piece |
//! | `http/message.rs`, `http/calls.rs`, `http/shared.rs` | answers | `Kind::Answer` |
//! | `cluster/embedded/limiter.rs` | memories and tables | `Limiter` |
//! | `cluster/embedded/run.rs`, `operations.rs` | what a run keeps, and what it reads | `Kernel::charge`, `RunState::moving` |
//! | `cluster/embedded/chain.rs` | inputs and results of chained calls | `Kind::Run`, `Kind::Result` |
//! | `cluster/embedded/tiers.rs` | copies of state | the tier's meter |
//! | `cluster/embedded/program.rs`, `making.rs` | originals, compilers, code | `Kind::Build`, `Kind::Code` |
//!
//! Bounded but not charged: the queues of the committer and the journal (`store/redb/queue.rs`) or for Redis
//! (`store/redis/notes.rs`), an eighth of the relay's limit each; redb's cache; 64 KiB per connection; memory that the
//! allocator and the instance pool retain. In front of a Faasm cluster one function per user is checked and guarded at
//! a time (`cluster/builds.rs`), within the charge for its body.

mod charge;
mod disk;
mod machine;

pub use charge::Charge;
pub use disk::{Disk, OverDisk};
pub use machine::memory;

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// Not a valid user name.
const ANYBODY: &str = "";

/// Purpose of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Memories and tables of instances.
    Instance,
    /// Other memory of runs: input, output, files, mappings, data being read and written.
    Run,
    /// Results of chained calls that have not been awaited.
    Result,
    /// Local tiers.
    State,
    /// Requests of sessions.
    Request,
    /// Replies that sessions keep until they are acknowledged, and copies being sent.
    Reply,
    /// State values in transfers of several requests.
    Transfer,
    /// Bodies of requests over HTTP.
    Body,
    /// Bodies of answers over HTTP.
    Answer,
    /// Build processes, their input and their output.
    Build,
    /// Compiled functions.
    Code,
}

impl Kind {
    pub const ALL: [Kind; 11] = [
        Kind::Instance,
        Kind::Run,
        Kind::Result,
        Kind::State,
        Kind::Request,
        Kind::Reply,
        Kind::Transfer,
        Kind::Body,
        Kind::Answer,
        Kind::Build,
        Kind::Code,
    ];

    /// Name in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Instance => "instance",
            Kind::Run => "run",
            Kind::Result => "result",
            Kind::State => "state",
            Kind::Request => "request",
            Kind::Reply => "reply",
            Kind::Transfer => "transfer",
            Kind::Body => "body",
            Kind::Answer => "answer",
            Kind::Build => "build",
            Kind::Code => "code",
        }
    }
}

/// Which limit was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bound {
    User,
    Relay,
}

/// A budget is exhausted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OverBudget {
    pub bound: Bound,
    /// Requested bytes.
    pub bytes: u64,
    /// Used bytes.
    pub used: u64,
    /// What there is, bytes.
    pub most: u64,
}

impl std::error::Error for OverBudget {}

impl fmt::Display for OverBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bound, bytes, used, most } = self;
        let (whose, setting) = match bound {
            Bound::User => ("this user", "budget.user_bytes"),
            Bound::Relay => ("the relay", "budget.relay_bytes"),
        };
        write!(
            f,
            "{whose} uses {used} of {most} bytes of memory, and {bytes} more were asked for: try again when less is in use, or \
             raise {setting}"
        )
    }
}

/// Can free memory when a budget is exhausted.
pub trait Frees: Send + Sync {
    /// Frees memory of one user or of all. It is called while arbitrary locks are held, so it must not wait for a lock.
    fn free(&self, user: Option<&str>);
}

/// The limits, bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Limit of all users together.
    pub relay: u64,
    /// Limit of one user.
    pub user: u64,
}

impl Bounds {
    /// Unlimited.
    pub const NONE: Self = Self { relay: u64::MAX, user: u64::MAX };
}

impl Default for Bounds {
    /// The defaults: 60 % of the process's memory for the relay, and 25 % of that for a user.
    fn default() -> Self {
        let relay = memory() / 5 * 3;
        Self { relay, user: relay / 4 }
    }
}

/// The budget of a relay; clones are handles to the same budget.
#[derive(Clone)]
pub struct Budget {
    inner: Arc<Inner>,
}

struct Inner {
    bounds: Bounds,
    used: AtomicU64,
    by_kind: [AtomicU64; Kind::ALL.len()],
    /// Rejections by the user's limit, and by the relay's.
    refused: [AtomicU64; 2],
    users: Mutex<HashMap<String, Weak<User>>>,
    frees: Mutex<Vec<Weak<dyn Frees>>>,
    disk: Disk,
}

struct User {
    name: String,
    used: AtomicU64,
    inner: Arc<Inner>,
}

impl Drop for User {
    fn drop(&mut self) {
        let mut users = lock(&self.inner.users);
        // A new account of this name may already exist.
        if users.get(&self.name).is_some_and(|user| user.strong_count() == 0) {
            users.remove(&self.name);
        }
    }
}

/// A user's part of the budget, or the part without a user; clones are handles to the same account.
#[derive(Clone)]
pub struct Account {
    inner: Arc<Inner>,
    user: Option<Arc<User>>,
}

impl Budget {
    /// A budget with unlimited disk space.
    pub fn new(bounds: Bounds) -> Self {
        Self::with_disk(bounds, Disk::default())
    }

    pub fn with_disk(bounds: Bounds, disk: Disk) -> Self {
        let inner = Inner {
            bounds,
            used: AtomicU64::new(0),
            by_kind: Default::default(),
            refused: Default::default(),
            users: Mutex::default(),
            frees: Mutex::default(),
            disk,
        };
        Self { inner: Arc::new(inner) }
    }

    /// The account of a user.
    pub fn user(&self, name: &str) -> Account {
        let mut users = lock(&self.inner.users);
        let known = users.get(name).and_then(Weak::upgrade);
        let user = known.unwrap_or_else(|| {
            let user = User {
                name: name.to_owned(),
                used: AtomicU64::new(0),
                inner: Arc::clone(&self.inner),
            };
            let user = Arc::new(user);
            users.insert(name.to_owned(), Arc::downgrade(&user));
            user
        });
        drop(users);
        Account { inner: Arc::clone(&self.inner), user: Some(user) }
    }

    /// The account for data from unauthenticated clients: all of them together have the limit of one user.
    pub fn anybody(&self) -> Account {
        self.user(ANYBODY)
    }

    /// The account for data that belongs to no user.
    pub fn nobody(&self) -> Account {
        Account { inner: Arc::clone(&self.inner), user: None }
    }

    /// Registers `frees` to free memory when a budget is exhausted.
    pub fn ask(&self, frees: Weak<dyn Frees>) {
        let mut all = lock(&self.inner.frees);
        all.retain(|frees| frees.strong_count() > 0);
        all.push(frees);
    }

    /// The limit of users' disk space.
    pub fn disk(&self) -> &Disk {
        &self.inner.disk
    }

    pub fn bounds(&self) -> Bounds {
        self.inner.bounds
    }

    /// Bytes in use.
    pub fn used(&self) -> u64 {
        self.inner.used.load(Ordering::Relaxed)
    }

    /// Bytes in use of one kind.
    pub fn used_for(&self, kind: Kind) -> u64 {
        self.inner.by_kind[kind as usize].load(Ordering::Relaxed)
    }

    /// Number of charges rejected by a limit.
    pub fn refused(&self, bound: Bound) -> u64 {
        self.inner.refused[bound as usize].load(Ordering::Relaxed)
    }
}

impl Default for Budget {
    /// An unlimited budget.
    fn default() -> Self {
        Self::new(Bounds::NONE)
    }
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { bounds, used, .. } = &*self.inner;
        f.debug_struct("Budget").field("bounds", bounds).field("used", used).finish_non_exhaustive()
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let user = self.user.as_ref().map(|user| (&user.name, &user.used));
        f.debug_struct("Account").field("user", &user).finish_non_exhaustive()
    }
}

impl Account {
    /// Charges this many bytes.
    ///
    /// # Errors
    /// The budget is exhausted.
    pub fn charge(&self, kind: Kind, bytes: usize) -> Result<Charge, OverBudget> {
        let mut charge = self.nothing(kind);
        charge.grow(bytes as u64)?;
        Ok(charge)
    }

    /// An empty charge.
    pub fn nothing(&self, kind: Kind) -> Charge {
        Charge::nothing(self.clone(), kind)
    }

    /// Whether this is the account of this user.
    pub fn is(&self, user: &str) -> bool {
        self.user.as_ref().is_some_and(|own| own.name == user)
    }

    /// Bytes in use by this user, or by all users if the account has no user.
    pub fn used(&self) -> u64 {
        let used = self.user.as_ref().map_or(&self.inner.used, |user| &user.used);
        used.load(Ordering::Relaxed)
    }

    /// Whether this many more bytes are available.
    pub fn has(&self, bytes: u64) -> bool {
        let Bounds { relay, user: most } = self.inner.bounds;
        let fits = |used: &AtomicU64, most: u64| {
            let used = used.load(Ordering::Relaxed);
            used.checked_add(bytes).is_some_and(|used| used <= most)
        };
        self.user.as_ref().is_none_or(|user| fits(&user.used, most))
            && fits(&self.inner.used, relay)
    }

    fn take(&self, kind: Kind, bytes: u64) -> Result<(), OverBudget> {
        let Err(first) = self.try_take(kind, bytes) else { return Ok(()) };
        let user = match first.bound {
            Bound::User => self.user.as_ref().map(|user| user.name.as_str()),
            Bound::Relay => None,
        };
        let frees: Vec<_> = lock(&self.inner.frees).iter().filter_map(Weak::upgrade).collect();
        frees.iter().for_each(|frees| frees.free(user));
        self.try_take(kind, bytes).inspect_err(|refused| {
            self.inner.refused[refused.bound as usize].fetch_add(1, Ordering::Relaxed);
        })
    }

    fn try_take(&self, kind: Kind, bytes: u64) -> Result<(), OverBudget> {
        let Bounds { relay, user: most } = self.inner.bounds;
        if let Some(user) = &self.user {
            add(&user.used, bytes, most, Bound::User)?;
        }
        if let Err(over) = add(&self.inner.used, bytes, relay, Bound::Relay) {
            if let Some(user) = &self.user {
                user.used.fetch_sub(bytes, Ordering::Relaxed);
            }
            return Err(over);
        }
        self.inner.by_kind[kind as usize].fetch_add(bytes, Ordering::Relaxed);
        Ok(())
    }

    /// Charges without a check of the limits.
    fn force(&self, kind: Kind, bytes: u64) {
        if let Some(user) = &self.user {
            user.used.fetch_add(bytes, Ordering::Relaxed);
        }
        self.inner.used.fetch_add(bytes, Ordering::Relaxed);
        self.inner.by_kind[kind as usize].fetch_add(bytes, Ordering::Relaxed);
    }

    fn give_back(&self, kind: Kind, bytes: u64) {
        if let Some(user) = &self.user {
            user.used.fetch_sub(bytes, Ordering::Relaxed);
        }
        self.inner.used.fetch_sub(bytes, Ordering::Relaxed);
        self.inner.by_kind[kind as usize].fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// Adds up to a limit.
fn add(used: &AtomicU64, bytes: u64, most: u64, bound: Bound) -> Result<(), OverBudget> {
    let more = |used: u64| used.checked_add(bytes).filter(|used| *used <= most);
    match used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more) {
        Ok(_) => Ok(()),
        Err(used) => Err(OverBudget { bound, bytes, used, most }),
    }
}

/// Locks a mutex; ignores poisoning, since no holder panics.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;

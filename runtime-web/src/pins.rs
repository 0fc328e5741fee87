//! Pinned values: the page keeps them local and up to date. The relay notifies the page of writes by others, and the
//! page pulls again.
//!
//! Watches are registered again over each connection. If the relay did not know a watch, notifications may have been
//! missed, so the value is pulled. A pull keeps unpushed writes and those being pushed.

use crate::error::{Code, FaasmError};
use crate::global::{console_error, console_warn, sleep, spawn};
use crate::host::{expect_done, read_state, reply_error};
use crate::shared::Shared;
use faasm_bridge::residence::{MAX_PINNED_BYTES, MAX_PREFETCHED, MAX_RULES, Rules};
use faasm_bridge::sorted_map::SortedMap;
use faasm_bridge::state::Value;
use faasm_bridge::wire::{Reply, Request, TRANSFER_BYTES};
use futures_channel::oneshot;
use futures_util::future::LocalBoxFuture;
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::{Rc, Weak};
use std::task::Poll;

/// The maximum number of parallel prefetches.
const MAX_PARALLEL: usize = 8;

/// The delay before a failed value is retried, in milliseconds.
const RETRY_DELAY: f64 = 5000.0;

type Task = LocalBoxFuture<'static, Result<(), FaasmError>>;

type Waiting = oneshot::Sender<Result<(), FaasmError>>;

/// A pinned value.
#[derive(Default)]
struct Pin {
    /// The watch has to be registered at the relay.
    needs_watch: Cell<bool>,
    /// The relay may have a newer value.
    is_stale: Cell<bool>,
    /// Set while a task synchronises the value; there is at most one.
    is_syncing: Cell<bool>,
    /// The value was local once, or known not to exist; later errors do not unpin it.
    is_settled: Cell<bool>,
    bytes: Cell<u64>,
    waiting: RefCell<Vec<Waiting>>,
}

/// The pinned values of a page.
#[derive(Default)]
pub(crate) struct Pins {
    by_key: RefCell<SortedMap<String, Rc<Pin>>>,
    /// Keys of pushes in flight, pinned or not: a read during a push may return the old value.
    pushes: RefCell<Vec<String>>,
    /// Prefetched bytes, which stay in the page.
    prefetched: Cell<u64>,
    has_warned: Cell<bool>,
}

impl Pins {
    fn get(&self, key: &str) -> Option<Rc<Pin>> {
        self.by_key.borrow().get(key).cloned()
    }

    fn bytes(&self) -> u64 {
        self.by_key.borrow().values().map(|pin| pin.bytes.get()).sum()
    }

    /// Registers a push of a value, until the guard is dropped.
    pub(crate) fn pushing(&self, shared: &Rc<Shared>, key: &str) -> Pushing {
        if let Some(pin) = self.get(key) {
            // A pull in flight may return the value before this push.
            pin.is_stale.set(pin.is_stale.get() || pin.is_syncing.get());
        }
        self.pushes.borrow_mut().push(key.to_owned());
        Pushing { shared: Rc::downgrade(shared), key: key.to_owned() }
    }

    fn is_pushed(&self, key: &str) -> bool {
        self.pushes.borrow().iter().any(|pushed| pushed == key)
    }
}

/// A push in flight.
pub(crate) struct Pushing {
    shared: Weak<Shared>,
    key: String,
}

impl Drop for Pushing {
    fn drop(&mut self) {
        let Some(shared) = self.shared.upgrade() else { return };
        {
            let pushes = &mut *shared.pins.pushes.borrow_mut();
            let ended = pushes.iter().position(|pushed| *pushed == self.key);
            ended.map(|ended| pushes.swap_remove(ended));
        }
        if let Some(pin) = shared.pins.get(&self.key) {
            start_sync(&shared, &self.key, &pin);
        }
    }
}

/// Applies a page's or a manifest's rules. Pins and prefetches run in the background; their errors are logged on the
/// console.
///
/// # Errors
/// If the page-only keys exceed the limit: the function must not run, since it would push them to the cluster.
pub(crate) fn apply(shared: &Rc<Shared>, rules: &Rules) -> Result<(), String> {
    shared.page_only.borrow_mut().add(&rules.local)?;
    for key in &rules.pin {
        let (shared, key) = (Rc::clone(shared), key.clone());
        spawn_logged(Box::pin(async move { pin(&shared, key).await }));
    }
    if !rules.prefetch.is_empty() {
        let (shared, keys) = (Rc::clone(shared), rules.prefetch.clone());
        spawn_logged(Box::pin(async move { prefetch(&shared, keys, true).await }));
    }
    Ok(())
}

/// Runs a task in the background, and logs its error.
fn spawn_logged(task: Task) {
    spawn(async move {
        if let Err(error) = task.await
            && error.code != Code::Closed
        {
            console_error(&error.message);
        }
    });
}

/// Listens to the relay's notifications.
pub(crate) fn listen(shared: &Rc<Shared>) {
    let weak = Rc::downgrade(shared);
    shared.connection.listen(Rc::new(move |changed| {
        let Some(shared) = weak.upgrade() else { return };
        let pins: Vec<_> = {
            let by_key = shared.pins.by_key.borrow();
            let is_meant = |key: &str| changed.is_none_or(|changed| changed == key);
            let pins = by_key.iter().filter(|(key, _)| is_meant(key));
            pins.map(|(key, pin)| (key.clone(), Rc::clone(pin))).collect()
        };
        for (key, pin) in pins {
            if changed.is_some() {
                pin.is_stale.set(true);
            } else {
                pin.needs_watch.set(true);
            }
            start_sync(&shared, &key, &pin);
        }
    }));
}

/// Pins a value; resolves when it is local or known not to exist. After an error the value stays pinned unless it is
/// refused, too large, or has another size locally.
pub(crate) async fn pin(shared: &Rc<Shared>, key: String) -> Result<(), FaasmError> {
    if shared.is_page_only(&key) {
        return Ok(());
    }
    let pin = match shared.pins.get(&key) {
        Some(pin) if pin.is_settled.get() => return Ok(()),
        Some(pin) => pin,
        None => {
            let by_key = &mut *shared.pins.by_key.borrow_mut();
            if by_key.len() >= MAX_RULES {
                let message = format!("`{key}` is not pinned: the maximum is {MAX_RULES}");
                return Err(FaasmError::new(Code::TooLarge, message));
            }
            let pin = Rc::new(Pin { needs_watch: Cell::new(true), ..Pin::default() });
            by_key.insert(key.clone(), Rc::clone(&pin));
            pin
        }
    };
    let (sender, settled) = oneshot::channel();
    pin.waiting.borrow_mut().push(sender);
    start_sync(shared, &key, &pin);
    // The sender is gone if the value was unpinned.
    settled.await.unwrap_or(Ok(()))
}

/// Unpins a value; its local copy stays.
pub(crate) fn unpin(shared: &Rc<Shared>, key: &str) {
    let pin = shared.pins.by_key.borrow_mut().remove(key);
    if let Some(pin) = &pin {
        // Dropping the senders resolves pending `pin` calls.
        pin.waiting.take();
    }
    if pin.is_some() && shared.connection.has_watches() {
        let (shared, key) = (Rc::clone(shared), key.to_owned());
        spawn(async move {
            // If this fails, notifications of the key are ignored.
            let _ = expect_done(shared.request(Request::Unwatch { key }, &[]).await);
        });
    }
}

/// Starts the task that synchronises a pinned value, unless it is running.
fn start_sync(shared: &Rc<Shared>, key: &str, pin: &Rc<Pin>) {
    if shared.is_disposed() || pin.is_syncing.replace(true) {
        return;
    }
    let (shared, key, pin) = (Rc::downgrade(shared), key.to_owned(), Rc::clone(pin));
    spawn(async move {
        while let Some(shared) = shared.upgrade().filter(|shared| is_pinned(shared, &key, &pin)) {
            let done = sync(&shared, &key, &pin).await;
            if done.is_ok() && pin.is_stale.get() {
                // The end of the push starts this task again.
                break;
            }
            pin.is_settled.set(pin.is_settled.get() || done.is_ok());
            for waiting in pin.waiting.take() {
                let _ = waiting.send(done.clone());
            }
            let Err(error) = done else { break };
            if !is_pinned(&shared, &key, &pin) {
                // The value was unpinned meanwhile; another pin of its key has its own task.
                return;
            }
            match error.code {
                Code::Closed | Code::ConnectionLost => break,
                Code::Refused | Code::State | Code::TooLarge => {
                    if pin.is_settled.get() {
                        let why = error.message;
                        console_error(&format!("`{key}` was unpinned: {why}"));
                    }
                    return unpin(&shared, &key);
                }
                _ => {}
            }
            drop(shared);
            sleep(RETRY_DELAY).await;
        }
        pin.is_syncing.set(false);
    });
}

fn is_pinned(shared: &Shared, key: &str, pin: &Rc<Pin>) -> bool {
    shared.pins.get(key).is_some_and(|found| Rc::ptr_eq(&found, pin))
}

/// Watches a value and pulls it if it may be stale, until neither is needed or a push is in flight.
async fn sync(shared: &Rc<Shared>, key: &str, pin: &Rc<Pin>) -> Result<(), FaasmError> {
    while is_pinned(shared, key, pin) {
        if pin.needs_watch.replace(false) {
            let is_new = watch(shared, key).await.inspect_err(|_| pin.needs_watch.set(true))?;
            pin.is_stale.set(pin.is_stale.get() || is_new);
        } else if pin.is_stale.get() && !shared.pins.is_pushed(key) {
            pin.is_stale.set(false);
            pull(shared, key, pin).await.inspect_err(|_| pin.is_stale.set(true))?;
        } else {
            break;
        }
    }
    Ok(())
}

/// Registers a watch; returns whether the relay did not know it.
async fn watch(shared: &Shared, key: &str) -> Result<bool, FaasmError> {
    if !shared.connection.has_watches() {
        if !shared.pins.has_warned.replace(true) {
            console_warn(
                "pinned state is pulled once and not kept fresh: the relay is too old to report writes",
            );
        }
        return Ok(true);
    }
    match shared.request(Request::Watch { key: key.to_owned() }, &[]).await? {
        (Reply::Done, _) => Ok(false),
        (Reply::Missing, _) => Ok(true),
        (reply, _) => Err(reply_error(reply)),
    }
}

async fn pull(shared: &Rc<Shared>, key: &str, pin: &Pin) -> Result<(), FaasmError> {
    let run = shared.tier.with(|tier| {
        let run = tier.new_run();
        tier.ask_to_keep_fresh(run, key);
        run
    });
    let read = read_bounded(shared, key, pin).await;
    shared.tier.with(|tier| {
        let refreshed = match &read {
            Ok(Some(bytes)) => tier.refresh(run, key, bytes),
            _ => Ok(()),
        };
        tier.release(run);
        refreshed
    })?;
    read.map(drop)
}

/// Reads the value, if it exists; an error if the pinned values exceed their limit together.
async fn read_bounded(
    shared: &Shared,
    key: &str,
    pin: &Pin,
) -> Result<Option<Vec<u8>>, FaasmError> {
    let (size, first) = read_state(shared, key, 0, Some(TRANSFER_BYTES)).await?;
    let Some(size) = size else { return Ok(None) };
    pin.bytes.set(size);
    if shared.pins.bytes() > MAX_PINNED_BYTES {
        let message = format!(
            "`{key}` has {size} bytes; the limit for all pinned values is {MAX_PINNED_BYTES}: unpin others first"
        );
        return Err(FaasmError::new(Code::TooLarge, message));
    }
    if first.range().end >= size {
        return Ok(Some(first.bytes.into()));
    }
    // A snapshot of the whole value, including the bytes read already.
    let (size, whole) = read_state(shared, key, 0, Some(size)).await?;
    Ok(size.map(|_| whole.bytes.into()))
}

/// Pulls the missing parts of values, [`MAX_PARALLEL`] at once. A value beyond the limit is an error or, with
/// `skips_too_large`, a warning.
pub(crate) async fn prefetch(
    shared: &Rc<Shared>,
    keys: Vec<String>,
    skips_too_large: bool,
) -> Result<(), FaasmError> {
    if keys.len() > MAX_PREFETCHED {
        let message = format!("{} keys to prefetch; {MAX_PREFETCHED} are allowed", keys.len());
        return Err(FaasmError::new(Code::BadOptions, message));
    }
    let mut wanted: Vec<String> = Vec::new();
    for key in keys {
        // A duplicate key must not reserve bytes twice.
        if !wanted.contains(&key) {
            wanted.push(key);
        }
    }
    let mut keys = wanted.into_iter();
    let mut fetching: Vec<Task> = Vec::new();
    poll_fn(|cx| {
        loop {
            while fetching.len() < MAX_PARALLEL
                && let Some(key) = keys.next()
            {
                fetching.push(Box::pin(fetch(Rc::clone(shared), key)));
            }
            let ended =
                fetching.iter_mut().enumerate().find_map(|(at, one)| match one.as_mut().poll(cx) {
                    Poll::Ready(done) => Some((at, done)),
                    Poll::Pending => None,
                });
            match ended {
                Some((at, Ok(()))) => drop(fetching.swap_remove(at)),
                Some((at, Err(error))) if skips_too_large && error.code == Code::TooLarge => {
                    console_warn(&error.message);
                    drop(fetching.swap_remove(at));
                }
                Some((_, error)) => return Poll::Ready(error),
                None if fetching.is_empty() => return Poll::Ready(Ok(())),
                None => return Poll::Pending,
            }
        }
    })
    .await
}

async fn fetch(shared: Rc<Shared>, key: String) -> Result<(), FaasmError> {
    let (shared, key) = (&*shared, key.as_str());
    let missing = |value: &Value| value.gap(0..value.size());
    let (offset, length) = match shared.tier.with(|tier| tier.get(key).map(missing)) {
        Some(None) => return Ok(()),
        _ if shared.is_page_only(key) => return Ok(()),
        Some(Some(gap)) => (gap.start, Some(gap.end - gap.start)),
        None => (0, None),
    };
    let first = length.map_or(TRANSFER_BYTES, |length| length.min(TRANSFER_BYTES));
    let (mut size, mut chunk) = read_state(shared, key, offset, Some(first)).await?;
    if let Some(have) = size {
        let end = length.map_or(have, |length| have.min(offset + length));
        let reservation = Reservation::take(&shared.pins, key, end.saturating_sub(offset))?;
        if chunk.range().end < end {
            // A snapshot of the whole range.
            (size, chunk) = read_state(shared, key, offset, Some(end - offset)).await?;
        }
        reservation.keep();
    }
    shared.tier.with(|tier| tier.take_in(key, size, &chunk))?;
    Ok(())
}

/// Reserves bytes for a prefetch; released on drop unless kept.
struct Reservation<'a> {
    pins: &'a Pins,
    bytes: u64,
}

impl<'a> Reservation<'a> {
    fn take(pins: &'a Pins, key: &str, bytes: u64) -> Result<Self, FaasmError> {
        let prefetched = pins.prefetched.get().saturating_add(bytes);
        if pins.bytes().saturating_add(prefetched) > MAX_PINNED_BYTES {
            let message = format!(
                "`{key}` is not prefetched: with its {bytes} bytes, pinned and prefetched values would exceed {MAX_PINNED_BYTES}"
            );
            return Err(FaasmError::new(Code::TooLarge, message));
        }
        pins.prefetched.set(prefetched);
        Ok(Self { pins, bytes })
    }

    fn keep(mut self) {
        self.bytes = 0;
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        self.pins.prefetched.set(self.pins.prefetched.get() - self.bytes);
    }
}

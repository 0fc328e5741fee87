//! Values that the page keeps here, and fresh: the relay tells when others write them, and they are pulled again.
//!
//! Told again over each connection is what is watched; the relay says whether it knew that, and what it did not know is pulled,
//! for changes of it were not told. What was written in the page and is not sent stays, as does what is being sent.

use crate::error::{Code, FaasmError};
use crate::global::{console_error, console_warn, sleep, spawn};
use crate::host::{read_state, take_done, unexpected};
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

/// Values that are fetched ahead at once.
const AT_ONCE: usize = 8;

/// Before a value that could not be had is asked for again, milliseconds.
const PAUSE: f64 = 5000.0;

type Task = LocalBoxFuture<'static, Result<(), FaasmError>>;

type Waiting = oneshot::Sender<Result<(), FaasmError>>;

/// One value.
#[derive(Default)]
struct Pin {
    /// The relay is to be asked to tell of it.
    is_untold: Cell<bool>,
    /// The relay may have a newer one.
    is_stale: Cell<bool>,
    /// One task at a time does something about these.
    is_busy: Cell<bool>,
    /// Once it was here, or was found to be nowhere, it is kept whatever happens later.
    is_settled: Cell<bool>,
    bytes: Cell<u64>,
    waiting: RefCell<Vec<Waiting>>,
}

/// What is pinned in a page.
#[derive(Default)]
pub(crate) struct Pins {
    by_key: RefCell<SortedMap<String, Rc<Pin>>>,
    /// The keys of the pushes under way, whether or not they are pinned: what is read meanwhile may be from before them.
    pushes: RefCell<Vec<String>>,
    /// Bytes that were fetched ahead, which stay in the page.
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

    /// Says that a push of a value is under way, until what this gives is dropped.
    pub(crate) fn pushing(&self, shared: &Rc<Shared>, key: &str) -> Pushing {
        if let Some(pin) = self.get(key) {
            // What is being read may be from before this.
            pin.is_stale.set(pin.is_stale.get() || pin.is_busy.get());
        }
        self.pushes.borrow_mut().push(key.to_owned());
        Pushing { shared: Rc::downgrade(shared), key: key.to_owned() }
    }

    fn is_pushed(&self, key: &str) -> bool {
        self.pushes.borrow().iter().any(|pushed| pushed == key)
    }
}

/// A push under way.
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
            keep(&shared, &self.key, &pin);
        }
    }
}

/// Does what a page or a manifest says. Nobody waits for what is pinned and fetched: what fails of that is said on the console.
///
/// # Errors
/// When not every page-only key can be one: a function that names it must not run, for its values would be sent.
pub(crate) fn apply(shared: &Rc<Shared>, rules: &Rules) -> Result<(), String> {
    shared.page_only.borrow_mut().add(&rules.local)?;
    for key in &rules.pin {
        let (shared, key) = (Rc::clone(shared), key.clone());
        unawaited(Box::pin(async move { pin(&shared, key).await }));
    }
    if !rules.prefetch.is_empty() {
        let (shared, keys) = (Rc::clone(shared), rules.prefetch.clone());
        unawaited(Box::pin(async move { prefetch(&shared, keys, true).await }));
    }
    Ok(())
}

/// Says on the console what fails.
fn unawaited(task: Task) {
    spawn(async move {
        if let Err(error) = task.await
            && error.code != Code::Closed
        {
            console_error(&error.message);
        }
    });
}

/// Listens to the relay.
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
                pin.is_untold.set(true);
            }
            keep(&shared, &key, &pin);
        }
    }));
}

/// Pins a value; done once it is here, or is nowhere. Where it cannot be had now, this fails, and the value stays pinned unless it
/// is refused, too large, or here with another size.
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
                let message = format!("`{key}` is not pinned: {MAX_RULES} values at most are");
                return Err(FaasmError::new(Code::TooLarge, message));
            }
            let pin = Rc::new(Pin { is_untold: Cell::new(true), ..Pin::default() });
            by_key.insert(key.clone(), Rc::clone(&pin));
            pin
        }
    };
    let (sender, settled) = oneshot::channel();
    pin.waiting.borrow_mut().push(sender);
    keep(shared, &key, &pin);
    // It is unpinned where nobody answers.
    settled.await.unwrap_or(Ok(()))
}

/// Ends that; what is here of it stays, as of any other value.
pub(crate) fn unpin(shared: &Rc<Shared>, key: &str) {
    let pin = shared.pins.by_key.borrow_mut().remove(key);
    if let Some(pin) = &pin {
        // Nobody is to wait for it.
        pin.waiting.take();
    }
    if pin.is_some() && shared.connection.has_watches() {
        let (shared, key) = (Rc::clone(shared), key.to_owned());
        spawn(async move {
            // Where it fails, something is told that nobody listens to.
            let _ = take_done(shared.ask(Request::Unwatch { key }, &[]).await);
        });
    }
}

/// Has a task do what there is to do for a pin.
fn keep(shared: &Rc<Shared>, key: &str, pin: &Rc<Pin>) {
    if shared.is_disposed() || pin.is_busy.replace(true) {
        return;
    }
    let (shared, key, pin) = (Rc::downgrade(shared), key.to_owned(), Rc::clone(pin));
    spawn(async move {
        while let Some(shared) = shared.upgrade().filter(|shared| is_pinned(shared, &key, &pin)) {
            let done = settle(&shared, &key, &pin).await;
            if done.is_ok() && pin.is_stale.get() {
                // The end of a push goes on with it.
                break;
            }
            pin.is_settled.set(pin.is_settled.get() || done.is_ok());
            for waiting in pin.waiting.take() {
                let _ = waiting.send(done.clone());
            }
            let Err(error) = done else { break };
            if !is_pinned(&shared, &key, &pin) {
                // It was unpinned meanwhile; another pin of the key is none of this one's business.
                return;
            }
            match error.code {
                Code::Closed | Code::ConnectionLost => break,
                Code::Refused | Code::State | Code::TooLarge => {
                    if pin.is_settled.get() {
                        let why = error.message;
                        console_error(&format!("`{key}` is not pinned any more: {why}"));
                    }
                    return unpin(&shared, &key);
                }
                _ => {}
            }
            drop(shared);
            sleep(PAUSE).await;
        }
        pin.is_busy.set(false);
    });
}

fn is_pinned(shared: &Shared, key: &str, pin: &Rc<Pin>) -> bool {
    shared.pins.get(key).is_some_and(|found| Rc::ptr_eq(&found, pin))
}

/// Has the relay tell of a value, and pulls it where it may be another one by now, until neither is to be done, or a push of it
/// is under way.
async fn settle(shared: &Rc<Shared>, key: &str, pin: &Rc<Pin>) -> Result<(), FaasmError> {
    while is_pinned(shared, key, pin) {
        if pin.is_untold.replace(false) {
            let is_new = watch(shared, key).await.inspect_err(|_| pin.is_untold.set(true))?;
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

/// Whether the relay was not told before.
async fn watch(shared: &Shared, key: &str) -> Result<bool, FaasmError> {
    if !shared.connection.has_watches() {
        if !shared.pins.has_warned.replace(true) {
            console_warn(
                "pinned state is pulled once and not kept fresh: the relay is too old to tell of changes",
            );
        }
        return Ok(true);
    }
    match shared.ask(Request::Watch { key: key.to_owned() }, &[]).await? {
        (Reply::Done, _) => Ok(false),
        (Reply::Missing, _) => Ok(true),
        (reply, _) => Err(unexpected(reply)),
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

/// The value, if there is one; the pinned values together are not to be too long.
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
            "`{key}` has {size} bytes; the pinned values may have {MAX_PINNED_BYTES} together: unpin others first"
        );
        return Err(FaasmError::new(Code::TooLarge, message));
    }
    if first.range().end >= size {
        return Ok(Some(first.bytes));
    }
    // All of it as it is at one moment, with what is here already.
    let (size, whole) = read_state(shared, key, 0, Some(size)).await?;
    Ok(size.map(|_| whole.bytes))
}

/// Pulls what is missing of values, some at once. A value for which there is no room is an error, or is left out with a warning.
pub(crate) async fn prefetch(
    shared: &Rc<Shared>,
    keys: Vec<String>,
    leaves_out: bool,
) -> Result<(), FaasmError> {
    if keys.len() > MAX_PREFETCHED {
        let message = format!("{} keys to prefetch; {MAX_PREFETCHED} are allowed", keys.len());
        return Err(FaasmError::new(Code::BadOptions, message));
    }
    let mut wanted: Vec<String> = Vec::new();
    for key in keys {
        // One that is named twice is to have room once.
        if !wanted.contains(&key) {
            wanted.push(key);
        }
    }
    let mut keys = wanted.into_iter();
    let mut fetching: Vec<Task> = Vec::new();
    poll_fn(|cx| {
        loop {
            while fetching.len() < AT_ONCE
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
                Some((at, Err(error))) if leaves_out && error.code == Code::TooLarge => {
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
        let room = Room::take(&shared.pins, key, end.saturating_sub(offset))?;
        if chunk.range().end < end {
            // As it is at one moment.
            (size, chunk) = read_state(shared, key, offset, Some(end - offset)).await?;
        }
        room.keep();
    }
    shared.tier.with(|tier| tier.take_in(key, size, &chunk))?;
    Ok(())
}

/// Room for bytes that are fetched ahead; given back unless they are kept.
struct Room<'a> {
    pins: &'a Pins,
    bytes: u64,
}

impl<'a> Room<'a> {
    fn take(pins: &'a Pins, key: &str, bytes: u64) -> Result<Self, FaasmError> {
        let prefetched = pins.prefetched.get().saturating_add(bytes);
        if pins.bytes().saturating_add(prefetched) > MAX_PINNED_BYTES {
            let message = format!(
                "`{key}` is not prefetched: with its {bytes} bytes, what is pinned and prefetched would have more than {MAX_PINNED_BYTES}"
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

impl Drop for Room<'_> {
    fn drop(&mut self) {
        self.pins.prefetched.set(self.pins.prefetched.get() - self.bytes);
    }
}

//! A thread that works on what waits for it, all at once: many that wait share one write, or one commit.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Least room that an item takes up in a queue, bytes: it has an envelope, too.
const ITEM_BYTES: usize = 1024;

/// How much a queue holds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Most bytes that wait; more of them wait outside.
    pub(super) waiting_bytes: usize,
    /// Most items that are worked on together.
    pub(super) batch: usize,
    /// The same in bytes, unless one item alone has more.
    pub(super) batch_bytes: usize,
}

/// Of the memory that the relay may hold for users, a queue takes up no more than this part, and no less than [`LEAST_BYTES`].
const PART: u64 = 8;
const LEAST_BYTES: usize = 8 * 1024 * 1024;

impl Bounds {
    /// No more than suits a relay that may hold so many bytes for users.
    pub(super) fn within(self, relay: u64) -> Self {
        let most = usize::try_from(relay / PART).unwrap_or(usize::MAX).max(LEAST_BYTES);
        Self { waiting_bytes: self.waiting_bytes.min(most), ..self }
    }
}

/// An item, and the room it takes up while it waits.
struct Item<T> {
    what: T,
    bytes: usize,
    _room: OwnedSemaphorePermit,
}

/// A queue with its thread, which works off everything and ends when this is dropped.
#[derive(Debug)]
pub(super) struct Queue<T> {
    /// `None` ends the thread. Not bounded itself, so that this always fits: the room is.
    sender: UnboundedSender<Option<Item<T>>>,
    room: Arc<Semaphore>,
    bounds: Bounds,
    thread: Option<JoinHandle<()>>,
}

impl<T: Send + 'static> Queue<T> {
    /// Starts the thread. Where `work` panics, what it was given is dropped, and the thread goes on.
    pub(super) fn start(
        name: &str,
        bounds: Bounds,
        mut work: impl FnMut(Vec<T>) + Send + 'static,
    ) -> io::Result<Self> {
        let (sender, mut receiver) = unbounded_channel();
        let working = move || {
            while let Some(batch) = next(&mut receiver, bounds) {
                if catch_unwind(AssertUnwindSafe(|| work(batch))).is_err() {
                    tracing::error!("the store panicked; what it was doing has failed");
                }
            }
        };
        let thread = std::thread::Builder::new().name(name.into()).spawn(working)?;
        let room = Arc::new(Semaphore::new(bounds.waiting_bytes / ITEM_BYTES));
        Ok(Self { sender, room, bounds, thread: Some(thread) })
    }

    fn cost(&self, bytes: usize) -> u32 {
        let most = self.bounds.waiting_bytes / ITEM_BYTES;
        u32::try_from((1 + bytes / ITEM_BYTES).min(most)).unwrap_or(u32::MAX)
    }

    /// Adds an item as soon as there is room.
    pub(super) async fn push(&self, bytes: usize, what: T) {
        let room = Arc::clone(&self.room).acquire_many_owned(self.cost(bytes)).await;
        // Nobody closes it.
        if let Ok(room) = room {
            let _ = self.sender.send(Some(Item { what, bytes, _room: room }));
        }
    }

    /// Adds an item if there is room; whether there was. It is made once there is.
    pub(super) fn try_push(&self, bytes: usize, what: impl FnOnce() -> T) -> bool {
        let room = Arc::clone(&self.room).try_acquire_many_owned(self.cost(bytes));
        room.is_ok_and(|room| {
            self.sender.send(Some(Item { what: what(), bytes, _room: room })).is_ok()
        })
    }
}

/// What waits now, or the next that comes; `None` at the end.
fn next<T>(receiver: &mut UnboundedReceiver<Option<Item<T>>>, bounds: Bounds) -> Option<Vec<T>> {
    let first = receiver.blocking_recv()??;
    let mut bytes = first.bytes;
    let mut batch = vec![first.what];
    while batch.len() < bounds.batch && bytes < bounds.batch_bytes {
        match receiver.try_recv() {
            Ok(Some(item)) => {
                bytes = bytes.saturating_add(item.bytes);
                batch.push(item.what);
            }
            // The end: it is found closed, or empty, the next time.
            Ok(None) => {
                receiver.close();
                break;
            }
            Err(_) => break,
        }
    }
    Some(batch)
}

impl<T> Drop for Queue<T> {
    fn drop(&mut self) {
        let _ = self.sender.send(None);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_bounded_by_the_memory_of_the_relay() {
        let bounds = Bounds { waiting_bytes: 512 << 20, batch: 1, batch_bytes: 1 };
        let waiting = |relay| bounds.within(relay).waiting_bytes;
        assert_eq!(waiting(u64::MAX), 512 << 20);
        assert_eq!(waiting(1 << 30), 128 << 20);
        assert_eq!(waiting(0), LEAST_BYTES);
    }

    #[test]
    fn what_there_is_no_room_for_is_not_made() {
        let bounds = Bounds { waiting_bytes: 2 * ITEM_BYTES, batch: 1, batch_bytes: 1 };
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let work = move |_: Vec<Vec<u8>>| {
            let _ = wait.recv();
        };
        let queue = Queue::start("test", bounds, work).unwrap();
        let _all = Arc::clone(&queue.room).try_acquire_many_owned(2).unwrap();
        assert!(!queue.try_push(ITEM_BYTES, || panic!("it is not to be made")));
        drop(go);
    }
}

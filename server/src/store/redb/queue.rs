//! A thread that processes all pending items at once: they share one write, or one commit.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Minimum size that an item counts for, bytes: it has an envelope, too.
const ITEM_BYTES: usize = 1024;

/// Limits of a queue.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Maximum total bytes of queued items; beyond it, producers wait.
    pub(super) waiting_bytes: usize,
    /// Maximum number of items in a batch.
    pub(super) batch: usize,
    /// Maximum bytes of a batch, unless a single item is larger.
    pub(super) batch_bytes: usize,
}

/// A queue may use this fraction of the memory that the relay may hold for users, and at least [`LEAST_BYTES`].
const PART: u64 = 8;
const LEAST_BYTES: usize = 8 * 1024 * 1024;

impl Bounds {
    /// Limits for a relay that may hold this many bytes for users.
    pub(super) fn within(self, relay: u64) -> Self {
        let most = usize::try_from(relay / PART).unwrap_or(usize::MAX).max(LEAST_BYTES);
        Self { waiting_bytes: self.waiting_bytes.min(most), ..self }
    }
}

/// An item, and the permit for its bytes while it is queued.
struct Item<T> {
    what: T,
    bytes: usize,
    _room: OwnedSemaphorePermit,
}

/// A queue with its thread. Dropping it processes the remaining items and ends the thread.
#[derive(Debug)]
pub(super) struct Queue<T> {
    /// `None` ends the thread. The channel is unbounded, so that this always fits; the permits bound the queue.
    sender: UnboundedSender<Option<Item<T>>>,
    room: Arc<Semaphore>,
    bounds: Bounds,
    thread: Option<JoinHandle<()>>,
}

impl<T: Send + 'static> Queue<T> {
    /// Starts the thread. If `work` panics, its batch is dropped, and the thread continues.
    pub(super) fn start(
        name: &str,
        bounds: Bounds,
        mut work: impl FnMut(Vec<T>) + Send + 'static,
    ) -> io::Result<Self> {
        let (sender, mut receiver) = unbounded_channel();
        let working = move || {
            while let Some(batch) = next(&mut receiver, bounds) {
                if catch_unwind(AssertUnwindSafe(|| work(batch))).is_err() {
                    tracing::error!("the store panicked; the operations in progress failed");
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

    /// Adds an item, waiting for capacity.
    pub(super) async fn push(&self, bytes: usize, what: T) {
        let room = Arc::clone(&self.room).acquire_many_owned(self.cost(bytes)).await;
        // The semaphore is never closed.
        if let Ok(room) = room {
            let _ = self.sender.send(Some(Item { what, bytes, _room: room }));
        }
    }

    /// Adds an item if the queue has capacity, and returns whether it has. `what` is called only then.
    pub(super) fn try_push(&self, bytes: usize, what: impl FnOnce() -> T) -> bool {
        let room = Arc::clone(&self.room).try_acquire_many_owned(self.cost(bytes));
        room.is_ok_and(|room| {
            self.sender.send(Some(Item { what: what(), bytes, _room: room })).is_ok()
        })
    }
}

/// The pending items, or the next one; `None` at the end.
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
            // The end marker: the next call finds the channel closed, or empty.
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
    fn queues_are_bounded_by_the_memory_of_the_relay() {
        let bounds = Bounds { waiting_bytes: 512 << 20, batch: 1, batch_bytes: 1 };
        let waiting = |relay| bounds.within(relay).waiting_bytes;
        assert_eq!(waiting(u64::MAX), 512 << 20);
        assert_eq!(waiting(1 << 30), 128 << 20);
        assert_eq!(waiting(0), LEAST_BYTES);
    }

    #[test]
    fn an_item_that_does_not_fit_is_not_created() {
        let bounds = Bounds { waiting_bytes: 2 * ITEM_BYTES, batch: 1, batch_bytes: 1 };
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let work = move |_: Vec<Vec<u8>>| {
            let _ = wait.recv();
        };
        let queue = Queue::start("test", bounds, work).unwrap();
        let _all = Arc::clone(&queue.room).try_acquire_many_owned(2).unwrap();
        assert!(!queue.try_push(ITEM_BYTES, || panic!("must not be created")));
        drop(go);
    }
}

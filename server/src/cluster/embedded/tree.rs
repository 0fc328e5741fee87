//! A call tree: the root call and all its descendants. They share one deadline and are cancelled together.
//!
//! ```text
//!   the root returns, traps or exits       its chained calls continue until the deadline
//!   the root reaches the deadline          all calls are cancelled: the deadline is shared
//!   the root's future is dropped           all other calls are cancelled
//! ```

use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// State shared by all calls of a tree; clones are handles to the same tree.
#[derive(Clone)]
pub(super) struct Tree {
    inner: Arc<Inner>,
}

struct Inner {
    time: Duration,
    /// Set when the root starts to run: lookup and compilation do not count.
    deadline: OnceLock<Instant>,
    is_cancelled: watch::Sender<bool>,
}

/// Why a call of a tree was stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CutOff {
    /// The tree reached its deadline.
    Deadline(Duration),
    Cancelled,
}

/// The root's guard: dropping it cancels the other calls, unless the root has ended by itself.
pub(super) struct Root {
    tree: Tree,
    has_ended: bool,
}

impl Tree {
    /// A tree whose deadline is `time` after its root starts to run.
    pub(super) fn new(time: Duration) -> (Self, Root) {
        let is_cancelled = watch::Sender::new(false);
        let inner = Inner { time, deadline: OnceLock::new(), is_cancelled };
        let tree = Self { inner: Arc::new(inner) };
        let root = Root { tree: tree.clone(), has_ended: false };
        (tree, root)
    }

    /// Runs `work` until the tree's deadline or cancellation. Stopped work is dropped before this returns.
    pub(super) async fn within<T>(&self, work: impl Future<Output = T>) -> Result<T, CutOff> {
        let inner = &self.inner;
        let deadline = *inner.deadline.get_or_init(|| {
            let now = Instant::now();
            now.checked_add(inner.time).unwrap_or(now + Duration::from_secs(86_400))
        });
        let mut is_cancelled = inner.is_cancelled.subscribe();
        tokio::select! {
            biased;
            // The sender lives as long as the tree does.
            _ = is_cancelled.wait_for(|is_cancelled| *is_cancelled) => Err(CutOff::Cancelled),
            () = tokio::time::sleep_until(deadline) => Err(CutOff::Deadline(inner.time)),
            done = work => Ok(done),
        }
    }
}

impl Root {
    /// Records that the root has ended by itself, so its chained calls continue.
    pub(super) fn ended(mut self) {
        self.has_ended = true;
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        if !self.has_ended {
            self.tree.inner.is_cancelled.send_replace(true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::{pending, ready};

    const TIME: Duration = Duration::from_secs(2);

    #[tokio::test]
    async fn what_begins_late_has_what_is_left() {
        let (tree, root) = Tree::new(TIME);
        let began = Instant::now();
        assert_eq!(tree.within(ready(())).await, Ok(()));
        root.ended();
        assert_eq!(tree.within(pending::<()>()).await, Err(CutOff::Deadline(TIME)));
        let ended = Instant::now();
        assert!(ended - began >= TIME);
        assert_eq!(tree.within(pending::<()>()).await, Err(CutOff::Deadline(TIME)));
        assert!(ended.elapsed() < TIME, "a chained call has no deadline of its own");
    }

    #[tokio::test]
    async fn a_tree_is_cancelled_with_a_root_that_has_not_ended() {
        let (tree, root) = Tree::new(Duration::from_secs(60));
        let descendant = tree.clone();
        let descendant = tokio::spawn(async move { descendant.within(pending::<()>()).await });
        tokio::task::yield_now().await;
        drop(root);
        assert_eq!(descendant.await.unwrap(), Err(CutOff::Cancelled));
        assert_eq!(tree.within(ready(())).await, Err(CutOff::Cancelled));
        let (tree, root) = Tree::new(TIME);
        root.ended();
        assert_eq!(tree.within(ready(())).await, Ok(()));
    }
}

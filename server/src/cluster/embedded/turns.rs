//! Fair scheduling: a limited number of functions run at once, round-robin among users.
//!
//! A running function yields at each tick of the epoch. With more functions than processors, one user's functions could
//! starve those of others. So each poll of a run needs a turn; turns go round-robin among users, and first come, first
//! served within a user.

use super::lock;
use std::collections::{HashMap, HashSet, VecDeque};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

/// The scheduler of turns.
pub(super) struct Turns {
    queue: Mutex<Queue>,
}

struct Queue {
    free: usize,
    last_ticket: u64,
    /// Users with waiting functions, in the order of their turns.
    order: VecDeque<String>,
    /// Tickets of each user's waiting functions, in order.
    waiting: HashMap<String, VecDeque<u64>>,
    /// Wakers of waiting functions. `given` has the tickets that have a turn but have not been polled since.
    wakers: HashMap<u64, Waker>,
    given: HashSet<u64>,
}

impl Turns {
    pub(super) fn new(processors: usize) -> Arc<Self> {
        let queue = Queue {
            free: processors.max(1),
            last_ticket: 0,
            order: VecDeque::new(),
            waiting: HashMap::new(),
            wakers: HashMap::new(),
            given: HashSet::new(),
        };
        Arc::new(Self { queue: Mutex::new(queue) })
    }

    /// Polls `work`, which runs functions of this user, in turns.
    pub(super) fn take<F: Future>(turns: &Arc<Self>, user: &str, work: F) -> Taking<F> {
        Taking {
            turns: Arc::clone(turns),
            user: user.to_owned(),
            ticket: None,
            work: Box::pin(work),
        }
    }
}

impl Queue {
    /// Whether a turn was acquired; otherwise `waker` is queued.
    fn poll(&mut self, user: &str, ticket: &mut Option<u64>, waker: &Waker) -> bool {
        match *ticket {
            None if self.free > 0 => {
                self.free -= 1;
                true
            }
            None => {
                self.last_ticket += 1;
                let new = self.last_ticket;
                *ticket = Some(new);
                self.wakers.insert(new, waker.clone());
                if !self.waiting.contains_key(user) {
                    self.order.push_back(user.to_owned());
                }
                self.waiting.entry(user.to_owned()).or_default().push_back(new);
                false
            }
            Some(given) if self.given.remove(&given) => {
                *ticket = None;
                true
            }
            Some(waiting) => {
                self.wakers.insert(waiting, waker.clone());
                false
            }
        }
    }

    /// Ends a turn and passes it to the next in the queue.
    fn pass_on(&mut self) -> Option<Waker> {
        let Some(user) = self.order.pop_front() else {
            self.free += 1;
            return None;
        };
        let next = self.waiting.get_mut(&user).and_then(VecDeque::pop_front);
        match self.waiting.get(&user) {
            Some(rest) if !rest.is_empty() => self.order.push_back(user),
            _ => {
                self.waiting.remove(&user);
            }
        }
        let Some(next) = next else {
            self.free += 1;
            return None;
        };
        self.given.insert(next);
        self.wakers.remove(&next)
    }

    /// Removes a ticket whose future was dropped.
    fn leave(&mut self, user: &str, ticket: u64) -> Option<Waker> {
        self.wakers.remove(&ticket);
        if self.given.remove(&ticket) {
            return self.pass_on();
        }
        if let Some(waiting) = self.waiting.get_mut(user) {
            waiting.retain(|waiting| *waiting != ticket);
            if waiting.is_empty() {
                self.waiting.remove(user);
                self.order.retain(|waiting| waiting != user);
            }
        }
        None
    }
}

/// A future that is polled in turns.
pub(super) struct Taking<F> {
    turns: Arc<Turns>,
    user: String,
    /// Ticket in the queue.
    ticket: Option<u64>,
    work: Pin<Box<F>>,
}

/// A turn, passed on when dropped, also if the work panics.
struct Turn<'a>(&'a Turns);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let waker = lock(&self.0.queue).pass_on();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<F: Future> Future for Taking<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let Taking { turns, user, ticket, work } = &mut *self;
        if !lock(&turns.queue).poll(user, ticket, cx.waker()) {
            return Poll::Pending;
        }
        let _turn = Turn(turns);
        work.as_mut().poll(cx)
    }
}

impl<F> Drop for Taking<F> {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket else { return };
        let waker = lock(&self.turns.queue).leave(&self.user, ticket);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;

    fn poll<F: Future>(taking: &mut Pin<Box<Taking<F>>>) -> Poll<F::Output> {
        taking.as_mut().poll(&mut Context::from_waker(Waker::noop()))
    }

    /// Queues for a turn, and has it once it is polled again after others passed theirs on.
    fn ask(turns: &Arc<Turns>, user: &str) -> Pin<Box<Taking<impl Future<Output = ()> + use<>>>> {
        Box::pin(Turns::take(turns, user, poll_fn(|_| Poll::Ready(()))))
    }

    #[test]
    fn users_take_turns() {
        let turns = Turns::new(1);
        lock(&turns.queue).free = 0;
        let mut asking: Vec<_> =
            ["eve", "eve", "eve", "ada", "bob", "ada"].map(|user| ask(&turns, user)).into();
        assert!(asking.iter_mut().all(|asking| poll(asking).is_pending()));
        let mut order = Vec::new();
        drop(Turn(&turns));
        while order.len() < asking.len() {
            // Each passes its turn on as it ends.
            let done = (0..asking.len())
                .find(|at| !order.contains(at) && poll(&mut asking[*at]).is_ready());
            order.push(done.expect("one future has a turn"));
        }
        assert_eq!(order, [0, 3, 4, 1, 5, 2]);
        assert_eq!(lock(&turns.queue).free, 1);
    }

    #[test]
    fn who_leaves_passes_on_what_was_given() {
        let turns = Turns::new(1);
        lock(&turns.queue).free = 0;
        let [mut first, mut second, mut third] = ["a", "b", "c"].map(|user| ask(&turns, user));
        assert!(poll(&mut first).is_pending() && poll(&mut second).is_pending());
        assert!(poll(&mut third).is_pending());
        drop(second);
        drop(Turn(&turns));
        drop(first);
        assert!(poll(&mut third).is_ready());
        drop(third);
        let queue = lock(&turns.queue);
        assert_eq!(queue.free, 1);
        assert!(queue.order.is_empty() && queue.waiting.is_empty() && queue.given.is_empty());
        assert!(queue.wakers.is_empty());
    }
}

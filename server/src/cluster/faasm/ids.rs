//! Ids of apps and messages. An app's id gives access to its results, and a reused id breaks a planner. So ids are
//! random, are not revealed to pages, and are not reused while they are remembered.

use super::lock;
use std::collections::{HashSet, VecDeque};
use std::sync::Mutex;

/// Most ids that are remembered.
const REMEMBERED: usize = 256 * 1024;

/// A generator of ids.
#[derive(Debug, Default)]
pub(super) struct Ids(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    all: HashSet<i32>,
    oldest_first: VecDeque<i32>,
}

impl Ids {
    /// A fresh id between 1 and `i32::MAX`.
    ///
    /// # Errors
    /// The system's random generator failed.
    pub(super) fn mint(&self) -> Result<i32, getrandom::Error> {
        loop {
            let id = (getrandom::u32()? >> 1) as i32;
            if id != 0 && lock(&self.0).learn(id) {
                return Ok(id);
            }
        }
    }
}

impl Known {
    /// Remembers an id; returns whether it was new.
    fn learn(&mut self, id: i32) -> bool {
        if !self.all.insert(id) {
            return false;
        }
        self.oldest_first.push_back(id);
        if self.oldest_first.len() > REMEMBERED
            && let Some(oldest) = self.oldest_first.pop_front()
        {
            self.all.remove(&oldest);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_comes_once_while_it_is_remembered_and_memory_is_bounded() {
        let mut known = Known::default();
        assert!(known.learn(7) && !known.learn(7));
        for id in 0..REMEMBERED as i32 {
            known.learn(1000 + id);
        }
        assert!(known.learn(7), "forgotten by now");
        assert_eq!((known.all.len(), known.oldest_first.len()), (REMEMBERED, REMEMBERED));
    }

    #[test]
    fn ids_are_all_over_the_positive_range() {
        let ids = Ids::default();
        let minted: Vec<i32> = (0..1000).map(|_| ids.mint().unwrap()).collect();
        assert!(minted.iter().all(|id| *id > 0));
        let above = minted.iter().filter(|id| **id > i32::MAX / 2).count();
        // Half of them; twenty standard deviations away from none.
        assert!((300..700).contains(&above), "{above} in the upper half");
    }
}

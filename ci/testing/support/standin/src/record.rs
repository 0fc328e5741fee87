//! The requests that a planner received, for tests to inspect.

use crate::lock;
use crate::message::Asked;
use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;

/// Maximum number of requests that are kept; all are counted.
const MAX_KEPT: usize = 100_000;

#[derive(Default)]
pub(crate) struct Record {
    pub(crate) all: Vec<Asked>,
    pub(crate) counts: BTreeMap<String, u64>,
    /// Concurrent status requests by app, and their maximum so far.
    under_way: HashMap<i32, usize>,
    pub(crate) most_under_way: usize,
    pub(crate) most_of_all: usize,
}

impl Record {
    pub(crate) fn note(&mut self, kind: &str, app: Option<i32>, payload: &str) {
        *self.counts.entry(kind.to_owned()).or_default() += 1;
        if self.all.len() < MAX_KEPT {
            let payload = payload.to_owned();
            self.all.push(Asked { kind: kind.to_owned(), app, payload });
        }
    }
}

/// A status request that is being answered.
pub(crate) struct UnderWay<'a> {
    record: &'a Mutex<Record>,
    app: i32,
}

impl<'a> UnderWay<'a> {
    pub(crate) fn begin(record: &'a Mutex<Record>, app: i32) -> Self {
        let mut asked = lock(record);
        let count = asked.under_way.entry(app).or_default();
        *count += 1;
        let count = *count;
        asked.most_under_way = asked.most_under_way.max(count);
        let all = asked.under_way.values().sum();
        asked.most_of_all = asked.most_of_all.max(all);
        Self { record, app }
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        if let Some(count) = lock(self.record).under_way.get_mut(&self.app) {
            *count -= 1;
        }
    }
}

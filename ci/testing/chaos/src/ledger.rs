//! The requests and their reported outcomes, and the check of the final state against them.

use crate::functions::NAME_BYTES;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Maximum number of violations that are described.
const MAX_DESCRIBED: usize = 20;

/// Which list a request appends its name to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A call: the list of calls.
    Call,
    /// An append by a page: the list of pages.
    Append,
}

/// The outcome that a page knows of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// Performed: exactly once.
    Done,
    /// Outcome unknown: at most once.
    Unknown,
    /// Not performed: never.
    Refused,
}

/// Kinds of violations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Violation {
    /// Reported as done, but missing.
    Lost,
    /// Performed more than once.
    Twice,
    /// Reported as refused, but performed.
    RefusedAndDone,
    /// Neither answered nor given up.
    Unanswered,
    /// A reply that belongs to another request, or state that no possible history explains.
    Wrong,
}

/// All requests so far.
#[derive(Debug, Default)]
pub struct Ledger(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    entries: Vec<(Kind, Option<Outcome>)>,
    /// Operations on state other than appends, by outcome.
    others: BTreeMap<Outcome, u64>,
    violations: BTreeMap<Violation, u64>,
    descriptions: Vec<String>,
}

impl Inner {
    fn violate(&mut self, violation: Violation, what: String) {
        *self.violations.entry(violation).or_default() += 1;
        if self.descriptions.len() < MAX_DESCRIBED {
            self.descriptions.push(format!("{violation:?}: {what}"));
        }
    }
}

impl Ledger {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers a request under a unique name.
    pub fn register(&self, kind: Kind) -> [u8; NAME_BYTES] {
        let mut inner = self.lock();
        let number = inner.entries.len() as u64;
        inner.entries.push((kind, None));
        name(number)
    }

    pub fn record(&self, name: [u8; NAME_BYTES], outcome: Outcome) {
        let mut inner = self.lock();
        let entry = number(&name).and_then(|number| inner.entries.get_mut(number));
        if let Some((_, reported)) = entry {
            *reported = Some(outcome);
        }
    }

    /// Counts an operation that appends no name.
    pub fn count_other(&self, outcome: Outcome) {
        *self.lock().others.entry(outcome).or_default() += 1;
    }

    pub fn violate(&self, violation: Violation, what: String) {
        self.lock().violate(violation, what);
    }

    /// Compares the requests with the final list.
    pub fn check(&self, kind: Kind, list: &[u8]) {
        let mut inner = self.lock();
        let mut counts = vec![0_u64; inner.entries.len()];
        if !list.len().is_multiple_of(NAME_BYTES) {
            inner.violate(
                Violation::Wrong,
                format!("the list of {kind:?}s ends with a partial name"),
            );
        }
        for element in list.chunks(NAME_BYTES) {
            match number(element) {
                Some(number) if inner.entries.get(number).is_some_and(|e| e.0 == kind) => {
                    counts[number] += 1;
                }
                _ => inner.violate(
                    Violation::Wrong,
                    format!("unknown element {element:?} in the list of {kind:?}s"),
                ),
            }
        }
        for (number, count) in counts.into_iter().enumerate() {
            let (found, outcome) = inner.entries[number];
            if found != kind {
                continue;
            }
            let violation = match (outcome, count) {
                (_, 2..) => Violation::Twice,
                (Some(Outcome::Done), 0) => Violation::Lost,
                (Some(Outcome::Refused), 1) => Violation::RefusedAndDone,
                _ => continue,
            };
            inner.violate(
                violation,
                format!("{kind:?} {number}: reported as {outcome:?}, {count} times in the list"),
            );
        }
    }

    /// Records a violation for each request without a reported outcome.
    pub fn check_answered(&self) {
        let mut inner = self.lock();
        let entries = inner.entries.iter().enumerate();
        let untold: Vec<usize> = entries
            .filter(|(_, (_, reported))| reported.is_none())
            .map(|(number, _)| number)
            .collect();
        for number in untold {
            let kind = inner.entries[number].0;
            inner.violate(Violation::Unanswered, format!("{kind:?} {number}"));
        }
    }

    pub fn violations(&self, violation: Violation) -> u64 {
        self.lock().violations.get(&violation).copied().unwrap_or(0)
    }

    /// Descriptions of some of the violations.
    pub fn descriptions(&self) -> Vec<String> {
        self.lock().descriptions.clone()
    }

    /// Number of calls or appends with this outcome.
    pub fn count(&self, kind: Kind, outcome: Outcome) -> u64 {
        let inner = self.lock();
        let reported =
            inner.entries.iter().filter(|entry| **entry == (kind, Some(outcome))).count();
        let others = match kind {
            Kind::Call => 0,
            Kind::Append => inner.others.get(&outcome).copied().unwrap_or(0),
        };
        reported as u64 + others
    }
}

/// A number, and the same number mixed with a constant, so that no other bytes are a valid name.
fn name(number: u64) -> [u8; NAME_BYTES] {
    let mut name = [0; NAME_BYTES];
    name[..8].copy_from_slice(&number.to_le_bytes());
    name[8..].copy_from_slice(&(number ^ 0x6368_616f_7321_2121).to_le_bytes());
    name
}

fn number(bytes: &[u8]) -> Option<usize> {
    let number = u64::from_le_bytes(bytes.get(..8)?.try_into().ok()?);
    (bytes == name(number)).then(|| usize::try_from(number).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_compared_with_what_is_there() {
        let ledger = Ledger::default();
        let tell = |outcome| {
            let name = ledger.register(Kind::Call);
            ledger.record(name, outcome);
            name
        };
        let done = [tell(Outcome::Done), tell(Outcome::Done), tell(Outcome::Done)];
        let unknown = [tell(Outcome::Unknown), tell(Outcome::Unknown), tell(Outcome::Unknown)];
        let refused = [tell(Outcome::Refused), tell(Outcome::Refused)];
        ledger.register(Kind::Append);
        let twice = [done[1], done[1], unknown[1], unknown[1]];
        let list = [&[done[0], unknown[0], refused[0]][..], &twice].concat().concat();
        ledger.check(Kind::Call, &list);
        ledger.check_answered();
        let found = |violation| ledger.violations(violation);
        assert_eq!((found(Violation::Lost), found(Violation::Twice)), (1, 2));
        assert_eq!((found(Violation::RefusedAndDone), found(Violation::Unanswered)), (1, 1));
        assert_eq!(found(Violation::Wrong), 0);
        ledger.check(Kind::Append, &done[0][..9]);
        assert_eq!(found(Violation::Wrong), 2, "a partial name is not a name");
    }
}

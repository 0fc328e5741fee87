//! The memory of a tier against a limit.

use super::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const MIB: u64 = 1 << 20;

#[derive(Debug)]
struct Bound {
    most: u64,
    used: Arc<AtomicU64>,
}

impl Meter for Bound {
    fn has(&self, bytes: u64) -> bool {
        self.used.load(Ordering::Relaxed) + bytes <= self.most
    }

    fn grow(&mut self, bytes: u64) -> Result<(), String> {
        if !self.has(bytes) {
            return Err("there is no more".to_owned());
        }
        self.grown(bytes);
        Ok(())
    }

    fn grown(&mut self, bytes: u64) {
        self.used.fetch_add(bytes, Ordering::Relaxed);
    }

    fn shrink(&mut self, bytes: u64) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

fn tier(most: u64) -> (LocalTier, Arc<AtomicU64>) {
    let used = Arc::new(AtomicU64::new(0));
    let bound = Bound { most, used: Arc::clone(&used) };
    (LocalTier::metered(Box::new(bound)), used)
}

fn is_over(result: Result<impl Sized, StateError>) -> bool {
    matches!(result, Err(StateError::OverBudget { .. }))
}

#[test]
fn unsent_values_stay_within_the_limit() {
    let (mut tier, used) = tier(4 * MIB);
    let value = vec![7; MIB as usize];
    for key in ["a", "b", "c"] {
        tier.write(key, MIB, 0, &value).unwrap();
    }
    assert!(is_over(tier.write("d", MIB, 0, &value)));
    assert_eq!(tier.get("d").map(Value::size), None);
    assert_eq!(used.load(Ordering::Relaxed), tier.used());
    assert!(tier.used() > 3 * MIB && tier.used() < 4 * MIB);
    // Values that were sent can be evicted.
    tier.take_dirty("b").unwrap();
    tier.write("d", MIB, 0, &value).unwrap();
    assert!(tier.get("b").is_none() && tier.get("a").is_some());
    let (unsent, freed) = tier.drop_unsent();
    assert_eq!(unsent, ["a", "c", "d"]);
    assert!(freed > 3 * MIB);
    assert_eq!((tier.used(), used.load(Ordering::Relaxed)), (0, 0));
}

#[test]
fn held_copies_are_not_evicted() {
    let (mut tier, _) = tier(u64::MAX);
    tier.fill("k", 4, &Chunk { offset: 0, bytes: vec![1; 4].into() }).unwrap();
    tier.hold("k");
    tier.hold("k");
    tier.let_go("k");
    assert_eq!(tier.evict(), 0);
    tier.let_go("k");
    assert!(tier.evict() > 4);
    assert!(tier.get("k").is_none());
}

#[test]
fn sizes_keys_ranges_and_locks_count() {
    let (mut sparse, _) = tier(MIB);
    assert!(is_over(sparse.open("k", 1 << 30)), "its bytes count before any is written");
    let long = "k".repeat(MIB as usize);
    assert!(is_over(sparse.open(&long, 1)));
    let run = sparse.new_run();
    assert!(is_over(sparse.lock(run, &long, LockMode::Read)));
    assert_eq!(sparse.used(), 0);
    let written = (0..).find(|at| is_over(sparse.write("k", 100_000, at * 2, &[1])));
    assert!(written.unwrap() < 20_000, "every other byte is a range of its own");
    for key in 0..100 {
        let _ = sparse.lock(run, &key.to_string(), LockMode::Write);
    }
    sparse.release(run);
    sparse.drop_unsent();
    assert_eq!(sparse.used(), 0);
}

#[test]
fn the_parts_selected_by_a_mask_are_bounded() {
    let (mut tier, _) = tier(u64::MAX);
    let size = 2 * MAX_MASKED_PARTS as u64 + 2;
    let mask: Vec<u8> = (0..size).map(|at| (at % 2) as u8).collect();
    tier.write("k", size, 0, &vec![1; size as usize]).unwrap();
    tier.write("m", size, 0, &mask).unwrap();
    assert!(matches!(tier.take_masked("k", "m"), Err(StateError::TooFragmented { .. })));
    assert!(tier.get("k").unwrap().is_dirty(), "nothing was taken");
}

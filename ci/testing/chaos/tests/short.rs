//! A short run with real relays. The ledger's own tests show that it detects violations.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use faasm_chaos::campaign::{self, Settings};
use faasm_chaos::ledger::{Kind, Outcome};
use faasm_chaos::report;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_and_nothing_happens_twice() {
    let folder = tempfile::tempdir().unwrap();
    let time = Duration::from_secs(60);
    let settings = Settings { seed: 1, calls: 1500, operations: 1500, time, redis: false };
    let (ledger, events) = campaign::run(&settings, folder.path()).await.unwrap();
    assert!(report::is_clean(&ledger), "{events:?}: {:#?}", ledger.descriptions());
    // A run without these faults would prove nothing.
    assert!(ledger.count(Kind::Call, Outcome::Done) > 700, "{events:?}");
    assert!(ledger.count(Kind::Append, Outcome::Done) > 700, "{events:?}");
    assert!(events.kills > 1 && events.connections > 30 && events.network.len() > 3, "{events:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_and_nothing_happens_twice_over_a_redis_that_fails() {
    let folder = tempfile::tempdir().unwrap();
    let time = Duration::from_secs(25);
    let settings = Settings { seed: 1, calls: 2500, operations: 2500, time, redis: true };
    let (ledger, events) = campaign::run(&settings, folder.path()).await.unwrap();
    assert!(report::is_clean(&ledger), "{events:?}: {:#?}", ledger.descriptions());
    assert!(ledger.count(Kind::Call, Outcome::Done) > 100, "{events:?}");
    assert!(ledger.count(Kind::Append, Outcome::Done) > 200, "{events:?}");
    let of_redis = events.redis_kills + events.redis_pauses + events.redis_cuts;
    assert!(events.kills > 1 && of_redis > 1 && events.connections > 20, "{events:?}");
}

//! The copies that a run holds in the local tier, and which calls access them.

use super::testing::Run;
use super::*;
use crate::host::HostCall as C;

fn state(bytes: &[u8], offset: u64, size: u64) -> Completion {
    Completion::State { size: Some(size), chunk: Chunk { offset, bytes: bytes.to_vec().into() } }
}

#[test]
fn a_copy_is_not_evicted_during_a_read() {
    let mut run = Run::new(b"");
    let key = run.put(100, b"k\0");
    run.begin(C::ReadStateOffset, &[key, 4, 0, 200, 2]).unwrap();
    run.guest.complete(state(b"ab", 0, 4)).unwrap();
    run.finish().unwrap();
    // Half of the value is present, and the rest is being pulled.
    run.begin(C::ReadStateOffset, &[key, 4, 0, 200, 4]).unwrap();
    assert_eq!(run.tier.evict(), 0);
    run.guest.complete(state(b"cd", 2, 4)).unwrap();
    run.finish().unwrap();
    assert_eq!(run.bytes(200, 4), b"abcd");
    assert!(run.tier.evict() > 0);
}

#[test]
fn a_copy_is_not_evicted_during_a_push() {
    for cut_off in [false, true] {
        let mut run = Run::new(b"");
        let key = run.put(100, b"k\0");
        let bytes = run.put(200, b"ab");
        run.call(C::WriteState, &[key, bytes, 2]).unwrap();
        run.begin(C::PushState, &[key]).unwrap();
        assert_eq!(run.tier.evict(), 0);
        if cut_off {
            run.guest.abandon(&mut run.tier);
            assert_eq!(run.tier.evict(), 0, "it is dirty again");
        } else {
            run.guest.complete(Completion::Done).unwrap();
            run.finish().unwrap();
            assert!(run.tier.evict() > 0);
        }
    }
}

#[test]
fn a_mapped_copy_is_not_evicted_before_the_run_ends() {
    let mut run = Run::new(b"");
    let key = run.put(100, b"k\0");
    run.begin(C::ReadStatePtr, &[key, 4]).unwrap();
    run.guest.complete(state(b"abcd", 0, 4)).unwrap();
    assert_eq!(run.finish(), Ok(Finish::Allocate { bytes: 4 }));
    assert_eq!(run.tier.evict(), 0, "held while the guest's malloc runs");
    run.guest.allocated(1000).unwrap();
    run.finish().unwrap();
    assert_eq!(run.tier.evict(), 0);
    assert_eq!(run.guest.held_bytes(), Run::new(b"").guest.held_bytes() + 4 + 1);
    run.guest.end(&mut run.host, &mut run.tier);
    assert!(run.tier.evict() > 0);
}

#[test]
fn calls_that_are_not_about_state_need_no_tier() {
    let mut run = Run::new(b"");
    assert!(run.guest.uses_tier(C::WriteState) && run.guest.uses_tier(C::WriteStateFromFile));
    assert!(!run.guest.uses_tier(C::FdWrite) && !run.guest.uses_tier(C::AwaitCall));
    let key = run.put(100, b"k\0");
    run.begin(C::PullState, &[key, 0]).unwrap();
    assert!(run.guest.uses_tier(C::AwaitCall), "a pull is in progress");
    run.guest.complete(state(b"abcd", 0, 4)).unwrap();
    run.finish().unwrap();
    run.begin(C::ReadStatePtr, &[key, 4]).unwrap();
    run.finish().unwrap();
    run.guest.allocated(1000).unwrap();
    run.finish().unwrap();
    assert!(run.guest.uses_tier(C::AwaitCall), "writes to the mapping are absorbed into the tier");
    assert!(!run.guest.uses_tier(C::FdWrite));
}

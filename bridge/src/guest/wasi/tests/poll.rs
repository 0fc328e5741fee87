//! Waiting for clocks and descriptors.

use super::*;
use crate::guest::{Begin, Finish, Sleep};

#[test]
fn polling_descriptors() {
    let mut run = Run::new(b"input");
    for (slot, kind, descriptor) in [(0_usize, 1, 0), (48, 2, 1), (96, 1, 9)] {
        run.host.memory[slot] = slot as u8 + 1;
        run.host.memory[slot + 8] = kind;
        run.host.memory[slot + 16] = descriptor;
    }
    assert_eq!(run.ready(C::PollOneoff, &[0, 400, 3, 300]), 0);
    assert_eq!(run.host.read_u32(300), Ok(3));
    assert_eq!((run.bytes(408, 3), run.host.read_u64(416)), (vec![0, 0, 1], Ok(5)));
    assert_eq!(run.bytes(432 + 8, 3), [0, 0, 2]);
    assert_eq!(run.bytes(464 + 8, 3), [8, 0, 1], "not open");
    run.host.memory[8] = 3;
    assert_eq!(run.ready(C::PollOneoff, &[0, 400, 3, 300]), 28);
}

/// Puts a subscription to a clock, with its number as user data.
fn clock(run: &mut Run, number: u32, timeout: u64, absolute: bool) {
    let at = number * 48;
    let monotonic = 1_u32;
    run.put(at, &u64::from(number).to_le_bytes());
    run.put(at + 16, &monotonic.to_le_bytes());
    run.put(at + 24, &timeout.to_le_bytes());
    run.put(at + 40, &u16::from(absolute).to_le_bytes());
}

/// Sleeps for `expected`, after which the clock shows `now`; gives the user data of the events.
fn poll(run: &mut Run, count: u32, expected: u64, now: u64) -> Vec<u64> {
    let sleep = Operation::Sleep(Sleep::lasting(expected, &run.host));
    let args = [0, 400, count.into(), 300];
    assert_eq!(run.begin(C::PollOneoff, &args), Ok(Begin::Wait(sleep)));
    run.host.now = now;
    run.guest.complete(Completion::Done).unwrap();
    assert_eq!(run.finish(), Ok(Finish::Return(0)));
    let events = run.host.read_u32(300).unwrap();
    (0..events).map(|event| run.host.read_u64(400 + event * 32).unwrap()).collect()
}

#[test]
fn polling_reports_the_clocks_that_are_due() {
    let mut run = Run::new(b"");
    run.host.now = 1_000;
    clock(&mut run, 0, 60, false);
    clock(&mut run, 1, 1_100, true);
    clock(&mut run, 2, 200, false);
    assert_eq!(poll(&mut run, 3, 60, 1_060), [0]);
    // It was woken late.
    clock(&mut run, 1, 1_160, true);
    assert_eq!(poll(&mut run, 3, 60, 1_165), [0, 1]);
    // Its clock ticks rarely: the first to come is reported, and not a second one.
    clock(&mut run, 1, 1_235, true);
    assert_eq!(poll(&mut run, 3, 60, 1_224), [0]);
    // One that is due already does not wait, whatever else there is.
    clock(&mut run, 1, 1_000, true);
    assert_eq!(run.ready(C::PollOneoff, &[0, 400, 3, 300]), 0);
    assert_eq!((run.host.read_u32(300), run.host.read_u64(400)), (Ok(1), Ok(1)));
}

//! The kernel against a host made of plain vectors.

use super::testing::Run;
use super::*;
use crate::host::HostCall as C;

#[test]
fn input_is_measured_and_copied() {
    let mut run = Run::new(b"hello");
    assert_eq!(run.call(C::ReadInput, &[0, 0]), Ok(5));
    assert_eq!(run.call(C::ReadInput, &[16, 3]), Ok(3));
    assert_eq!(&run.host.memory[16..20], b"hel\0");
}

#[test]
fn a_pointer_outside_memory_is_a_fault() {
    let mut run = Run::new(b"hello");
    let fault = run.call(C::WriteOutput, &[65535, 2]).unwrap_err();
    assert_eq!(fault.code(), "bad-pointer");
    assert!(fault.to_string().contains("65535..65537"), "{fault}");
}

#[test]
fn awaiting_takes_a_result_that_is_here_without_waiting() {
    let mut run = Run::new(b"");
    let name = run.put(100, b"other\0");
    assert_eq!(run.call(C::ChainName, &[name, 0, 0]), Ok(1));
    assert_eq!(run.host.started[0].1, Target::Function("other".into()));
    let result = CallResult { return_value: 9, output: vec![] };
    run.host.finished.insert(CallId(1), result);
    assert_eq!(run.begin(C::AwaitCall, &[1]), Ok(Begin::Ready));
    assert_eq!(run.finish(), Ok(Finish::Return(9)));
}

#[test]
fn unknown_and_repeated_ids_give_one() {
    let mut run = Run::new(b"");
    run.call(C::ChainPtr, &[3, 0, 0]).unwrap();
    assert_eq!(run.begin(C::AwaitCall, &[1]), Ok(Begin::Wait(Operation::AwaitCall(CallId(1)))));
    run.guest.complete(Completion::Call(CallResult { return_value: 5, output: vec![] })).unwrap();
    assert_eq!(run.finish(), Ok(Finish::Return(5)));
    for id in [1, 77] {
        assert_eq!(run.begin(C::AwaitCall, &[id]), Ok(Begin::Ready));
        assert_eq!(run.finish(), Ok(Finish::Return(1)));
    }
}

#[test]
fn an_output_goes_where_malloc_made_room() {
    let mut run = Run::new(b"");
    run.call(C::ChainPtr, &[3, 0, 0]).unwrap();
    run.begin(C::AwaitCallOutput, &[1, 8, 12]).unwrap();
    let result = CallResult { return_value: 2, output: b"out".to_vec() };
    run.guest.complete(Completion::Call(result)).unwrap();
    assert_eq!(run.finish(), Ok(Finish::Allocate { bytes: 3 }));

    // `malloc` prints something, which is a host call of its own, and even one that could wait.
    assert_eq!(run.begin(C::AwaitCall, &[99]), Ok(Begin::Ready));
    assert_eq!(run.finish(), Ok(Finish::Return(1)));

    run.guest.allocated(1000).unwrap();
    assert_eq!(run.finish(), Ok(Finish::Return(2)));
    assert_eq!(&run.host.memory[1000..1003], b"out");
    assert_eq!(run.host.read_u32(8), Ok(1000));
    assert_eq!(run.host.read_u32(12), Ok(3));
}

#[test]
fn the_order_of_halves_is_enforced() {
    let mut run = Run::new(b"");
    assert!(matches!(run.finish(), Err(Fault::Order { .. })));
    assert!(run.guest.complete(Completion::Done).is_err());
    assert!(run.guest.allocated(1).is_err());
    run.call(C::ChainPtr, &[3, 0, 0]).unwrap();
    run.begin(C::AwaitCall, &[1]).unwrap();
    assert!(matches!(run.finish(), Err(Fault::Order { .. })));
}

#[test]
fn state_is_pulled_once_and_pushed_when_dirty() {
    let mut run = Run::new(b"");
    let key = run.put(100, b"k\0");
    let read = Operation::ReadState { key: "k".into(), offset: 0, length: None };
    assert_eq!(run.begin(C::ReadState, &[key, 200, 4]), Ok(Begin::Wait(read)));
    let chunk = Chunk { offset: 0, bytes: b"abcd".to_vec() };
    run.guest.complete(Completion::State { size: Some(4), chunk }).unwrap();
    assert_eq!(run.finish(), Ok(Finish::Return(4)));
    assert_eq!(&run.host.memory[200..204], b"abcd");

    assert_eq!(run.begin(C::ReadState, &[key, 300, 4]), Ok(Begin::Ready));
    assert_eq!(run.finish(), Ok(Finish::Return(4)));
    assert_eq!(run.begin(C::PushState, &[key]), Ok(Begin::Ready), "clean: nothing to push");
    run.finish().unwrap();

    let bytes = run.put(400, b"XY");
    run.call(C::WriteStateOffset, &[key, 4, 1, bytes, 2]).unwrap();
    let Begin::Wait(Operation::WriteState { chunks, size: 4, .. }) =
        run.begin(C::PushState, &[key]).unwrap()
    else {
        panic!("a dirty value is pushed");
    };
    assert_eq!(chunks, vec![Chunk { offset: 0, bytes: b"aXYd".to_vec() }]);
    run.guest.complete(Completion::Failed("gone".into())).unwrap();
    assert_eq!(run.finish().unwrap_err().code(), "operation-failed");
    assert!(run.tier.get("k").unwrap().is_dirty(), "a failed push leaves the value dirty");
}

#[test]
fn a_push_that_is_cut_off_leaves_the_value_dirty() {
    let mut run = Run::new(b"");
    let key = run.put(100, b"k\0");
    let bytes = run.put(200, b"abcd");
    run.call(C::WriteState, &[key, bytes, 4]).unwrap();
    assert!(matches!(run.begin(C::PushState, &[key]), Ok(Begin::Wait(_))));
    assert!(!run.tier.get("k").unwrap().is_dirty());
    run.guest.abandon(&mut run.tier);
    assert!(run.tier.get("k").unwrap().is_dirty());
}

#[test]
fn an_absent_value_is_zeros_to_who_names_its_size() {
    let mut run = Run::new(b"");
    let key = run.put(100, b"none\0");
    run.begin(C::ReadStateOffset, &[key, 8, 2, 200, 3]).unwrap();
    let chunk = Chunk { offset: 2, bytes: vec![] };
    run.guest.complete(Completion::State { size: None, chunk: chunk.clone() }).unwrap();
    run.put(200, b"zzzz");
    assert_eq!(run.finish(), Ok(Finish::Return(3)));
    assert_eq!(&run.host.memory[200..204], b"\0\0\0z");

    let other = run.put(120, b"void\0");
    run.begin(C::ReadState, &[other, 200, 0]).unwrap();
    run.guest.complete(Completion::State { size: None, chunk }).unwrap();
    assert_eq!(run.finish(), Ok(Finish::Return(0)));
}

#[test]
fn a_pull_of_another_size_is_a_fault() {
    let mut run = Run::new(b"");
    let key = run.put(100, b"k\0");
    run.begin(C::PullState, &[key, 8]).unwrap();
    let chunk = Chunk { offset: 0, bytes: b"abcd".to_vec() };
    run.guest.complete(Completion::State { size: Some(4), chunk }).unwrap();
    assert_eq!(run.finish().unwrap_err().code(), "state");
}

#[test]
fn rows_that_are_not_there_say_why() {
    let mut run = Run::new(b"");
    assert_eq!(run.call(C::ChainPy, &[0, 0, 0]).unwrap_err().code(), "cluster-only");
}

#[test]
fn every_ready_row_has_a_handler() {
    for call in HostCall::ALL {
        let row = call.row();
        if row.status == Status::Ready && row.available == Available::Everywhere {
            let mut run = Run::new(b"");
            let flow = run.begin(*call, &[0; MAX_PARAMS]);
            assert!(!matches!(flow, Err(Fault::Order { .. })), "{call} is ready, but unhandled");
        }
        assert!(row.params.len() <= MAX_PARAMS, "{call}");
    }
}

#[test]
fn wasi_gives_arguments_and_environment() {
    let mut run = Run::new(b"");
    assert_eq!(run.call(C::ArgsSizesGet, &[0, 4]), Ok(0));
    assert_eq!((run.host.read_u32(0), run.host.read_u32(4)), (Ok(2), Ok(4)));
    assert_eq!(run.call(C::ArgsGet, &[0, 100]), Ok(0));
    assert_eq!(&run.host.memory[100..104], b"f\0x\0");
    assert_eq!(run.host.read_u32(4), Ok(102));
    assert_eq!(run.call(C::EnvironGet, &[0, 100]), Ok(0));
    assert_eq!(&run.host.memory[100..104], b"A=b\0");
    assert_eq!(run.call(C::ArgsGet, &[65533, 0]), Ok(21), "a bad pointer is an errno");
}

#[test]
fn wasi_streams_and_exit() {
    let mut run = Run::new(b"input");
    run.put(0, &[100, 0, 0, 0, 3, 0, 0, 0, 110, 0, 0, 0, 9, 0, 0, 0]);
    assert_eq!(run.call(C::FdRead, &[0, 0, 2, 64]), Ok(0));
    assert_eq!(run.host.read_u32(64), Ok(5));
    assert_eq!((&run.host.memory[100..103], &run.host.memory[110..112]), (&b"inp"[..], &b"ut"[..]));
    assert_eq!(run.call(C::FdWrite, &[1, 0, 1, 64]), Ok(0));
    assert_eq!(run.host.printed, b"inp");
    assert_eq!(run.call(C::FdClose, &[1]), Ok(0));
    assert_eq!(run.call(C::FdWrite, &[1, 0, 1, 64]), Ok(8));
    assert_eq!(run.call(C::FdSeek, &[0, 0, 0, 64]), Ok(70));
    assert_eq!(run.call(C::ProcExit, &[3]), Err(Fault::Exit(3)));
}

#[test]
fn poll_sleeps_for_the_shortest_clock() {
    let mut run = Run::new(b"");
    for (slot, timeout) in [(0_usize, 500_u64), (48, 200)] {
        run.host.memory[slot] = slot as u8 + 1;
        run.host.memory[slot + 24..slot + 32].copy_from_slice(&timeout.to_le_bytes());
    }
    let sleep = Operation::Sleep { nanoseconds: 200 };
    assert_eq!(run.begin(C::PollOneoff, &[0, 200, 2, 300]), Ok(Begin::Wait(sleep)));
    run.guest.complete(Completion::Done).unwrap();
    assert_eq!(run.finish(), Ok(Finish::Return(0)));
    assert_eq!(run.host.read_u32(300), Ok(1));
    assert_eq!(run.host.memory[200], 49, "the event carries the user data of the shortest");
}

#[test]
fn a_sleep_waits_as_long_as_it_says() {
    let mut run = Run::new(b"");
    let sleep = Operation::Sleep { nanoseconds: 1 << 40 };
    assert_eq!(run.waits(C::Sleep, &[1 << 40], sleep, Completion::Done), 0);
    assert_eq!(run.ready(C::Sleep, &[0]), 0);
}

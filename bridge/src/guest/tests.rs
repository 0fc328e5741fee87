//! The kernel against a host made of plain vectors.

use super::testing::Run;
use super::*;
use crate::host::{Available, HostCall as C, Returns, Status};

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
fn awaiting_a_finished_call_does_not_wait() {
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
fn an_output_is_written_to_memory_of_malloc() {
    let mut run = Run::new(b"");
    run.call(C::ChainPtr, &[3, 0, 0]).unwrap();
    run.begin(C::AwaitCallOutput, &[1, 8, 12]).unwrap();
    let result = CallResult { return_value: 2, output: b"out".to_vec() };
    run.guest.complete(Completion::Call(result)).unwrap();
    assert_eq!(run.finish(), Ok(Finish::Allocate { bytes: 3 }));

    // `malloc` prints something, which is a host call of its own, and may even be one that waits.
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
    let chunk = Chunk { offset: 0, bytes: b"abcd".to_vec().into() };
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
    assert_eq!(chunks, vec![Chunk { offset: 0, bytes: b"aXYd".to_vec().into() }]);
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
fn a_push_that_failed_or_was_cut_off_is_made_again_with_what_was_written_here_and_no_more() {
    for (call, cut_off) in [C::PushState, C::PushStatePartial, C::PushStatePartialMask]
        .map(|c| [(c, true), (c, false)])
        .concat()
    {
        let mut run = Run::new(b"");
        let (key, mask) = (run.put(100, b"k\0"), run.put(110, b"m\0"));
        // What others wrote, before this run writes one byte of it.
        run.tier.fill("k", 4, &Chunk { offset: 0, bytes: b"abcd".to_vec().into() }).unwrap();
        run.tier.fill("m", 4, &Chunk { offset: 0, bytes: vec![1; 4].into() }).unwrap();
        let byte = run.put(200, b"B");
        run.call(C::WriteStateOffset, &[key, 4, 1, byte, 1]).unwrap();
        // Through a mapping, and not flagged: a partial push leaves it, the others send it.
        run.tier.absorb_changed("k", 0, b"A", b"a");
        let is_absorbed_sent = call != C::PushStatePartial;
        assert!(matches!(run.begin(call, &[key, mask]), Ok(Begin::Wait(_))));
        let byte = run.put(200, b"D");
        run.call(C::WriteStateOffset, &[key, 4, 3, byte, 1]).unwrap();
        if cut_off {
            run.guest.abandon(&mut run.tier);
        } else {
            run.guest.complete(Completion::Failed("gone".into())).unwrap();
            run.finish().unwrap_err();
        }
        let (_, chunks) = run.tier.take_dirty_ranges("k").unwrap();
        let chunk = |offset, bytes: &[u8]| Chunk { offset, bytes: bytes.to_vec().into() };
        let first = if is_absorbed_sent { chunk(0, b"AB") } else { chunk(1, b"B") };
        assert_eq!(chunks, [first, chunk(3, b"D")], "{call:?}, cut off: {cut_off}");
    }
}

#[test]
fn an_absent_value_is_zeros_to_who_names_its_size() {
    let mut run = Run::new(b"");
    let key = run.put(100, b"none\0");
    run.begin(C::ReadStateOffset, &[key, 8, 2, 200, 3]).unwrap();
    let chunk = Chunk { offset: 2, bytes: Vec::new().into() };
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
    let chunk = Chunk { offset: 0, bytes: b"abcd".to_vec().into() };
    run.guest.complete(Completion::State { size: Some(4), chunk }).unwrap();
    assert_eq!(run.finish().unwrap_err().code(), "state");
}

#[test]
fn unimplemented_rows_give_a_reason() {
    let mut run = Run::new(b"");
    assert_eq!(run.call(C::ChainPy, &[0, 0, 0]).unwrap_err().code(), "cluster-only");
}

#[test]
fn every_ready_row_has_a_handler() {
    for call in HostCall::ALL {
        let row = call.row();
        let is_ready = row.status == Status::Ready && row.available == Available::Everywhere;
        // Calls that return `f64` have another entry.
        if is_ready && row.returns != Returns::F64 {
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
    assert_eq!((run.host.read_u32(0), run.host.read_u32(4)), (Ok(2), Ok(16)));
    assert_eq!(run.call(C::ArgsGet, &[0, 100]), Ok(0));
    assert_eq!(&run.host.memory[100..116], b"function.wasm\0x\0");
    assert_eq!(run.host.read_u32(4), Ok(114));
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
    let sleep = Operation::Sleep(Sleep::lasting(200, &run.host));
    assert_eq!(run.begin(C::PollOneoff, &[0, 200, 2, 300]), Ok(Begin::Wait(sleep)));
    run.guest.complete(Completion::Done).unwrap();
    assert_eq!(run.finish(), Ok(Finish::Return(0)));
    assert_eq!(run.host.read_u32(300), Ok(1));
    assert_eq!(run.host.memory[200], 49, "the event carries the user data of the shortest");
}

fn break_run() -> Run {
    let mut run = Run::new(b"");
    run.guest.module = ModuleFacts { has_malloc: false, is_break_safe: true, errno: Some(8) };
    run
}

#[test]
fn outputs_need_no_malloc() {
    let mut run = break_run();
    let name = run.put(100, b"g\0");
    let id = run.call(C::ChainName, &[name, 0, 0]).unwrap() as u64;
    let result = CallResult { return_value: 5, output: b"out".to_vec() };
    let awaited = Operation::AwaitCall(CallId(id as u32));
    let args = [id, 16, 20];
    assert_eq!(run.waits(C::AwaitCallOutput, &args, awaited, Completion::Call(result)), 5);
    let pointer = run.host.read_u32(16).unwrap();
    assert_eq!((pointer, run.host.read_u32(20)), (65536, Ok(3)), "at the former end of memory");
    assert_eq!(run.bytes(pointer, 3), b"out");
    // The guest's next allocation begins after it.
    assert_eq!(run.call(C::Sbrk, &[0]), Ok(131_072));

    run.guest.module.is_break_safe = false;
    let id = run.call(C::ChainName, &[name, 0, 0]).unwrap() as u64;
    let result = CallResult { return_value: 0, output: b"out".to_vec() };
    run.host.finished.insert(CallId(id as u32), result);
    let fault = run.begin(C::AwaitCallOutput, &[id, 16, 20]);
    assert_eq!(fault, Err(Fault::NoMalloc { call: C::AwaitCallOutput }));
}

#[test]
fn errors_of_the_c_library_are_in_errno() {
    let mut run = break_run();
    for (call, args, errno) in [
        (C::Socket, [2, 1, 0], 5),
        (C::Connect, [3, 0, 0], 5),
        (C::Ioctl, [1, 0, 0], 59),
        (C::Ioctl, [77, 0, 0], 8),
        (C::Dup, [77, 0, 0], 8),
        (C::Syscall, [20, 0, 0], 52),
        (C::Munmap, [1, 1, 0], 28),
        (C::Sbrk, [1 << 31, 0, 0], 48),
    ] {
        run.put(8, &[0; 4]);
        assert_eq!(run.call(call, &args), Ok(-1), "{call}");
        assert_eq!(run.host.read_u32(8), Ok(errno), "{call}");
    }
    assert_eq!(run.call(C::Getcwd, &[100, 2]), Ok(100));
    assert_eq!(run.bytes(100, 2), b"/\0");
    for (buffer, size, errno) in [(100, 1, 68), (0, 0, 28), (100, 0, 28), (u32::MAX.into(), 2, 21)]
    {
        assert_eq!(run.call(C::Getcwd, &[buffer, size]), Ok(0));
        assert_eq!(run.host.read_u32(8), Ok(errno));
    }
    assert_eq!(run.call(C::Dup, &[1]), Ok(5));
    assert_eq!(run.call(C::WasiFdDup, &[1, 100]), Ok(0));
    assert_eq!(run.host.read_u32(100), Ok(6));
    assert_eq!(run.call(C::WasiFdDup, &[77, 100]), Ok(8));
    assert_eq!(run.call(C::Tmpfile, &[]), Ok(0));
}

#[test]
fn an_abort_says_why() {
    let mut run = break_run();
    let aborts = |run: &mut Run, call, args: &[u64]| run.call(call, args).unwrap_err();
    assert_eq!(aborts(&mut run, C::Exit, &[7]), Fault::Exit(7));
    let plain = aborts(&mut run, C::Abort, &[]);
    assert_eq!(
        (plain.code(), plain.to_string()),
        ("trap", "the function aborted: it called abort".into())
    );
    for (at, text) in [(100, "no"), (200, "a.ts")] {
        let units: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        run.put(at, &(units.len() as u32).to_le_bytes());
        run.put(at + 4, &units);
    }
    let told = aborts(&mut run, C::Abort, &[104, 204, 3, 9]).to_string();
    assert_eq!(told, "the function aborted: it called abort: no in a.ts:3:9");
    run.put(300, &[0, 0, 0, 0, 0x40, 1, 0, 0]);
    run.put(0x140, b"3Boo\0");
    let thrown = aborts(&mut run, C::CxaThrow, &[0, 300, 0]).to_string();
    assert!(thrown.contains("C++ exception of type `3Boo`"), "{thrown}");
    let unknown = aborts(&mut run, C::CxaThrow, &[0, u32::MAX.into(), 0]).to_string();
    assert!(unknown.contains("a C++ exception, which"), "{unknown}");
}

#[test]
fn a_snapshot_of_memory_is_restored() {
    let mut run = break_run();
    let key = run.put(100, b"snap\0");
    run.put(5000, b"before");
    let memory = run.host.memory.clone();
    let chunk = Chunk { offset: 0, bytes: memory.clone().into() };
    let write =
        Operation::WriteState { key: "snap".into(), size: 65536, chunks: vec![chunk.clone()] };
    assert_eq!(run.waits(C::SnapshotMemory, &[key], write, Completion::Done), 0);
    run.put(5000, b"after!");
    let read = Operation::ReadState { key: "snap".into(), offset: 0, length: None };
    let arrived = Completion::State { size: Some(65536), chunk };
    assert_eq!(run.waits(C::RestoreMemory, &[key], read, arrived), 0);
    assert_eq!(run.host.memory, memory);
    assert!(matches!(run.begin(C::RestoreMemory, &[key]), Ok(Begin::Wait(_))));
    let none = Chunk { offset: 0, bytes: Vec::new().into() };
    run.guest.complete(Completion::State { size: None, chunk: none }).unwrap();
    assert!(run.finish().unwrap_err().to_string().contains("no snapshot `snap`"));
}

#[test]
fn a_restored_memory_keeps_mapped_values_and_its_heap() {
    let mut run = break_run();
    let key = run.put(100, b"snap\0");
    let other = run.put(200, b"k\0");
    run.call(C::WriteState, &[other, 300, 8]).unwrap();
    assert_eq!(run.call(C::Sbrk, &[65536]), Ok(65536));
    let saved = run.host.memory.clone();
    let pointer = run.ready(C::ReadStatePtr, &[other, 8]) as u32;
    run.put(300, b"precious");
    run.call(C::WriteState, &[other, 300, 8]).unwrap();
    assert_eq!(run.bytes(pointer, 8), b"precious");
    assert!(matches!(run.begin(C::RestoreMemory, &[key]), Ok(Begin::Wait(_))));
    let mut bytes = saved;
    bytes.resize(run.host.memory.len(), b'x');
    let chunk = Chunk { offset: 0, bytes: bytes.into() };
    let size = Some(chunk.bytes.len() as u64);
    run.guest.complete(Completion::State { size, chunk }).unwrap();
    assert_eq!(run.finish(), Ok(Finish::Return(0)));
    assert_eq!(run.bytes(pointer, 8), b"precious", "not part of the snapshot");
    let end = run.host.memory.len() as i32;
    assert_eq!(run.call(C::Sbrk, &[65536]), Ok(end), "beyond everything in the snapshot's heap");
}

#[test]
fn a_restored_heap_is_not_allocated_again() {
    let mut run = break_run();
    let key = run.put(100, b"snap\0");
    assert_eq!(run.call(C::Sbrk, &[2 * 65536]), Ok(65536));
    let bytes = run.host.memory.clone();
    assert_eq!(run.call(C::Sbrk, &[-131_072_i32 as u32 as u64]), Ok(3 * 65536));
    assert!(matches!(run.begin(C::RestoreMemory, &[key]), Ok(Begin::Wait(_))));
    let size = Some(bytes.len() as u64);
    run.guest
        .complete(Completion::State { size, chunk: Chunk { offset: 0, bytes: bytes.into() } })
        .unwrap();
    assert_eq!(run.finish(), Ok(Finish::Return(0)));
    assert_eq!(run.call(C::Sbrk, &[65536]), Ok(3 * 65536), "the snapshot's heap has two pages");
}

#[test]
fn calls_unwound_by_an_exception_get_no_result_of_others() {
    let mut run = break_run();
    let outer = run.begin(C::PthreadOnce, &[80, 4]);
    assert!(matches!(outer, Ok(Begin::Call(_))), "{outer:?}");
    let inner = run.begin(C::KmpcForkCall, &[300, 0, 3, 0]);
    assert!(matches!(inner, Ok(Begin::Call(_))), "{inner:?}");
    let finished = run.guest.finish(C::PthreadOnce, &mut run.host, &mut run.tier);
    assert_eq!(finished, Ok(Finish::Return(0)));
    assert_eq!(run.host.read_u32(80), Ok(2), "done");
    let order = run.guest.finish(C::KmpcForkCall, &mut run.host, &mut run.tier);
    assert_eq!(order.unwrap_err().code(), "internal");
}

#[test]
fn the_openmp_state_is_bounded() {
    let mut run = break_run();
    let code = loop {
        if let Err(fault) = run.call(C::KmpcDispatchInit4, &[0, 0, 35, 1, 2, 1, 1]) {
            break fault.code();
        }
    };
    assert_eq!(code, "operation-failed");
    let code = (0..).find_map(|lock| run.call(C::KmpcCritical, &[0, 0, lock]).err());
    assert_eq!(code.unwrap().code(), "operation-failed");
}

#[test]
fn a_mapping_at_a_fixed_address_is_refused() {
    let mut run = break_run();
    assert_eq!(run.call(C::Mmap, &[0, 65536, 3, 0x32, u64::MAX, 0]), Ok(-1));
    assert_eq!(run.host.read_u32(8), Ok(28));
}

#[test]
fn a_parallel_region_calls_its_function_once() {
    let mut run = break_run();
    run.put(200, &[11_u32, 22].map(u32::to_le_bytes).concat());
    let called = run.begin(C::KmpcForkCall, &[300, 2, 9, 200]);
    let arguments = vec![300, 300, 11, 22];
    assert_eq!(called, Ok(Begin::Call(GuestCall { function: 9, arguments })));
    assert_eq!(run.call(C::OmpGetLevel, &[]), Ok(1));
    // Within it: another region, and a call that waits.
    let inner = run.begin(C::KmpcForkCall, &[200, 0, 3, 0]);
    let arguments = vec![65536, 65536];
    assert_eq!(
        inner,
        Ok(Begin::Call(GuestCall { function: 3, arguments })),
        "no 0 at its location"
    );
    assert_eq!(run.call(C::OmpGetLevel, &[]), Ok(2));
    assert_eq!(run.finish(), Ok(Finish::Return(0)));
    let key = run.put(100, b"k\0");
    assert!(matches!(run.begin(C::PullState, &[key, 0]), Ok(Begin::Wait(_))));
    let chunk = Chunk { offset: 0, bytes: Vec::new().into() };
    run.guest.complete(Completion::State { size: None, chunk }).unwrap();
    assert_eq!(run.finish(), Ok(Finish::Return(0)));
    assert_eq!(run.finish(), Ok(Finish::Return(0)));
    assert_eq!(run.call(C::OmpGetLevel, &[]), Ok(0));
    assert!(run.begin(C::KmpcForkCall, &[0, 16, 9, 200]).is_err(), "more than LLVM's limit");
}

#[test]
fn loops_get_their_whole_range() {
    let mut run = break_run();
    let words = |run: &mut Run, values: [i32; 4]| {
        run.put(200, &values.map(i32::to_le_bytes).concat());
    };
    let read = |run: &Run| [0, 4, 8, 12].map(|at| run.host.read_u32(200 + at).unwrap() as i32);
    // last, lower, upper, stride; then the step and the expected result.
    for (call, before, step, after) in [
        (C::KmpcForStaticInit4, [9, 2, 11, 0], 1, [1, 2, 11, 10]),
        (C::KmpcForStaticInit4, [9, 11, 2, 0], -1, [1, 11, 2, -10]),
        (C::KmpcForStaticInit4, [9, 3, 2, 0], 1, [0, 3, 2, 1]),
        (C::KmpcForStaticInit4u, [9, 1, -1, 0], 1, [1, 1, -1, -1]),
    ] {
        words(&mut run, before);
        let args = [0, 0, 33, 200, 204, 208, 212, u64::from(step as u32), 1];
        assert_eq!(run.call(call, &args), Ok(0));
        assert_eq!(read(&run), after, "{call}");
    }
    let init = [0, 0, 35, 5, 8, 1, 1];
    assert_eq!(run.call(C::KmpcDispatchInit4, &init), Ok(0));
    words(&mut run, [0; 4]);
    assert_eq!(run.call(C::KmpcDispatchNext4, &[0, 0, 200, 204, 208, 212]), Ok(1));
    assert_eq!(read(&run), [1, 5, 8, 1]);
    assert_eq!(run.call(C::KmpcDispatchNext4, &[0, 0, 200, 204, 208, 212]), Ok(0));
    run.call(C::KmpcDispatchInit8, &[0, 0, 35, 9, 8, 1, 1]).unwrap();
    assert_eq!(run.call(C::KmpcDispatchNext8, &[0, 0, 200, 208, 216, 224]), Ok(0), "no iterations");
}

#[test]
fn waiting_for_another_thread_is_a_deadlock() {
    let mut run = break_run();
    assert_eq!(run.call(C::KmpcCritical, &[0, 0, 40]), Ok(0));
    assert_eq!(run.call(C::KmpcCritical, &[0, 0, 44]), Ok(0));
    assert_eq!(run.call(C::KmpcCritical, &[0, 0, 40]).unwrap_err().code(), "deadlock");
    assert_eq!(run.call(C::KmpcEndCritical, &[0, 0, 40]), Ok(0));
    assert_eq!(run.call(C::KmpcCritical, &[0, 0, 40]), Ok(0));
    assert_eq!(run.call(C::OmpTestLock, &[60]), Ok(1));
    assert_eq!(run.call(C::OmpTestLock, &[60]), Ok(0));
    assert_eq!(run.call(C::OmpSetLock, &[60]).unwrap_err().code(), "deadlock");

    let once = run.begin(C::PthreadOnce, &[80, 4]);
    assert_eq!(once, Ok(Begin::Call(GuestCall { function: 4, arguments: vec![] })));
    assert_eq!(run.begin(C::PthreadOnce, &[80, 4]).unwrap_err().code(), "deadlock");
    assert_eq!(run.finish(), Ok(Finish::Return(0)));
    assert_eq!(run.ready(C::PthreadOnce, &[80, 4]), 0);
    assert_eq!(run.call(C::PthreadKeyCreate, &[84, 0]), Ok(0));
    let key = run.host.read_u32(84).unwrap().into();
    assert_eq!(run.call(C::PthreadSetspecific, &[key, 77]), Ok(0));
    assert_eq!(run.call(C::PthreadGetspecific, &[key]), Ok(77));
    assert_eq!(run.call(C::PthreadKeyDelete, &[key]), Ok(0));
    assert_eq!(run.call(C::PthreadSetspecific, &[key, 1]), Ok(28));
}

#[test]
fn seconds_have_fractions() {
    let mut run = break_run();
    run.host.now = 1_500_000_000;
    assert_eq!(run.guest.number(C::OmpGetWtime, &mut run.host, &mut run.tier), 1.5);
}

#[test]
fn a_sleep_waits_as_long_as_it_says() {
    let mut run = Run::new(b"");
    let sleep = Operation::Sleep(Sleep::lasting(1 << 40, &run.host));
    assert_eq!(run.waits(C::Sleep, &[1 << 40], sleep, Completion::Done), 0);
    assert_eq!(run.ready(C::Sleep, &[0]), 0);
}

#[test]
fn a_global_lock_is_taken_once_and_its_loss_is_a_fault() {
    let mut run = Run::new(b"");
    let key = run.put(0, b"k\0");
    let (lock, unlock) = (HostCall::LockStateGlobal, HostCall::UnlockStateGlobal);
    let locking = || Operation::LockGlobal { key: "k".into() };
    let unlocking = || Operation::UnlockGlobal { key: "k".into() };
    assert_eq!(run.ready(unlock, &[key]), 0, "it is not held: no operation");
    assert_eq!(run.waits(lock, &[key], locking(), Completion::Done), 0);
    let again = run.begin(lock, &[key]).unwrap_err();
    assert_eq!((again.code(), again), ("deadlock", Fault::Deadlock { key: "k".into() }));
    let other = run.put(8, b"other\0");
    let operation = Operation::LockGlobal { key: "other".into() };
    assert_eq!(run.waits(lock, &[other], operation, Completion::Done), 0);
    assert_eq!(run.waits(unlock, &[key], unlocking(), Completion::Done), 0);
    assert_eq!(run.ready(unlock, &[key]), 0);
    assert_eq!(run.waits(lock, &[key], locking(), Completion::Done), 0);
    assert_eq!(run.begin(unlock, &[key]), Ok(Begin::Wait(unlocking())));
    run.guest.complete(Completion::Missing).unwrap();
    let lost = run.finish().unwrap_err();
    assert_eq!((lost.code(), lost), ("lock-lost", Fault::LockLost { key: "k".into() }));
}

#[test]
fn a_push_under_a_lost_lock_fails_and_leaves_the_value_dirty() {
    let mut run = Run::new(b"");
    let (key, value) = (run.put(0, b"k\0"), run.put(8, b"ab"));
    run.call(HostCall::WriteState, &[key, value, 2]).unwrap();
    for push in [HostCall::PushState, HostCall::PushStatePartial] {
        assert!(matches!(run.begin(push, &[key]), Ok(Begin::Wait(_))));
        assert!(!run.tier.get("k").unwrap().is_dirty());
        run.guest.complete(Completion::Missing).unwrap();
        assert_eq!(run.finish(), Err(Fault::LockLost { key: "k".into() }));
        assert!(run.tier.get("k").unwrap().is_dirty());
    }
}

#[test]
fn a_mapping_is_refreshed_after_taking_a_global_lock() {
    let mut run = Run::new(b"");
    let (key, value) = (run.put(0, b"k\0"), run.put(8, b"ab"));
    run.call(HostCall::WriteState, &[key, value, 2]).unwrap();
    assert_eq!(run.begin(HostCall::ReadStatePtr, &[key, 2]), Ok(Begin::Ready));
    assert_eq!(run.finish(), Ok(Finish::Allocate { bytes: 2 }));
    run.guest.allocated(64).unwrap();
    assert_eq!(run.finish(), Ok(Finish::Return(64)));
    let operation = Operation::LockGlobal { key: "k".into() };
    assert_eq!(run.begin(HostCall::LockStateGlobal, &[key]), Ok(Begin::Wait(operation)));
    // Another run on this host, which held the lock until now, has written the value.
    run.tier.write("k", 2, 0, b"xy").unwrap();
    run.guest.complete(Completion::Done).unwrap();
    assert_eq!(run.finish(), Ok(Finish::Return(0)));
    assert_eq!(run.bytes(64, 2), b"xy");
    // Writes of this run are visible to others once it releases the lock.
    run.put(64, b"!");
    assert!(matches!(run.begin(HostCall::UnlockStateGlobal, &[key]), Ok(Begin::Wait(_))));
    assert_eq!(run.tier.get("k").unwrap().read(0..2), b"!y");
}

#[test]
fn a_state_call_keeps_the_key_of_its_first_half() {
    let state = |bytes: &[u8]| Completion::State {
        size: Some(bytes.len() as u64),
        chunk: Chunk { offset: 0, bytes: bytes.to_vec().into() },
    };
    for (call, completion) in [
        (HostCall::PullState, state(b"new")),
        (HostCall::PushStatePartial, state(b"new")),
        (HostCall::LockStateGlobal, Completion::Done),
    ] {
        let mut run = Run::new(b"");
        run.tier.write("a", 3, 0, b"old").unwrap();
        run.tier.write("b", 3, 0, b"own").unwrap();
        let key = run.put(0, b"a\0");
        let Ok(Begin::Wait(_)) = run.begin(call, &[key, 3]) else { panic!("{call} waits") };
        // As if the key lies in a mapped value that another run overwrites.
        run.put(0, b"b\0");
        run.guest.complete(completion).unwrap();
        assert_eq!(run.finish(), Ok(Finish::Return(0)), "{call}");
        assert_eq!(run.tier.get("b").unwrap().read(0..3), b"own", "{call}");
        if call == HostCall::LockStateGlobal {
            assert_eq!(run.guest.global_locks, ["a"]);
        } else {
            assert_eq!(run.tier.get("a").unwrap().read(0..3), b"new", "{call}");
        }
    }
}

//! System calls as musl makes them.

use crate::guest::testing::Run;
use crate::guest::{Completion, Fault, GuestMemory, GuestMemoryExt, Operation, Sleep, may_suspend};
use crate::host::HostCall::{self, self as C};

const PATH: u32 = 1000;
const OTHER: u32 = 2000;
const DATA: u32 = 4000;
const PAGE: u32 = 65536;

/// The import that musl uses for this number of arguments.
fn import(count: usize) -> HostCall {
    [C::Syscall0, C::Syscall1, C::Syscall2, C::Syscall3, C::Syscall4, C::Syscall5, C::Syscall6]
        [count]
}

fn syscall(run: &mut Run, number: u32, args: &[u32]) -> i32 {
    let slots: Vec<u64> = [number].iter().chain(args).map(|arg| u64::from(*arg)).collect();
    match import(args.len()) {
        call if may_suspend(call) => run.ready(call, &slots),
        call => run.call(call, &slots).unwrap(),
    }
}

fn path(run: &mut Run, at: u32, text: &str) -> u32 {
    run.put(at, format!("{text}\0").as_bytes());
    at
}

fn open(run: &mut Run, name: &str, flags: u32) -> i32 {
    let at = path(run, PATH, name);
    syscall(run, 5, &[at, flags | 0o100_000, 0o666])
}

#[test]
fn files() {
    let mut run = Run::new(b"input");
    run.host.now = 3_000_000_007;
    assert_eq!(open(&mut run, "f", 0), -2);
    let fd = open(&mut run, "/f", 0o102) as u32;
    assert_eq!(fd, 5);
    run.put(DATA, b"hello world");
    assert_eq!(syscall(&mut run, 4, &[fd, DATA, 11]), 11);
    assert_eq!(syscall(&mut run, 140, &[fd, u32::MAX, -5_i32 as u32, 8, 2]), 0);
    assert_eq!(run.host.read_u64(8), Ok(6));
    assert_eq!(syscall(&mut run, 3, &[fd, DATA, 99]), 5);
    assert_eq!(run.bytes(DATA, 5), b"world");
    assert_eq!(syscall(&mut run, 180, &[fd, DATA, 2, 1, 0]), 2);
    assert_eq!(run.bytes(DATA, 2), b"el");
    assert_eq!(syscall(&mut run, 181, &[fd, DATA, 2, 11, 0]), 2);
    run.put(64, &[DATA.to_le_bytes(), 5_u32.to_le_bytes()].concat());
    assert_eq!(syscall(&mut run, 145, &[0, 64, 1]), 5);
    assert_eq!(syscall(&mut run, 146, &[1, 64, 1]), 5);
    assert_eq!(run.host.printed, b"input");

    assert_eq!(syscall(&mut run, 197, &[fd, DATA]), 0);
    assert_eq!(run.host.read_u32(DATA + 24), Ok(0o100_644));
    assert_eq!(run.host.read_u64(DATA + 48), Ok(13));
    assert_eq!((run.host.read_u64(DATA + 88), run.host.read_u32(DATA + 96)), (Ok(3), Ok(7)));
    assert_eq!(syscall(&mut run, 194, &[fd, 4, 0]), 0);
    assert_eq!(syscall(&mut run, 195, &[PATH, DATA]), 0);
    assert_eq!(run.host.read_u64(DATA + 48), Ok(4));
    assert_eq!(syscall(&mut run, 221, &[fd, 3, 0]), 2);
    assert_eq!(syscall(&mut run, 221, &[fd, 4, 0o2000]), 0);
    assert_eq!(syscall(&mut run, 221, &[fd, 3, 0]), 0o2002);
    assert_eq!(syscall(&mut run, 221, &[fd, 0, 10]), 10);
    assert_eq!(syscall(&mut run, 63, &[fd, 1]), 1);
    assert_eq!(syscall(&mut run, 54, &[1, 0x5413, DATA]), -25);
    assert_eq!(syscall(&mut run, 6, &[fd]), 0);
    assert_eq!(syscall(&mut run, 6, &[fd]), -9);
    assert_eq!(syscall(&mut run, 3, &[10, u32::MAX, 1]), -14);
}

#[test]
fn names() {
    let mut run = Run::new(b"");
    let at = path(&mut run, PATH, "d");
    assert_eq!(syscall(&mut run, 39, &[at, 0o777]), 0);
    assert_eq!(syscall(&mut run, 39, &[at, 0o777]), -17);
    assert_eq!(syscall(&mut run, 33, &[at, 0]), 0);
    assert_eq!(open(&mut run, "d", 1), -21);
    let folder = open(&mut run, "d", 0o200_000) as u32;
    let inner = path(&mut run, OTHER, "f");
    let fd = syscall(&mut run, 295, &[folder, inner, 0o101, 0o600]) as u32;
    assert_eq!(syscall(&mut run, 6, &[fd]), 0);
    let at = path(&mut run, PATH, "d");
    assert_eq!(syscall(&mut run, 40, &[at]), -39);
    let (old, new) = (path(&mut run, PATH, "d/f"), path(&mut run, OTHER, "d/g"));
    assert_eq!(syscall(&mut run, 38, &[old, new]), 0);
    assert_eq!(syscall(&mut run, 38, &[old, new]), -2);
    assert_eq!(syscall(&mut run, 83, &[new, old]), 0);
    assert_eq!(syscall(&mut run, 85, &[old, DATA, 2]), 2);
    assert_eq!(run.bytes(DATA, 2), b"d/");
    assert_eq!(syscall(&mut run, 196, &[old, DATA]), 0);
    assert_eq!(run.host.read_u32(DATA + 24), Ok(0o120_777));

    // `.` and `..` first, then in order of creation; entries are complete and aligned, and a listing continues where it
    // ended.
    assert_eq!(syscall(&mut run, 220, &[folder, DATA, 23]), -22);
    let mut names = Vec::new();
    loop {
        let used = syscall(&mut run, 220, &[folder, DATA, 50]);
        let mut at = 0;
        while at < used as u32 {
            let length = run.host.read_u32(DATA + at + 16).unwrap() & 0xffff;
            names.push(run.host.read_string(DATA + at + 19).unwrap());
            at += length;
        }
        if used == 0 {
            break;
        }
    }
    assert_eq!(names, [".", "..", "g", "f"]);
    let inner = path(&mut run, OTHER, "f");
    assert_eq!(syscall(&mut run, 301, &[folder, inner, 0]), 0);
    assert_eq!(syscall(&mut run, 183, &[DATA, 1]), -34);
    assert_eq!(syscall(&mut run, 183, &[DATA, 2]), 2);
    assert_eq!(run.bytes(DATA, 2), b"/\0");
}

#[test]
fn the_break_is_contiguous() {
    let mut run = Run::new(b"");
    let start = syscall(&mut run, 45, &[0]) as u32;
    assert_eq!(start, PAGE);
    assert_eq!(syscall(&mut run, 45, &[start + 10]) as u32, start + 10);
    assert_eq!(run.host.size(), u64::from(start + PAGE));
    run.put(start, b"dirty");
    assert_eq!(syscall(&mut run, 45, &[start]) as u32, start);
    assert_eq!(syscall(&mut run, 45, &[start - 1]) as u32, start, "not below its start");
    assert_eq!(syscall(&mut run, 45, &[start + 3 * PAGE]) as u32, start + 3 * PAGE);
    assert_eq!(run.bytes(start, 5), [0; 5], "zeroed again");
    run.host.grow(1);
    assert_eq!(syscall(&mut run, 45, &[start + 4 * PAGE]) as u32, start + 3 * PAGE);
}

#[test]
fn mappings() {
    const PRIVATE: u32 = 2;
    const ANONYMOUS: u32 = 0x20;
    let mut run = Run::new(b"");
    let none = u32::MAX;
    let map = |run: &mut Run, length, flags, fd, page| {
        syscall(run, 192, &[0, length, 3, flags, fd, page])
    };
    let first = map(&mut run, 10_000, PRIVATE | ANONYMOUS, none, 0) as u32;
    assert_eq!(first, PAGE);
    let second = map(&mut run, PAGE, PRIVATE | ANONYMOUS, none, 0) as u32;
    assert_eq!(second, 2 * PAGE);
    assert_eq!(map(&mut run, 100, PRIVATE | ANONYMOUS, none, 0) as u32, first + 12288, "the rest");
    run.put(first, b"dirty");
    assert_eq!(syscall(&mut run, 91, &[first, 10_000]), 0);
    assert_eq!(syscall(&mut run, 91, &[first + 1, 10]), -22);
    assert_eq!(syscall(&mut run, 91, &[0, 4096]), 0, "never mapped: ignored");
    let size = run.host.size();
    assert_eq!(map(&mut run, 12_288, PRIVATE | ANONYMOUS, none, 0) as u32, first);
    assert_eq!((run.bytes(first, 5), run.host.size()), (vec![0; 5], size));

    let fd = open(&mut run, "f", 0o102) as u32;
    let text = [b'x'; 4096];
    run.put(DATA, &text);
    syscall(&mut run, 4, &[fd, DATA, 4096]);
    run.put(DATA, b"tail");
    syscall(&mut run, 4, &[fd, DATA, 4]);
    let mapped = map(&mut run, 20, PRIVATE, fd, 1) as u32;
    assert_eq!(run.bytes(mapped, 6), b"tail\0\0");
    assert_eq!(map(&mut run, 20, 1, fd, 0), -95, "shared and writable");
    assert_eq!(map(&mut run, 20, PRIVATE, 77, 0), -9);
    assert_eq!(map(&mut run, 0, PRIVATE | ANONYMOUS, none, 0), -22);
    assert_eq!(map(&mut run, 9, PRIVATE | ANONYMOUS | 0x10, none, 0), -22);
}

#[test]
fn clocks_and_waiting() {
    let mut run = Run::new(b"");
    run.host.now = 5_000_002_000;
    assert_eq!(syscall(&mut run, 265, &[1, DATA]), 0);
    assert_eq!((run.host.read_u64(DATA), run.host.read_u32(DATA + 8)), (Ok(5), Ok(2000)));
    assert_eq!(syscall(&mut run, 78, &[DATA, 0]), 0);
    assert_eq!((run.host.read_u64(DATA), run.host.read_u64(DATA + 8)), (Ok(5), Ok(2)));
    assert_eq!(syscall(&mut run, 265, &[99, DATA]), -22);
    assert_eq!(syscall(&mut run, 13, &[0]), 5);

    run.put(DATA, &[1, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0]);
    let sleep = Operation::Sleep(Sleep::lasting(1_000_000_007, &run.host));
    let args = [162, DATA.into(), 0];
    assert_eq!(run.waits(C::Syscall2, &args, sleep.clone(), Completion::Done), 0);
    let args = [267, 0, 0, DATA.into(), 0];
    assert_eq!(run.waits(C::Syscall4, &args, sleep, Completion::Done), 0);
    assert_eq!(syscall(&mut run, 267, &[1, 1, DATA, 0]), 0, "that time has passed");
    let sleep = Operation::Sleep(Sleep::lasting(1_000_000_007, &run.host));
    let args = [162, DATA.into(), 0, 0, 0, 0, 0];
    assert_eq!(run.waits(C::Syscall6, &args, sleep, Completion::Done), 0);
    assert_eq!(run.call(C::Syscall5, &args[..6]), Ok(-38), "musl makes no such call");
    run.put(DATA + 8, &u32::MAX.to_le_bytes());
    assert_eq!(syscall(&mut run, 162, &[DATA, 0]), -22);

    run.put(DATA, &[0, 0, 0, 0, 1, 0, 9, 9, 50, 0, 0, 0, 4, 0, 9, 9]);
    assert_eq!(syscall(&mut run, 168, &[DATA, 2, 0]), 2);
    assert_eq!((run.bytes(DATA + 6, 2), run.bytes(DATA + 14, 2)), (vec![1, 0], vec![32, 0]));
    let sleep = Operation::Sleep(Sleep::lasting(3_000_000, &run.host));
    assert_eq!(run.waits(C::Syscall3, &[168, 0, 0, 3], sleep, Completion::Done), 0);
    assert_eq!(syscall(&mut run, 168, &[0, 0, -1_i32 as u32]), -4);
}

#[test]
fn select_without_descriptors_is_a_sleep() {
    let mut run = Run::new(b"");
    run.put(DATA, &[2, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0]);
    let sleep = Operation::Sleep(Sleep::lasting(2_000_005_000, &run.host));
    let args = [142, 0, 0, 0, 0, DATA.into(), 0];
    assert_eq!(run.waits(C::Syscall6, &args, sleep, Completion::Done), 0);
    let sleep = Operation::Sleep(Sleep::lasting(2_000_000_005, &run.host));
    let args = [308, 0, 0, 0, 0, DATA.into(), 0];
    assert_eq!(run.waits(C::Syscall6, &args, sleep, Completion::Done), 0);
    // Standard input and output are ready, nothing is exceptional, and descriptor 9 is not open.
    for (read, exceptional, expected) in [(0b11, 1, 2), (1 << 9, 0, -9)] {
        run.put(
            64,
            &[read, 0, 0, 0, exceptional, 0, 0, 0].map(|word: u16| word.to_le_bytes()).concat(),
        );
        assert_eq!(syscall(&mut run, 142, &[10, 64, 0, 72, 0]), expected);
    }
    assert_eq!(run.host.read_u32(72), Ok(0));
}

#[test]
fn the_break_by_number_223() {
    let mut run = Run::new(b"");
    assert_eq!(syscall(&mut run, 223, &[0]), 65536);
    assert_eq!(syscall(&mut run, 223, &[65536]), 65536);
    assert_eq!((syscall(&mut run, 223, &[0]), run.host.size()), (131_072, 131_072));
    assert_eq!(syscall(&mut run, 223, &[-65536_i32 as u32]), 131_072);
    assert_eq!(syscall(&mut run, 223, &[-65536_i32 as u32]), -12);
}

#[test]
fn shared_files_wait_in_calls_that_can() {
    let mut run = Run::new(b"");
    let at = u64::from(path(&mut run, PATH, "faasm://a"));
    let fetch = Operation::ReadFile { path: "a".into() };
    let bytes = Completion::Bytes(b"xyz".to_vec());
    assert_eq!(run.waits(C::Syscall2, &[195, at, DATA.into()], fetch, bytes), 0);
    assert_eq!(run.host.read_u64(DATA + 48), Ok(3));
    assert_eq!(open(&mut run, "faasm://a", 0), 5);
    assert_eq!(open(&mut run, "faasm://a", 1), -30);
    let at = u64::from(path(&mut run, PATH, "faasm://b"));
    let fetch = Operation::ReadFile { path: "b".into() };
    assert_eq!(run.waits(C::Syscall3, &[5, at, 0, 0], fetch, Completion::Missing), -2);
}

#[test]
fn the_process_and_its_limits() {
    let mut run = Run::new(b"");
    for number in [20, 224] {
        assert_eq!(syscall(&mut run, number, &[]), 1);
    }
    for number in [199, 200, 201, 202, 174, 175, 125, 243] {
        assert_eq!(syscall(&mut run, number, &[]), 0, "{number}");
    }
    assert_eq!(syscall(&mut run, 122, &[DATA]), 0);
    assert_eq!(run.host.read_string(DATA + 4 * 65), Ok("wasm32".into()));
    assert_eq!(syscall(&mut run, 340, &[0, 3, 0, DATA]), 0);
    assert_eq!(run.bytes(DATA, 16), [255; 16]);
    assert_eq!(run.call(C::Getrlimit, &[3, u64::from(DATA)]), Ok(0));
    assert_eq!(run.call(C::Getrlimit, &[3, 65535]), Ok(-14));
    assert_eq!(syscall(&mut run, 355, &[DATA, 4, 0]), 4);
    assert_eq!(run.bytes(DATA, 4), [7; 4]);
    assert_eq!(syscall(&mut run, 9999, &[]), -38);
    assert_eq!(syscall(&mut run, 240, &[DATA, 0x81, 1]), 0);
    let line = u64::from(path(&mut run, PATH, "line"));
    assert_eq!(run.call(C::Puts, &[line]), Ok(0));
    assert_eq!(run.host.printed, b"line\n");
    for number in [1, 252] {
        assert_eq!(run.call(C::Syscall1, &[number, 7]), Err(Fault::Exit(7)));
    }
}

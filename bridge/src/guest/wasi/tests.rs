//! WASI calls as a C library makes them.

mod corners;
mod poll;

use crate::guest::testing::Run;
use crate::guest::{Completion, GuestMemoryExt, Operation};
use crate::host::HostCall::{self, self as C};

const ROOT: u64 = 3;
/// Addresses at which the tests put paths, lists, bytes and results.
const PATH: u32 = 1000;
const OTHER: u32 = 6000;
const LIST: u32 = 12000;
const DATA: u32 = 20000;
const RESULT: u32 = 100;

const ALL: u64 = u64::MAX;
const READ: u64 = 1 << 1;
const CREATE: u64 = 1;
const DIRECTORY: u64 = 2;
const EXCLUSIVE: u64 = 4;
const TRUNCATE: u64 = 8;
const APPEND: u64 = 1;

fn path(run: &mut Run, at: u32, path: &str) -> [u64; 2] {
    [run.put(at, path.as_bytes()), path.len() as u64]
}

fn open_with(run: &mut Run, name: &str, how: u64, rights: u64, flags: u64) -> Result<u64, i32> {
    let [at, length] = path(run, PATH, name);
    let args = [ROOT, 1, at, length, how, rights, ALL, flags, RESULT.into()];
    match run.ready(C::PathOpen, &args) {
        0 => Ok(run.host.read_u32(RESULT).unwrap().into()),
        errno => Err(errno),
    }
}

fn open(run: &mut Run, name: &str, how: u64) -> Result<u64, i32> {
    open_with(run, name, how, ALL, 0)
}

fn on_path(run: &mut Run, call: HostCall, name: &str) -> i32 {
    let [at, length] = path(run, PATH, name);
    run.call(call, &[ROOT, at, length]).unwrap()
}

fn list(run: &mut Run, at: u32, length: u32) -> [u64; 2] {
    run.put(LIST, &at.to_le_bytes());
    run.put(LIST + 4, &length.to_le_bytes());
    [LIST.into(), 1]
}

fn write(run: &mut Run, descriptor: u64, bytes: &[u8]) -> i32 {
    run.put(DATA, bytes);
    let [parts, count] = list(run, DATA, bytes.len() as u32);
    run.call(C::FdWrite, &[descriptor, parts, count, RESULT.into()]).unwrap()
}

fn read(run: &mut Run, descriptor: u64, length: u32) -> Result<Vec<u8>, i32> {
    let [parts, count] = list(run, DATA, length);
    match run.call(C::FdRead, &[descriptor, parts, count, RESULT.into()]).unwrap() {
        0 => Ok(run.bytes(DATA, run.host.read_u32(RESULT).unwrap())),
        errno => Err(errno),
    }
}

fn stat(run: &mut Run, name: &str, follow: u64) -> Result<Vec<u64>, i32> {
    let [at, length] = path(run, PATH, name);
    match run.ready(C::PathFilestatGet, &[ROOT, follow, at, length, RESULT.into()]) {
        0 => Ok((0..8).map(|n| run.host.read_u64(RESULT + n * 8).unwrap()).collect()),
        errno => Err(errno),
    }
}

#[test]
fn the_root_is_preopened() {
    let mut run = Run::new(b"");
    assert_eq!(run.call(C::FdPrestatGet, &[3, 0]), Ok(0));
    assert_eq!(run.bytes(0, 8), [0, 0, 0, 0, 1, 0, 0, 0]);
    assert_eq!(run.call(C::FdPrestatDirName, &[3, 8, 1]), Ok(0));
    assert_eq!(run.bytes(8, 1), b"/");
    assert_eq!(run.call(C::FdPrestatDirName, &[3, 8, 0]), Ok(37));
    assert_eq!(run.call(C::FdPrestatDirName, &[4, 8, 1]), Ok(0));
    assert_eq!(run.bytes(8, 1), b".");
    for descriptor in [0, 5] {
        assert_eq!(run.call(C::FdPrestatGet, &[descriptor, 0]), Ok(8));
    }
    assert_eq!(run.call(C::FdFdstatGet, &[3, 0]), Ok(0));
    assert_eq!(run.host.memory[0], 3);
    // The rights that older wasi-libc requests are limited to those this descriptor inherits.
    assert_eq!(run.host.read_u64(16).unwrap() & 0x3fff_ffff, 0x0fff_ffff);
}

#[test]
fn files_are_written_and_read() {
    let mut run = Run::new(b"");
    run.host.now = 77;
    let fd = open(&mut run, "f", CREATE | EXCLUSIVE).unwrap();
    assert_eq!(fd, 5);
    assert_eq!(open(&mut run, "f", CREATE | EXCLUSIVE), Err(20));
    assert_eq!(write(&mut run, fd, b"hello world"), 0);
    assert_eq!(read(&mut run, fd, 9), Ok(vec![]));
    assert_eq!(run.call(C::FdSeek, &[fd, -5_i64 as u64, 2, RESULT.into()]), Ok(0));
    assert_eq!(run.host.read_u64(RESULT), Ok(6));
    assert_eq!(read(&mut run, fd, 9), Ok(b"world".to_vec()));
    assert_eq!(run.call(C::FdTell, &[fd, RESULT.into()]), Ok(0));
    assert_eq!(run.host.read_u64(RESULT), Ok(11));
    assert_eq!(run.call(C::FdSeek, &[fd, -12_i64 as u64, 1, RESULT.into()]), Ok(28));
    assert_eq!(run.call(C::FdSeek, &[fd, 0, 3, RESULT.into()]), Ok(28));

    let [parts, count] = list(&mut run, DATA, 3);
    run.put(DATA, b"JEL");
    assert_eq!(run.call(C::FdPwrite, &[fd, parts, count, 1, RESULT.into()]), Ok(0));
    assert_eq!(run.call(C::FdPread, &[fd, parts, count, 0, RESULT.into()]), Ok(0));
    assert_eq!(run.bytes(DATA, 3), b"hJE");
    assert_eq!(run.call(C::FdPread, &[0, parts, count, 0, RESULT.into()]), Ok(70));

    assert_eq!(run.call(C::FdFilestatSetSize, &[fd, 4]), Ok(0));
    assert_eq!(run.call(C::FdAllocate, &[fd, 2, 4]), Ok(0));
    let found = stat(&mut run, "/f", 1).unwrap();
    assert_eq!(found[2..], [4, 1, 6, 77, 77, 77]);
    assert_eq!(run.call(C::FdFilestatGet, &[fd, 8]), Ok(0));
    assert_eq!(run.host.read_u64(16), Ok(found[1]), "one inode");
    assert_eq!(run.call(C::FdFilestatSetTimes, &[fd, 5, 6, 1 | 8]), Ok(0));
    assert_eq!(run.call(C::FdFilestatSetTimes, &[fd, 5, 6, 3]), Ok(28));
    assert_eq!(stat(&mut run, "f", 1).unwrap()[5..7], [5, 77]);
    for call in [C::FdSync, C::FdDatasync] {
        assert_eq!((run.call(call, &[fd]), run.call(call, &[99])), (Ok(0), Ok(8)));
    }
    assert_eq!(run.call(C::FdAdvise, &[fd, 0, 0, 5]), Ok(0));
    assert_eq!(run.call(C::FdAdvise, &[fd, 0, 0, 6]), Ok(28));
    open(&mut run, "f", TRUNCATE).unwrap();
    assert_eq!(stat(&mut run, "f", 1).unwrap()[4], 0);
}

#[test]
fn rights_and_flags() {
    let mut run = Run::new(b"");
    let fd = open_with(&mut run, "f", CREATE, ALL, APPEND).unwrap();
    assert_eq!(write(&mut run, fd, b"ab"), 0);
    run.call(C::FdSeek, &[fd, 0, 0, RESULT.into()]).unwrap();
    assert_eq!(write(&mut run, fd, b"cd"), 0);
    assert_eq!(stat(&mut run, "f", 1).unwrap()[4], 4, "appended");
    assert_eq!(run.call(C::FdFdstatSetFlags, &[fd, 0]), Ok(0));
    assert_eq!(run.call(C::FdFdstatSetFlags, &[fd, 32]), Ok(28));
    run.call(C::FdSeek, &[fd, 1, 0, RESULT.into()]).unwrap();
    assert_eq!(write(&mut run, fd, b"B"), 0);

    let only_read = open_with(&mut run, "f", 0, READ, 0).unwrap();
    assert_eq!(read(&mut run, only_read, 9), Ok(b"aBcd".to_vec()));
    assert_eq!(write(&mut run, only_read, b"x"), 8);
    assert_eq!(run.call(C::FdFilestatSetSize, &[only_read, 0]), Ok(28));
    assert_eq!(run.call(C::FdFdstatSetRights, &[only_read, READ | 1 << 6, 0]), Ok(76));
    assert_eq!(run.call(C::FdFdstatSetRights, &[only_read, 0, 0]), Ok(0));
    assert_eq!(read(&mut run, only_read, 9), Err(8));
    assert_eq!(open_with(&mut run, "f", 0, READ, 64), Err(28));
    assert_eq!(open(&mut run, "f", 16), Err(28));
    assert_eq!(open(&mut run, "f", DIRECTORY), Err(54));
    assert_eq!(open(&mut run, ".", 0), Err(31), "a folder cannot be opened for writing");
    assert_eq!(write(&mut run, ROOT, b"x"), 8);
    assert_eq!(read(&mut run, ROOT, 1), Err(31));
}

#[test]
fn names_are_created_and_removed() {
    let mut run = Run::new(b"");
    assert_eq!(on_path(&mut run, C::PathCreateDirectory, "d"), 0);
    assert_eq!(on_path(&mut run, C::PathCreateDirectory, "d"), 20);
    assert_eq!(on_path(&mut run, C::PathCreateDirectory, "x/y"), 44);
    open(&mut run, "d/f", CREATE).unwrap();
    assert_eq!(on_path(&mut run, C::PathRemoveDirectory, "d"), 55);
    assert_eq!(on_path(&mut run, C::PathRemoveDirectory, "d/f"), 54);
    assert_eq!(on_path(&mut run, C::PathUnlinkFile, "d"), 31);

    let [old, old_length] = path(&mut run, PATH, "d/f");
    let [new, new_length] = path(&mut run, OTHER, "g");
    let rename = [ROOT, old, old_length, ROOT, new, new_length];
    assert_eq!(run.call(C::PathRename, &rename), Ok(0));
    assert_eq!(run.call(C::PathRename, &rename), Ok(44));
    let link = [ROOT, 0, new, new_length, ROOT, old, old_length];
    assert_eq!(run.call(C::PathLink, &link), Ok(0));
    assert_eq!(stat(&mut run, "g", 0).unwrap()[3], 2);
    let [target, target_length] = path(&mut run, PATH, "d/f");
    let [new, new_length] = path(&mut run, OTHER, "s");
    assert_eq!(run.call(C::PathSymlink, &[target, target_length, ROOT, new, new_length]), Ok(0));
    let readlink = [ROOT, new, new_length, DATA.into(), 2, RESULT.into()];
    assert_eq!(run.call(C::PathReadlink, &readlink), Ok(0));
    assert_eq!((run.bytes(DATA, 3), run.host.read_u32(RESULT)), (b"d/\0".to_vec(), Ok(2)));
    assert_eq!((stat(&mut run, "s", 0).unwrap()[2], stat(&mut run, "s", 1).unwrap()[2]), (7, 4));
    let [at, length] = path(&mut run, PATH, "s");
    let times = [ROOT, 1, at, length, 3, 4, 1 | 4];
    assert_eq!(run.call(C::PathFilestatSetTimes, &times), Ok(0));
    assert_eq!(stat(&mut run, "g", 1).unwrap()[5..7], [3, 4]);
    assert_eq!(on_path(&mut run, C::PathUnlinkFile, "s"), 0);
    assert_eq!(on_path(&mut run, C::PathUnlinkFile, "s"), 44);
}

#[test]
fn bad_paths_and_descriptors() {
    let mut run = Run::new(b"");
    let at = run.put(PATH, b"\xff");
    assert_eq!(run.call(C::PathCreateDirectory, &[ROOT, at, 1]), Ok(25));
    assert_eq!(run.call(C::PathCreateDirectory, &[ROOT, 65535, 2]), Ok(21));
    assert_eq!(run.call(C::PathCreateDirectory, &[ROOT, 0, u32::MAX.into()]), Ok(37));
    assert_eq!(run.call(C::PathCreateDirectory, &[1, at, 1]), Ok(54));
    assert_eq!(run.call(C::PathCreateDirectory, &[9, at, 1]), Ok(8));
    assert_eq!(on_path(&mut run, C::PathCreateDirectory, &"x".repeat(256)), 37);
    assert_eq!(on_path(&mut run, C::PathCreateDirectory, ""), 44);
    let [at, length] = path(&mut run, PATH, "new");
    let args = [ROOT, 0, at, length, CREATE, ALL, ALL, 0, 65534];
    assert_eq!(run.ready(C::PathOpen, &args), 21);
    assert_eq!(stat(&mut run, "new", 0), Err(44), "nothing was created");
    assert_eq!(stat(&mut run, "..", 0).unwrap()[1], 1, "the parent of the root is the root");
    on_path(&mut run, C::PathCreateDirectory, "d");
    let folder = open_with(&mut run, "d", DIRECTORY, READ, 0).unwrap();
    let [at, length] = path(&mut run, PATH, "../d");
    let args = [folder, 0, at, length, RESULT.into()];
    assert_eq!(run.ready(C::PathFilestatGet, &args), 76);
    assert_eq!(run.call(C::SockRecv, &[3, 0, 0, 0, 0, 0]), Ok(57));
    assert_eq!(run.call(C::SockShutdown, &[9, 0]), Ok(8));
    assert_eq!(run.call(C::ProcRaise, &[6]), Ok(58));
}

#[test]
fn renumbering_moves_a_descriptor() {
    let mut run = Run::new(b"in");
    let fd = open(&mut run, "out", CREATE).unwrap();
    assert_eq!(run.call(C::FdRenumber, &[fd, 9]), Ok(8));
    assert_eq!(run.call(C::FdRenumber, &[9, fd]), Ok(8));
    assert_eq!(run.call(C::FdRenumber, &[fd, 1]), Ok(0));
    assert_eq!(write(&mut run, 1, b"to the file"), 0);
    assert_eq!(run.host.printed, b"");
    assert_eq!(stat(&mut run, "out", 1).unwrap()[4], 11);
    assert_eq!(run.call(C::FdClose, &[fd]), Ok(8));
    assert_eq!(run.call(C::FdRenumber, &[1, 1]), Ok(0));
    assert_eq!(run.call(C::FdClose, &[1]), Ok(0));
}

/// Reads a folder as wasi-libc does: takes complete entries, reads a truncated one again with its predecessor's cookie,
/// and doubles a buffer that is too small for one entry.
fn list_folder(run: &mut Run, fd: u64, mut size: u32) -> Vec<(String, u8)> {
    let (mut names, mut cookie) = (Vec::new(), 0);
    loop {
        let args = [fd, DATA.into(), size.into(), cookie, RESULT.into()];
        assert_eq!(run.call(C::FdReaddir, &args), Ok(0));
        let used = run.host.read_u32(RESULT).unwrap();
        let (mut at, before) = (0, cookie);
        while used - at >= 24 {
            let length = run.host.read_u32(DATA + at + 16).unwrap();
            if used - at - 24 < length {
                break;
            }
            cookie = run.host.read_u64(DATA + at).unwrap();
            assert_ne!(run.host.read_u64(DATA + at + 8), Ok(0), "an inode");
            let name = String::from_utf8(run.bytes(DATA + at + 24, length)).unwrap();
            names.push((name, run.bytes(DATA + at + 20, 1)[0]));
            at += 24 + length;
        }
        if used < size {
            return names;
        }
        if cookie == before {
            size *= 2;
        }
    }
}

#[test]
fn folders_are_listed_through_any_buffer() {
    let mut run = Run::new(b"");
    for name in ["zeta", "a-rather-long-name-for-a-file", "b"] {
        let fd = open(&mut run, name, CREATE).unwrap();
        run.call(C::FdClose, &[fd]).unwrap();
    }
    on_path(&mut run, C::PathCreateDirectory, "d");
    let expected: Vec<_> = [
        (".", 3),
        ("..", 3),
        ("tmp", 3),
        ("zeta", 4),
        ("a-rather-long-name-for-a-file", 4),
        ("b", 4),
        ("d", 3),
    ]
    .map(|(name, kind)| (name.to_owned(), kind))
    .into();
    for size in 1..200 {
        assert_eq!(list_folder(&mut run, ROOT, size), expected, "{size} bytes");
    }
    assert_eq!(run.call(C::FdReaddir, &[ROOT, 65530, 10, 0, 0]), Ok(21));
    assert_eq!(run.call(C::FdReaddir, &[1, 0, 10, 0, 0]), Ok(54));
    let args = [ROOT, DATA.into(), 0, 0, RESULT.into()];
    assert_eq!((run.call(C::FdReaddir, &args), run.host.read_u32(RESULT)), (Ok(0), Ok(0)));
}

#[test]
fn shared_files_are_fetched_once() {
    let mut run = Run::new(b"");
    let [at, length] = path(&mut run, PATH, "faasm://a/b");
    let fetch = Operation::ReadFile { path: "a/b".into() };
    let args = [ROOT, 1, at, length, RESULT.into()];
    let found = Completion::Bytes(b"shared".to_vec());
    assert_eq!(run.waits(C::PathFilestatGet, &args, fetch, found), 0);
    assert_eq!(run.host.read_u64(RESULT + 32), Ok(6));
    assert_eq!(open(&mut run, "faasm://a/b", 0), Err(69), "shared files are read-only");
    let fd = open_with(&mut run, "/faasm:/a/b", 0, READ, 0).unwrap();
    assert_eq!(read(&mut run, fd, 9), Ok(b"shared".to_vec()));
    assert_eq!(on_path(&mut run, C::PathUnlinkFile, "faasm://a/b"), 69);

    let [at, length] = path(&mut run, PATH, "faasm://none");
    let fetch = Operation::ReadFile { path: "none".into() };
    let args = [ROOT, 1, at, length, 0, READ, 0, 0, RESULT.into()];
    assert_eq!(run.waits(C::PathOpen, &args, fetch.clone(), Completion::Missing), 44);
    assert_eq!(run.ready(C::PathOpen, &args), 44, "its absence is cached");

    // The path changed under the call: an error, not a second wait.
    let [at, length] = path(&mut run, PATH, "faasm://one");
    let args = [ROOT, 1, at, length, 0, READ, 0, 0, RESULT.into()];
    run.begin(C::PathOpen, &args).unwrap();
    path(&mut run, PATH, "faasm://two");
    run.guest.complete(Completion::Missing).unwrap();
    assert_eq!(run.finish(), Ok(crate::guest::Finish::Return(29)));
}

#[test]
fn state_is_written_from_files() {
    let mut run = Run::new(b"");
    let fd = open(&mut run, "f", CREATE).unwrap();
    write(&mut run, fd, b"value");
    let (key, name) = (run.put(PATH, b"k\0"), run.put(OTHER, b"/f\0"));
    assert_eq!(run.ready(C::WriteStateFromFile, &[key, name]), 5);
    let value = run.tier.get("k").unwrap();
    assert!(value.read(0..5) == b"value" && value.is_dirty());
    run.put(OTHER, b"none\0");
    assert_eq!(run.ready(C::WriteStateFromFile, &[key, name]), -1);
    run.put(PATH, b"l\0");
    run.put(OTHER, b"faasm://x\0");
    let fetch = Operation::ReadFile { path: "x".into() };
    let bytes = Completion::Bytes(b"xyz".to_vec());
    assert_eq!(run.waits(C::WriteStateFromFile, &[key, name], fetch, bytes), 3);
    assert_eq!(run.tier.get("l").unwrap().read(0..3), b"xyz");

    // The guest overwrites key and path before the file arrives.
    run.put(PATH, b"m\0");
    run.put(OTHER, b"faasm://y\0");
    run.begin(C::WriteStateFromFile, &[key, name]).unwrap();
    run.put(PATH, b"k\0");
    run.put(OTHER, b"faasm://x\0");
    run.guest.complete(Completion::Bytes(b"yy".to_vec())).unwrap();
    assert_eq!(run.finish(), Ok(crate::guest::Finish::Return(2)));
    assert_eq!(run.tier.get("m").unwrap().read(0..2), b"yy");
    assert_eq!(run.tier.get("k").unwrap().read(0..5), b"value");
    run.put(OTHER, b"faasm://z\0");
    run.begin(C::WriteStateFromFile, &[key, name]).unwrap();
    run.guest.complete(Completion::Missing).unwrap();
    assert_eq!(run.finish(), Ok(crate::guest::Finish::Return(-1)));
}

//! The file tree alone: rules, limits, and random sequences against a plain model.

mod descriptors;

use super::*;
use crate::guest::errno::Stop;
use crate::guest::{Fault, Operation};

/// The error of a result.
fn errno<T: std::fmt::Debug>(result: Result<T, Stop>) -> Errno {
    match result {
        Err(Stop::Errno(errno)) => errno,
        other => panic!("{other:?}"),
    }
}

fn options(create: bool) -> OpenOptions {
    OpenOptions {
        follow: true,
        create,
        exclusive: false,
        truncate: false,
        folder: false,
        flags: Flags::default(),
        rights: Rights::of_mode(true, create),
    }
}

/// Creates a file with these bytes.
fn file(files: &mut Files, path: &str, bytes: &[u8]) {
    let descriptor = files.open(Base::ROOT, path, &options(true), 1).unwrap();
    let inode = files.node_of(descriptor).unwrap().unwrap();
    files.tree.resize(inode, 0, 1).unwrap();
    files.tree.write(inode, 0, bytes, 1).unwrap();
    files.close(descriptor).unwrap();
}

fn bytes(files: &mut Files, path: &str) -> Result<Vec<u8>, Stop> {
    files.read_whole(path).map(<[u8]>::to_vec)
}

fn names(files: &mut Files, path: &str) -> Vec<String> {
    let descriptor = files.open(Base::ROOT, path, &options(false), 1).unwrap();
    let names = files.list(descriptor, 2).unwrap().map(|entry| entry.name.to_owned()).collect();
    files.close(descriptor).unwrap();
    names
}

fn tree() -> Files {
    let mut files = Files::default();
    for folder in ["a", "a/b"] {
        files.create_folder(Base::ROOT, folder, 1).unwrap();
    }
    file(&mut files, "a/f", b"one");
    files
}

#[test]
fn paths_are_followed() {
    let mut files = tree();
    for path in ["a/f", "/a/f", "a//f", "./a/./f", "a/b/../f", "../../a/f", "/../a/f"] {
        assert_eq!(bytes(&mut files, path).unwrap(), b"one", "{path}");
    }
    for (path, refused) in [
        ("", Errno::NoEntry),
        ("a/none", Errno::NoEntry),
        ("none/f", Errno::NoEntry),
        ("a/f/", Errno::NotFolder),
        ("a/f/x", Errno::NotFolder),
        ("a/f/..", Errno::NotFolder),
        ("a\0", Errno::Invalid),
        ("a", Errno::IsFolder),
    ] {
        assert_eq!(errno(bytes(&mut files, path)), refused, "{path}");
    }
    assert_eq!(errno(bytes(&mut files, &"x".repeat(256))), Errno::NameTooLong);
    assert_eq!(errno(bytes(&mut files, &"x/".repeat(2100))), Errno::NameTooLong);
    file(&mut files, &"x".repeat(255), b"");
}

#[test]
fn a_confined_path_stays_below_its_folder() {
    let mut files = tree();
    let folder = files.open(Base::ROOT, "a/b", &options(false), 1).unwrap();
    let below = files.base(folder, true).unwrap();
    files.symlink("/a/f", (Base::ROOT, "a/b/out"), 1).unwrap();
    files.symlink("../f", (Base::ROOT, "a/b/up"), 1).unwrap();
    for path in ["..", "../f", "./../b", "/a/f", "out", "up"] {
        assert_eq!(errno(files.stat_path(below, path, true)), Errno::NotCapable, "{path}");
    }
    let free = files.base(folder, false).unwrap();
    for path in ["../f", "/a/f", "out", "up"] {
        assert_eq!(files.stat_path(free, path, true).unwrap().size, 3, "{path}");
    }
    assert_eq!(files.base(0, true), Err(Errno::NotFolder));
    assert_eq!(files.base(99, true), Err(Errno::BadDescriptor));
}

#[test]
fn symbolic_links() {
    let mut files = tree();
    let root = Base::ROOT;
    files.symlink("a", (root, "folder"), 1).unwrap();
    files.symlink("folder/f", (root, "link"), 1).unwrap();
    assert_eq!(bytes(&mut files, "link").unwrap(), b"one");
    assert_eq!(files.read_link(root, "link"), Ok("folder/f"));
    assert_eq!(files.read_link(root, "a/f"), Err(Errno::Invalid));
    assert_eq!(files.stat_path(root, "link", false).unwrap().kind, FileType::Link);
    assert_eq!(files.stat_path(root, "folder/", false).unwrap().kind, FileType::Folder);
    let keep = OpenOptions { follow: false, ..options(false) };
    assert_eq!(errno(files.open(root, "link", &keep, 1)), Errno::Loop);
    assert_eq!(files.symlink("x", (root, "link"), 1), Err(Errno::Exists));
    assert_eq!(files.symlink("", (root, "empty"), 1), Err(Errno::NoEntry));

    files.symlink("round", (root, "about"), 1).unwrap();
    files.symlink("about", (root, "round"), 1).unwrap();
    assert_eq!(errno(bytes(&mut files, "about")), Errno::Loop);

    // A slash at the end of a link's target requires a folder, like that of a path.
    files.symlink("a/f/", (root, "slash"), 1).unwrap();
    assert_eq!(errno(bytes(&mut files, "slash")), Errno::NotFolder);

    // A dangling link: a file created through it is created at its target.
    files.symlink("a/new", (root, "dangling"), 1).unwrap();
    assert_eq!(errno(bytes(&mut files, "dangling")), Errno::NoEntry);
    let exclusive = OpenOptions { exclusive: true, ..options(true) };
    assert_eq!(errno(files.open(root, "dangling", &exclusive, 1)), Errno::Exists);
    file(&mut files, "dangling", b"made");
    assert_eq!(bytes(&mut files, "a/new").unwrap(), b"made");

    // Removing and renaming apply to the link, never to its target.
    assert_eq!(files.remove_folder(root, "folder/", 1), Err(Errno::NotFolder));
    files.remove_file(root, "link", 1).unwrap();
    files.rename((root, "folder"), (root, "moved"), 1).unwrap();
    assert_eq!(files.read_link(root, "moved"), Ok("a"));
    assert_eq!(bytes(&mut files, "a/f").unwrap(), b"one");
}

#[test]
fn opening() {
    let mut files = tree();
    let root = Base::ROOT;
    let open = |files: &mut Files, path: &str, options| files.open(root, path, &options, 1);
    let exclusive = OpenOptions { exclusive: true, ..options(true) };
    assert_eq!(errno(open(&mut files, "a/f", exclusive)), Errno::Exists);
    assert_eq!(errno(open(&mut files, "a", options(true))), Errno::IsFolder);
    assert_eq!(errno(open(&mut files, "a/x/", options(true))), Errno::IsFolder);
    let folder = OpenOptions { folder: true, ..options(false) };
    assert_eq!(errno(open(&mut files, "a/f", folder)), Errno::NotFolder);
    assert_eq!(
        errno(open(&mut files, "x", OpenOptions { create: true, ..folder })),
        Errno::Invalid
    );
    let truncate = OpenOptions { truncate: true, ..options(true) };
    assert_eq!(open(&mut files, "a/f", truncate), Ok(5), "the lowest free descriptor");
    assert_eq!(bytes(&mut files, "a/f").unwrap(), b"");
    for expected in 6..MAX_DESCRIPTORS {
        assert_eq!(open(&mut files, "a/f", options(false)), Ok(expected));
    }
    assert_eq!(errno(open(&mut files, "new", options(true))), Errno::TooManyOpen);
    assert_eq!(errno(bytes(&mut files, "new")), Errno::NoEntry, "nothing was created");
}

#[test]
fn an_open_file_outlives_its_names() {
    let mut files = tree();
    let root = Base::ROOT;
    let descriptor = files.open(root, "a/f", &options(true), 1).unwrap();
    files.link((root, "a/f"), false, (root, "g"), 1).unwrap();
    assert_eq!(files.stat(descriptor).unwrap().links, 2);
    assert_eq!(files.link((root, "a"), false, (root, "h"), 1), Err(Errno::Permission));
    files.remove_file(root, "a/f", 1).unwrap();
    files.remove_file(root, "g", 1).unwrap();
    assert_eq!(files.stat(descriptor).unwrap().links, 0);
    assert_eq!(files.bytes(descriptor, 1), Ok(&b"ne"[..]));
    let copy = files.duplicate(descriptor, 9).unwrap();
    assert_eq!(copy, 9);
    files.seek(copy, -1, Whence::End).unwrap();
    assert_eq!(files.seek(descriptor, 0, Whence::Current), Ok(2), "one offset");
    files.close(descriptor).unwrap();
    assert_eq!(files.bytes(copy, 2), Ok(&b"e"[..]));
    files.close(copy).unwrap();
    let (counted, used) = files.tree.counted();
    assert_eq!(counted, used);
    assert_eq!(files.close(copy), Err(Errno::BadDescriptor));

    // A folder that was removed while open accepts no new names.
    let folder = files.open(root, "a/b", &options(false), 1).unwrap();
    files.remove_folder(root, "a/b", 1).unwrap();
    let inside = files.base(folder, true).unwrap();
    assert_eq!(errno(files.open(inside, "x", &options(true), 1)), Errno::NoEntry);
    assert_eq!(files.create_folder(inside, "x", 1), Err(Errno::NoEntry));
    files.create_folder(root, "z", 1).unwrap();
    assert_eq!(files.rename((root, "z"), (inside, "x"), 1), Err(Errno::NoEntry));
    assert_eq!(files.list(folder, 0).unwrap().count(), 2);
}

#[test]
fn renaming() {
    let mut files = tree();
    let root = Base::ROOT;
    let rename = |files: &mut Files, old, new| files.rename((root, old), (root, new), 1);
    file(&mut files, "g", b"two");
    for (old, new, refused) in [
        ("none", "x", Errno::NoEntry),
        ("g", "none/x", Errno::NoEntry),
        ("g", "a", Errno::IsFolder),
        ("g", "x/", Errno::NotFolder),
        ("g/", "x", Errno::NotFolder),
        ("a", "g", Errno::NotFolder),
        ("a", "a/b/c", Errno::Invalid),
        ("a", "a/x", Errno::Invalid),
        ("a/b", "a", Errno::NotEmpty),
        ("a/..", "x", Errno::Busy),
        (".", "x", Errno::Busy),
    ] {
        assert_eq!(rename(&mut files, old, new), Err(refused), "{old} {new}");
    }
    assert_eq!(rename(&mut files, "g", "g"), Ok(()));
    assert_eq!(rename(&mut files, "g", "a/f"), Ok(()));
    assert_eq!(bytes(&mut files, "a/f").unwrap(), b"two");
    files.create_folder(root, "empty", 1).unwrap();
    assert_eq!(rename(&mut files, "a", "empty/"), Ok(()));
    assert_eq!(names(&mut files, "."), ["tmp", "empty"]);
    assert_eq!(rename(&mut files, "empty/b", "b"), Ok(()));
    assert_eq!(files.stat_path(root, "b/../b/..", true).unwrap().inode, 1, "a new parent");
    let (counted, used) = files.tree.counted();
    assert_eq!(counted, used);
}

#[test]
fn a_tree_has_a_bound() {
    let mut files = Files::default();
    let descriptor = files.open(Base::ROOT, "big", &options(true), 1).unwrap();
    assert_eq!(files.set_size(descriptor, MAX_TREE_BYTES, 1), Err(Errno::NoSpace));
    assert_eq!(files.set_size(descriptor, u64::MAX, 1), Err(Errno::NoSpace));
    let inode = files.node_of(descriptor).unwrap().unwrap();
    assert_eq!(files.tree.write(inode, MAX_TREE_BYTES, b"x", 1), Err(Errno::NoSpace));
    assert_eq!(files.tree.write(inode, u64::MAX, b"x", 1), Err(Errno::FileTooLarge));
    assert_eq!(files.allocate(descriptor, u64::MAX, 1, 1), Err(Errno::FileTooLarge));
    assert_eq!(files.allocate(descriptor, 0, 0, 1), Err(Errno::Invalid));
    let room = MAX_TREE_BYTES - files.tree.counted().1;
    assert_eq!(files.set_size(descriptor, room + 1, 1), Err(Errno::NoSpace));
    assert_eq!(files.set_size(descriptor, room, 1), Ok(()));
    assert_eq!(errno(files.open(Base::ROOT, "more", &options(true), 1)), Errno::NoSpace);
    assert_eq!(files.create_folder(Base::ROOT, "more", 1), Err(Errno::NoSpace));
    assert_eq!(files.set_size(descriptor, 5, 1), Ok(()));
    assert_eq!(files.allocate(descriptor, 3, 1, 1), Ok(()));
    assert_eq!(files.stat(descriptor).unwrap().size, 5);
    let (counted, used) = files.tree.counted();
    assert_eq!(counted, used);
}

#[test]
fn shared_files_wait_once() {
    let mut files = tree();
    let root = Base::ROOT;
    let fetch = |path: &str| Err(Stop::Wait(Operation::ReadFile { path: path.into() }));
    assert_eq!(files.open(root, "faasm://x/y", &options(false), 1), fetch("x/y"));
    files.shared_arrived(Some(b"shared".to_vec()), 5).unwrap();
    let descriptor = files.open(root, "/faasm:/x/y", &options(false), 1).unwrap();
    assert_eq!(files.bytes(descriptor, 2), Ok(&b"ared"[..]));
    assert_eq!(files.stat_path(root, "faasm://x/y", true).unwrap().size, 6);
    assert_eq!(
        files.stat_path(root, "faasm://none", true),
        fetch("none").map(|_: u32| unreachable!())
    );
    files.shared_arrived(None, 5).unwrap();
    assert_eq!(errno(files.open(root, "faasm://none", &options(false), 1)), Errno::NoEntry);
    assert_eq!(files.shared_arrived(None, 5), Err(Errno::Io));

    let shared = "faasm://x/y";
    assert_eq!(errno(files.open(root, shared, &options(true), 1)), Errno::ReadOnly);
    assert_eq!(files.create_folder(root, shared, 1), Err(Errno::ReadOnly));
    assert_eq!(files.remove_file(root, shared, 1), Err(Errno::ReadOnly));
    assert_eq!(files.remove_folder(root, shared, 1), Err(Errno::ReadOnly));
    assert_eq!(files.rename((root, "a/f"), (root, shared), 1), Err(Errno::ReadOnly));
    assert_eq!(files.rename((root, shared), (root, "x"), 1), Err(Errno::ReadOnly));
    assert_eq!(files.link((root, shared), true, (root, "x"), 1), Err(Errno::ReadOnly));
    assert_eq!(files.symlink("x", (root, shared), 1), Err(Errno::ReadOnly));
    assert_eq!(files.read_link(root, shared), Err(Errno::Invalid));
    assert_eq!(files.set_path_size(root, shared, 0, 1), Err(Errno::ReadOnly));
    assert_eq!(
        files.set_times(descriptor, TimeChange::Now, TimeChange::Keep, 1),
        Err(Errno::ReadOnly)
    );
    assert_eq!(files.set_size(descriptor, 0, 1), Err(Errno::Invalid), "open for reading only");
    let folder = OpenOptions { folder: true, ..options(false) };
    assert_eq!(errno(files.open(root, shared, &folder, 1)), Errno::NotFolder);
}

#[test]
fn faults_of_bad_strings_are_errnos() {
    assert_eq!(Stop::from(Fault::NotUtf8 { pointer: 1 }), Errno::IllegalSequence.into());
    assert_eq!(Stop::from(Fault::UnterminatedString { pointer: 1 }), Errno::NameTooLong.into());
}

mod model;

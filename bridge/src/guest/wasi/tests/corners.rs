//! Closing, moving and replacing descriptors, and slashes at the end of a path.

use super::*;

#[test]
fn every_open_descriptor_can_be_closed_once() {
    let mut run = Run::new(b"input");
    let file = open(&mut run, "f", CREATE).unwrap();
    for descriptor in [3, 0, 1, 2, file] {
        assert_eq!(run.call(C::FdClose, &[descriptor]), Ok(0), "{descriptor}");
        assert_eq!(run.call(C::FdClose, &[descriptor]), Ok(8), "{descriptor}");
    }
    assert_eq!(run.call(C::FdPrestatGet, &[3, 0]), Ok(8));
    let [at, length] = path(&mut run, PATH, "f");
    assert_eq!(run.call(C::PathUnlinkFile, &[ROOT, at, length]), Ok(8));
}

#[test]
fn the_root_is_replaced_and_moved() {
    let mut run = Run::new(b"");
    on_path(&mut run, C::PathCreateDirectory, "d");
    let folder = open_with(&mut run, "d", DIRECTORY, READ, 0).unwrap();
    // The root moves; its descriptor's name moves with it.
    assert_eq!(run.call(C::FdRenumber, &[ROOT, folder]), Ok(0));
    assert_eq!(run.call(C::FdPrestatGet, &[ROOT, 0]), Ok(8));
    let [at, length] = path(&mut run, PATH, "d");
    let args = [folder, 1, at, length, DIRECTORY, READ, ALL, 0, RESULT.into()];
    assert_eq!(run.ready(C::PathOpen, &args), 0, "the root is still there");
    assert_eq!(run.host.read_u32(RESULT), Ok(3), "the lowest free descriptor");
    assert_eq!(run.call(C::FdPrestatGet, &[3, 0]), Ok(8), "another folder under its number");
    assert_eq!(run.call(C::FdRenumber, &[3, folder]), Ok(0));
    assert_eq!(run.call(C::FdClose, &[folder]), Ok(0));
}

#[test]
fn a_slash_after_a_link_asks_for_what_it_leads_to() {
    let mut run = Run::new(b"");
    on_path(&mut run, C::PathCreateDirectory, "folder");
    open(&mut run, "file", CREATE).unwrap();
    for (target, name) in [("folder", "link"), ("file", "filed"), ("none", "dangling")] {
        let ([target, target_length], [new, new_length]) =
            (path(&mut run, PATH, target), path(&mut run, OTHER, name));
        let args = [target, target_length, ROOT, new, new_length];
        assert_eq!(run.call(C::PathSymlink, &args), Ok(0));
        // A link to be created is not followed, and the name exists.
        let [new, new_length] = path(&mut run, OTHER, &format!("{name}/"));
        assert_eq!(
            run.call(C::PathSymlink, &[target, target_length, ROOT, new, new_length]),
            Ok(20)
        );
        assert_eq!(on_path(&mut run, C::PathCreateDirectory, &format!("{name}/")), 20);
    }
    let open_folder = |run: &mut Run, name: &str| {
        let [at, length] = path(run, PATH, name);
        run.ready(C::PathOpen, &[ROOT, 0, at, length, DIRECTORY, READ, ALL, 0, RESULT.into()])
    };
    let (not_there, not_a_folder, a_loop, invalid) = (44, 54, 32, 28);
    let [at, length] = path(&mut run, PATH, "link");
    let args = [ROOT, 0, at, length, 0, READ, ALL, 0, RESULT.into()];
    assert_eq!(run.ready(C::PathOpen, &args), a_loop);
    for (name, opened) in [
        ("link/", 0),
        ("link", not_a_folder),
        ("filed/", not_a_folder),
        ("dangling/", not_there),
        ("file/", not_a_folder),
    ] {
        assert_eq!(open_folder(&mut run, name), opened, "{name}");
    }
    assert_eq!(stat(&mut run, "link/", 0).unwrap()[2], 3);
    assert_eq!(stat(&mut run, "link", 0).unwrap()[2], 7);
    let readlink = |run: &mut Run, name: &str| {
        let [at, length] = path(run, PATH, name);
        run.call(C::PathReadlink, &[ROOT, at, length, DATA.into(), 99, RESULT.into()])
    };
    assert_eq!(readlink(&mut run, "link/"), Ok(invalid));
    assert_eq!(readlink(&mut run, "dangling/"), Ok(not_there));
    // A link to be removed is not followed, and is not a folder.
    for call in [C::PathUnlinkFile, C::PathRemoveDirectory] {
        assert_eq!(on_path(&mut run, call, "link/"), not_a_folder, "{call}");
    }
    assert_eq!(on_path(&mut run, C::PathUnlinkFile, "file/"), not_a_folder);
    assert_eq!(on_path(&mut run, C::PathUnlinkFile, "folder/"), 31);
    for (old, new, expected) in [
        ("link/", "x", not_a_folder),
        ("file", "link/", not_a_folder),
        ("folder", "link/", not_a_folder),
        ("folder/", "moved/", 0),
    ] {
        let [old_at, old_length] = path(&mut run, PATH, old);
        let [new_at, new_length] = path(&mut run, OTHER, new);
        let args = [ROOT, old_at, old_length, ROOT, new_at, new_length];
        assert_eq!(run.call(C::PathRename, &args), Ok(expected), "{old} to {new}");
    }
}

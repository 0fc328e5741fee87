//! Folders of the in-memory tree of each call.

use crate::case::{Case, case, files};

pub(super) fn cases() -> Vec<Case> {
    vec![
        files(
            "folder/make-and-list",
            &["mkdir /d", "mkdir /d/e", "open /d/f wc", "list /d", "list /", "stat /d"],
        )
        .lines(&[
            "mkdir = ok",
            "mkdir = ok",
            "open = ok",
            "list = e/ f",
            "list = d/ tmp/",
            "stat = folder",
        ]),
        files("folder/empty", &["list /", "mkdir /d", "list /d", "stat /"]).lines(&[
            "list = tmp/",
            "mkdir = ok",
            "list =",
            "stat = folder",
        ]),
        files(
            "folder/errors",
            &[
                "mkdir /d",
                "mkdir /d",
                "mkdir /x/y",
                "open /d/f wc",
                "rmdir /d",
                "rmdir /d/f",
                "unlink /d",
                "list /none",
                "list /d/f",
            ],
        )
        .lines(&[
            "mkdir = ok",
            "mkdir = EEXIST",
            "mkdir = ENOENT",
            "open = ok",
            "rmdir = ENOTEMPTY",
            "rmdir = ENOTDIR",
            "unlink = EISDIR",
            "list = ENOENT",
            "list = ENOTDIR",
        ]),
        files(
            "folder/remove",
            &["mkdir /d", "open /d/f wc", "close", "unlink /d/f", "rmdir /d", "list /", "rmdir /d"],
        )
        .lines(&[
            "mkdir = ok",
            "open = ok",
            "close = ok",
            "unlink = ok",
            "rmdir = ok",
            "list = tmp/",
            "rmdir = ENOENT",
        ]),
        files(
            "folder/opened-as-a-file",
            &[
                "mkdir /d",
                "open /d w",
                "open /d/ r",
                "open /f wc",
                "close",
                "open /f rd",
                "open /f/x r",
            ],
        )
        .lines(&[
            "mkdir = ok",
            "open = EISDIR",
            "open = ok",
            "open = ok",
            "close = ok",
            "open = ENOTDIR",
            "open = ENOTDIR",
        ]),
        files(
            "folder/rename",
            &[
                "mkdir /d",
                "open /d/f wc",
                "write ab",
                "close",
                "rename /d /e",
                "stat /e/f",
                "stat /d",
            ],
        )
        .lines(&[
            "mkdir = ok",
            "open = ok",
            "write = 2",
            "close = ok",
            "rename = ok",
            "stat = file of 2",
            "stat = ENOENT",
        ]),
        files("folder/rename-into-itself", &["mkdir /d", "rename /d /d/e"])
            .lines(&["mkdir = ok", "rename = EINVAL"]),
        files(
            "folder/dots",
            &["mkdir /d", "open /d/../a wc", "close", "stat /d/./../a", "stat /d/."],
        )
        .lines(&[
            "mkdir = ok",
            "open = ok",
            "close = ok",
            "stat = file of 0",
            "stat = folder",
        ]),
        files(
            "folder/working-folder",
            &["mkdir /d", "chdir /d", "open f wc", "close", "stat /d/f", "chdir /none"],
        )
        .lines(&[
            "mkdir = ok",
            "chdir = ok",
            "open = ok",
            "close = ok",
            "stat = file of 0",
            "chdir = ENOENT",
        ]),
        many(),
    ]
}

/// More entries than one read of a folder returns.
fn many() -> Case {
    let mut script = String::from("mkdir /d\n");
    let mut list = String::from("list =");
    for number in 0..150 {
        script += &format!("open /d/file-with-a-long-name-{number:03} wc\nclose\n");
        list += &format!(" file-with-a-long-name-{number:03}");
    }
    script += "list /d";
    let made = "open = ok\nclose = ok\n".repeat(150);
    case("folder/many-entries", "files", script).output(format!("mkdir = ok\n{made}{list}\n"))
}

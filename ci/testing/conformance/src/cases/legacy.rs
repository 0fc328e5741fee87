//! Functions of the 2019/20 toolchain: `main` as the entry, calls of the function itself by index, system calls.

use crate::case::{Case, case};

/// Little-endian words.
fn words(words: &[i32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

pub(super) fn cases() -> Vec<Case> {
    let mut files = words(&[1, 7, 0, 4, 0, -2]);
    files.extend(b"tent");
    vec![
        case("legacy/main-after-zygote", "legacy_main", "").returns(-12).output("main after 1"),
        case("legacy/chain-by-index", "legacy_chain", "")
            .returns(22 * 100 + 5 * 10 + 1)
            .output("cba"),
        case("legacy/write-and-exit", "legacy_syscalls", "")
            .returns(6)
            .output(words(&[8, 13, 1, -9]))
            .stdout("written\nin two parts\nput\n"),
        case("legacy/memory", "legacy_memory", "").output(words(&[1, 65_536, 0x0a0b_0c0d, 1, 0])),
        case("legacy/mapped-file", "legacy_mmap", "").output("second page100"),
        case("legacy/files", "legacy_files", "").output(files),
        case("legacy/unknown-system-call", "legacy_unknown_syscall", "").returns(-38),
        case("legacy/clocks", "legacy_clock", "").returns(1),
    ]
}

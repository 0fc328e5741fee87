//! State values in two tiers: read, written, pushed and pulled, whole and in parts.

use crate::case::{Case, probe};
use crate::outcome::Code;

pub(super) fn cases() -> Vec<Case> {
    vec![
        probe("state/write-then-read", &["write k hello", "size k", "read k 5"])
            .lines(&["size = 5", "read = 5 \"hello\""])
            .leaves_no("k"),
        probe("state/write-then-push", &["write k hello", "push k"]).leaves("k", "hello"),
        probe("state/push-does-not-take-it-away", &["write k hello", "push k", "read k 5"])
            .lines(&["read = 5 \"hello\""])
            .leaves("k", "hello"),
        probe("state/missing", &["size k", "read k 4"])
            .lines(&["size = 0", "read = 0 \"....\""])
            .leaves_no("k"),
        probe("state/read-global", &["size k", "read k 6"])
            .with_value("k", "global")
            .lines(&["size = 6", "read = 6 \"global\""]),
        probe("state/read-binary", &["read k 4"])
            .with_value("k", [0, 255, 10, 0])
            .lines(&["read = 4 \"\\0\\xff\\n\\0\""]),
        probe("state/read-into-a-smaller-buffer", &["read k 3"])
            .with_value("k", "global")
            .lines(&["read = 6 \"glo\""]),
        probe("state/read-into-a-larger-buffer", &["read k 9"])
            .with_value("k", "global")
            .lines(&["read = 6 \"global...\""]),
        // Only a pull fetches newer values; reads return the local writes.
        probe("state/local-write-hides-global", &["write k newer", "read k 5"])
            .with_value("k", "older")
            .lines(&["read = 5 \"newer\""])
            .leaves("k", "older"),
        probe(
            "state/pull-replaces-unsent-writes",
            &["write k newer", "pull k 5", "read k 5", "push k"],
        )
        .with_value("k", "older")
        .lines(&["read = 5 \"older\""])
        .leaves("k", "older"),
        // Bytes that a pull overwrote, or that were already pushed, are not sent again later over changes of others.
        probe(
            "state/pull-leaves-nothing-to-push",
            &[
                "write k newer",
                "pull k 5",
                "chain_ptr script pull k 5\\nwrite k child\\npush k",
                "await",
                "push k",
            ],
        )
        .with_value("k", "older")
        .lines(&["await = 0"])
        .leaves("k", "child"),
        probe(
            "state/push-clears-dirty",
            &[
                "write k mine.",
                "push k",
                "chain_ptr script pull k 5\\nwrite k child\\npush k",
                "await",
                "push k",
            ],
        )
        .lines(&["await = 0"])
        .leaves("k", "child"),
        probe("state/pull-of-nothing", &["pull k 4", "read k 4", "size k"])
            .lines(&["read = 4 \"\\0\\0\\0\\0\"", "size = 4"])
            .leaves_no("k"),
        probe("state/pull-of-nothing-keeps-writes", &["write k abc", "pull k 3", "read k 3"])
            .lines(&["read = 3 \"abc\""]),
        probe(
            "state/pull-sees-others",
            &[
                "write k aaa",
                "push k",
                "chain_ptr script pull k 3\\nwrite k bbb\\npush k",
                "await",
                "pull k 3",
                "read k 3",
            ],
        )
        .lines(&["await = 0", "read = 3 \"bbb\""])
        .leaves("k", "bbb"),
        probe(
            "state/callee-sees-what-was-pushed",
            &["write k mine", "push k", "chain_ptr script pull k 4\\nread k 4", "await_output"],
        )
        .lines(&["await_output = 0 \"read = 4 \\\"mine\\\"\\n\""]),
        probe(
            "state/back-and-forth",
            &[
                "write k 0",
                "push k",
                "chain_ptr script pull k 1\\nwrite k 1\\npush k",
                "await",
                "pull k 1",
                "read k 1",
                "write k 2",
                "push k",
                "chain_ptr script pull k 1\\nread k 1",
                "await_output",
            ],
        )
        .lines(&["await = 0", "read = 1 \"1\"", "await_output = 0 \"read = 1 \\\"2\\\"\\n\""])
        .leaves("k", "2"),
        probe(
            "state/push-twice",
            &["write k one", "push k", "push k", "write k two", "push k", "push k"],
        )
        .leaves("k", "two"),
        probe(
            "state/push-of-what-is-clean-sends-nothing",
            &["read k 3", "push k", "push_partial k"],
        )
        .with_value("k", "abc")
        .lines(&["read = 3 \"abc\""])
        .leaves("k", "abc"),
        probe("state/push-of-nothing", &["push k", "push_partial k"]).leaves_no("k"),
        probe(
            "state/keys-are-apart",
            &["write a 1", "write b 22", "write c 333", "push b", "size a", "size b", "size c"],
        )
        .lines(&["size = 1", "size = 2", "size = 3"])
        .leaves_no("a")
        .leaves("b", "22")
        .leaves_no("c"),
        probe(
            "state/keys-in-utf8",
            &["write schlüssel-✓ wert", "push schlüssel-✓", "size schlüssel-✓"],
        )
        .lines(&["size = 4"])
        .leaves("schlüssel-✓", "wert"),
        probe("state/users-are-apart", &["size io", "size k"])
            .with_value("other", "x")
            .lines(&["size = 0", "size = 0"]),
        // Chunks.
        probe("state/write-a-chunk", &["write_at k 8 2 abc", "read_at k 8 2 3", "push k"])
            .lines(&["read_at = \"abc\""])
            .leaves("k", "\0\0abc\0\0\0"),
        probe("state/write-a-chunk-of-a-global-value", &["write_at k 10 3 XYZ", "push k"])
            .with_value("k", "abcdefghij")
            .leaves("k", "abcXYZghij"),
        probe("state/read-a-chunk", &["read_at k 10 4 3", "read_at k 10 0 1", "read_at k 10 9 1"])
            .with_value("k", "abcdefghij")
            .lines(&["read_at = \"efg\"", "read_at = \"a\"", "read_at = \"j\""]),
        probe(
            "state/pulled-chunks-leave-writes-alone",
            &["write_at k 10 4 XY", "read_at k 10 2 6", "read k 10"],
        )
        .with_value("k", "abcdefghij")
        .lines(&["read_at = \"cdXYgh\"", "read = 10 \"abcdXYghij\""])
        .leaves("k", "abcdefghij"),
        probe(
            "state/chunks-that-overlap",
            &["write_at k 6 0 aaaa", "write_at k 6 2 bbbb", "write_at k 6 3 c", "push k"],
        )
        .leaves("k", "aabcbb"),
        probe("state/chunk-at-the-end", &["write_at k 4 3 z", "push k"])
            .with_value("k", "abcd")
            .leaves("k", "abcz"),
        probe("state/empty-chunk", &["write_at k 4 4 ", "read_at k 4 4 0", "push k"])
            .with_value("k", "abcd")
            .lines(&["read_at = \"\""])
            .leaves("k", "abcd"),
        // Partial pushes send dirty bytes, and refresh the others.
        probe(
            "state/partial-push",
            &["write_at k 10 1 X", "write_at k 10 7 YZ", "push_partial k", "read k 10"],
        )
        .with_value("k", "abcdefghij")
        .lines(&["read = 10 \"aXcdefgYZj\""])
        .leaves("k", "aXcdefgYZj"),
        probe(
            "state/partial-push-refreshes",
            &[
                "pull k 6",
                "chain_ptr script pull k 6\\nwrite_at k 6 0 NN\\npush_partial k",
                "await",
                "write_at k 6 4 Z",
                "push_partial k",
                "read k 6",
            ],
        )
        .with_value("k", "abcdef")
        .lines(&["await = 0", "read = 6 \"NNcdZf\""])
        .leaves("k", "NNcdZf"),
        probe(
            "state/two-writers-push-their-parts",
            &[
                "chain_ptr script write_at k 8 0 AA\\npush_partial k",
                "await",
                "chain_ptr script write_at k 8 4 BB\\npush_partial k",
                "await",
                "pull k 8",
                "read k 8",
            ],
        )
        .with_value("k", "........")
        .lines(&["await = 0", "await = 0", "read = 8 \"AA..BB..\""])
        .leaves("k", "AA..BB.."),
        probe(
            "state/partial-push-makes-the-value",
            &["write_at k 4 1 b", "push_partial k", "read k 4"],
        )
        .lines(&["read = 4 \"\\0b\\0\\0\""])
        .leaves("k", "\0b\0\0"),
        probe(
            "state/partial-push-clears-dirty",
            &[
                "write_at k 3 0 A",
                "push_partial k",
                "chain_ptr script write_at k 3 0 B\\npush_partial k",
                "await",
                "push_partial k",
            ],
        )
        .with_value("k", "abc")
        .lines(&["await = 0"])
        .leaves("k", "Bbc"),
        probe(
            "state/masked-push",
            &[
                "write k ABCDEFGH",
                "write m \\x01\\0\\0\\x01\\x01\\0\\0\\xff",
                "push_mask k m",
                "read k 8",
            ],
        )
        .with_value("k", "abcdefgh")
        .lines(&["read = 8 \"ABCDEFGH\""])
        .leaves("k", "AbcDEfgH")
        .leaves_no("m"),
        probe(
            "state/masked-push-leaves-the-rest-for-later",
            &["write k ABCD", "write m \\x01\\0\\0\\0", "push_mask k m", "push_partial k"],
        )
        .with_value("k", "abcd")
        .leaves("k", "ABCD"),
        probe("state/mask-of-nothing", &["write k ABCD", "write m \\0\\0\\0\\0", "push_mask k m"])
            .with_value("k", "abcd")
            .leaves("k", "abcd"),
        probe("state/mask-of-another-size", &["write k ABCD", "write m \\x01", "push_mask k m"])
            .fails(Code::State),
        // The first access that states a size fixes the size.
        probe("state/another-size-locally", &["write k abc", "write k abcd"]).fails(Code::State),
        probe("state/another-size-by-chunk", &["write k abc", "read_at k 4 0 1"])
            .fails(Code::State),
        probe("state/another-size-than-global", &["write k abcd", "push k"])
            .with_value("k", "abc")
            .fails(Code::OperationFailed)
            .leaves("k", "abc"),
        probe("state/pull-of-another-size", &["pull k 9"])
            .with_value("k", "abc")
            .fails(Code::State),
        probe("state/chunk-beyond-the-end", &["write_at k 4 3 ab"])
            .fails(Code::State)
            .leaves_no("k"),
        probe("state/read-beyond-the-end", &["read_at k 4 2 3"])
            .with_value("k", "abcd")
            .fails(Code::State),
        probe("state/flag-does-nothing-to-clean-bytes", &["read k 3", "flag k 3", "push k"])
            .with_value("k", "abc")
            .lines(&["read = 3 \"abc\""])
            .leaves("k", "abc"),
        probe("state/flag-of-another-size", &["write k abc", "flag k 4"]).fails(Code::State),
        probe(
            "state/two-megabytes",
            &["fill k 2000000", "push k", "pull k 2000000", "read_at k 2000000 999936 2"],
        )
        .lines(&["read_at = \"BB\""])
        .leaves("k", (0..2_000_000_u32).map(|at| (at >> 8) as u8).collect::<Vec<_>>()),
        // More than one request can contain.
        probe(
            "state/twenty-megabytes",
            &[
                "fill k 20000000",
                "push k",
                "write_at k 20000000 19999999 !",
                "pull k 20000000",
                "read_at k 20000000 19999995 5",
                "size k",
            ],
        )
        .lines(&["read_at = \",,,,,\"", "size = 20000000"]),
        probe(
            "state/a-chunk-of-twenty-megabytes",
            &[
                "read_at k 20000000 16777214 4",
                "write_at k 20000000 8388607 abc",
                "push_partial k",
                "read_at k 20000000 8388606 5",
            ],
        )
        .with_value("k", vec![b'.'; 20_000_000])
        .lines(&["read_at = \"....\"", "read_at = \".abc.\""]),
        probe(
            "state/a-key-of-10000-characters",
            &["write_long_key 10000 long", "read_long_key 10000 4", "read_long_key 9999 4"],
        )
        .lines(&["read_long_key = 4 \"long\"", "read_long_key = 0 \"....\""]),
        probe(
            "state/suspended-often-in-state-calls",
            &[
                "write k a",
                "repeat 40 push k",
                "repeat 40 pull k 1",
                "pattern 100000",
                "repeat 20 pull k 1",
                "verify",
            ],
        )
        .lines(&["verify = 0 wrong"])
        .leaves("k", "a"),
    ]
}

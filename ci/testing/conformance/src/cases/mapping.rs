//! State mapped into guest memory: when writes through the pointer reach the local tier, and when writes of others
//! appear.

use crate::case::{Case, probe};
use crate::outcome::Code;

pub(super) fn cases() -> Vec<Case> {
    vec![
        probe("map/nothing", &["map k 4", "size k"])
            .lines(&["map = \"\\0\\0\\0\\0\"", "size = 4"])
            .leaves_no("k"),
        probe("map/global-value", &["map k 6"])
            .with_value("k", "global")
            .lines(&["map = \"global\""]),
        probe("map/local-value", &["write k local", "map k 5"])
            .with_value("k", "other")
            .lines(&["map = \"local\""]),
        probe("map/a-chunk", &["map_at k 10 4 3"])
            .with_value("k", "abcdefghij")
            .lines(&["map = \"efg\""]),
        probe("map/empty-chunk", &["map_at k 4 4 0", "write k abcd", "push k"])
            .with_value("k", "....")
            .lines(&["map = \"\""])
            .leaves("k", "abcd"),
        // Writes through the pointer are sent once they are flagged.
        probe("map/flag-then-push", &["map k 5", "poke 1 XY", "flag k 5", "push k"])
            .with_value("k", "abcde")
            .lines(&["map = \"abcde\""])
            .leaves("k", "aXYde"),
        probe("map/flag-then-poke-then-push", &["map k 5", "flag k 5", "poke 1 XY", "push k"])
            .with_value("k", "abcde")
            .lines(&["map = \"abcde\""])
            .leaves("k", "aXYde"),
        probe(
            "map/without-a-flag-nothing-is-sent",
            &["map k 5", "poke 1 XY", "push k", "push_partial k"],
        )
        .with_value("k", "abcde")
        .lines(&["map = \"abcde\""])
        .leaves("k", "abcde"),
        probe(
            "map/flag-a-chunk-then-push-partial",
            &["map k 10", "poke 0 XXXXXXXXXX", "flag_at k 10 2 3", "push_partial k", "peek 0 10"],
        )
        .with_value("k", "abcdefghij")
        // Bytes that were not flagged are overwritten by the global tier.
        .lines(&["map = \"abcdefghij\"", "peek = \"abXXXfghij\""])
        .leaves("k", "abXXXfghij"),
        probe(
            "map/chunk-flag-then-push-partial",
            &["map_at k 10 5 5", "poke 0 ZZ", "flag_at k 10 5 2", "push_partial k"],
        )
        .with_value("k", "abcdefghij")
        .lines(&["map = \"fghij\""])
        .leaves("k", "abcdeZZhij"),
        probe(
            "map/masked-push",
            &["map k 4", "poke 0 WXYZ", "flag k 4", "write m \\0\\x01\\x01\\0", "push_mask k m"],
        )
        .with_value("k", "abcd")
        .lines(&["map = \"abcd\""])
        .leaves("k", "aXYd"),
        // The host calls at which mapping and local tier are synchronised.
        probe("map/poke-shows-in-a-read", &["map k 5", "poke 2 !", "read k 5"])
            .with_value("k", "abcde")
            .lines(&["map = \"abcde\"", "read = 5 \"ab!de\""]),
        probe(
            "map/poke-shows-in-a-read-after-a-wait",
            &["map k 5", "poke 2 !", "sleep 1", "read_at k 5 2 1", "peek 0 5"],
        )
        .with_value("k", "abcde")
        .lines(&[
            "map = \"abcde\"",
            "sleep = 0 long enough",
            "read_at = \"!\"",
            "peek = \"ab!de\"",
        ]),
        probe(
            "map/write-shows-in-the-mapping",
            &["map k 5", "write k HELLO", "peek 0 5", "write_at k 5 1 a", "peek 0 5"],
        )
        .lines(&["map = \"\\0\\0\\0\\0\\0\"", "peek = \"HELLO\"", "peek = \"HaLLO\""]),
        probe(
            "map/pull-shows-in-the-mapping",
            &[
                "map k 3",
                "chain_ptr script pull k 3\\nwrite k new\\npush k",
                "await",
                "pull k 3",
                "peek 0 3",
            ],
        )
        .with_value("k", "old")
        .lines(&["map = \"old\"", "await = 0", "peek = \"new\""]),
        probe("map/pull-replaces-what-was-poked", &["map k 5", "poke 0 Z", "pull k 5", "peek 0 5"])
            .with_value("k", "abcde")
            .lines(&["map = \"abcde\"", "peek = \"abcde\""]),
        // In a page the callee runs on another host, whose writes appear only after a pull.
        probe(
            "map/resume-shows-what-this-host-wrote",
            &["map k 3", "chain_ptr script write k new", "await", "peek 0 3"],
        )
        .with_value("k", "old")
        .lines(&["map = \"old\"", "await = 0", "peek = \"new\""])
        .only(&["embedded"]),
        probe(
            "map/resume-shows-nothing-of-other-hosts",
            &["map k 3", "chain_ptr script write k new\\npush k", "await", "peek 0 3"],
        )
        .with_value("k", "old")
        .lines(&["map = \"old\"", "await = 0", "peek = \"old\""])
        .leaves("k", "new")
        .only(&["page", "worker"]),
        probe(
            "map/partial-push-shows-others",
            &[
                "map k 4",
                "chain_ptr script write_at k 4 0 N\\npush_partial k",
                "await",
                "poke 3 M",
                "flag_at k 4 3 1",
                "push_partial k",
                "peek 0 4",
            ],
        )
        .with_value("k", "abcd")
        .lines(&["map = \"abcd\"", "await = 0", "peek = \"NbcM\""])
        .leaves("k", "NbcM"),
        probe(
            "map/unlock-then-push",
            &["lock_write k", "map k 3", "poke 0 abc", "unlock_write k", "flag k 3", "push k"],
        )
        .with_value("k", "...")
        .lines(&["map = \"...\""])
        .leaves("k", "abc"),
        probe("map/poke-is-not-lost-at-the-end", &["map k 3", "flag k 3", "poke 0 abc"])
            .with_value("k", "...")
            .lines(&["map = \"...\""])
            .leaves("k", "..."),
        // A value keeps its address for the whole run.
        probe(
            "map/twice-the-same-address",
            &["map k 8", "map k 8", "map_at k 8 3 2", "distance 0 1", "distance 0 2"],
        )
        .with_value("k", "abcdefgh")
        .lines(&[
            "map = \"abcdefgh\"",
            "map = \"abcdefgh\"",
            "map = \"de\"",
            "distance = 0",
            "distance = 3",
        ]),
        probe(
            "map/two-values",
            &[
                "map a 3", "map b 3", "use 0", "poke 0 A", "use 1", "poke 0 B", "flag a 3",
                "flag b 3", "push a", "push b",
            ],
        )
        .with_value("a", "aaa")
        .with_value("b", "bbb")
        .lines(&["map = \"aaa\"", "map = \"bbb\""])
        .leaves("a", "Aaa")
        .leaves("b", "Bbb"),
        // Neither mapping nor suspension overwrites memory that the guest has allocated or allocates later.
        probe(
            "map/before-the-first-malloc",
            &[
                "map k 100000",
                "pattern 200000",
                "poke 99999 z",
                "sleep 1",
                "verify",
                "peek 99998 2",
            ],
        )
        .output(format!(
            "map = \"{}\"\nsleep = 0 long enough\nverify = 0 wrong\npeek = \
\"\\0z\"\n",
            "\\0".repeat(100_000)
        )),
        probe(
            "map/heap-is-left-alone",
            &[
                "pattern 50000",
                "map k 70000",
                "pattern 50000",
                "map m 10",
                "poke 0 0123456789",
                "sleep 1",
                "verify",
            ],
        )
        .output(format!(
            "map = \"{}\"\nmap = \"{}\"\nsleep = 0 long enough\nverify = 0 \
wrong\n",
            "\\0".repeat(70_000),
            "\\0".repeat(10)
        )),
        probe(
            "map/memory-grows-then-pull",
            &["map k 3", "grow 5", "poke 0 a", "sleep 1", "pull k 3", "peek 0 3"],
        )
        .with_value("k", "xyz")
        .lines(&["map = \"xyz\"", "grow = yes", "sleep = 0 long enough", "peek = \"xyz\""]),
        probe("map/another-size", &["write k abc", "map k 4"]).fails(Code::State),
        probe("map/another-size-than-global", &["map k 4"])
            .with_value("k", "abc")
            .fails(Code::State),
        probe("map/beyond-the-end", &["map_at k 4 2 3"]).with_value("k", "abcd").fails(Code::State),
    ]
}

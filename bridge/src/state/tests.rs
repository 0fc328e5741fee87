//! The rules of the local tier, one by one.

use super::*;

fn chunk(offset: u64, bytes: &[u8]) -> Chunk {
    Chunk { offset, bytes: bytes.to_vec().into() }
}

/// Writes through a mapping.
fn absorb(tier: &mut LocalTier, key: &str, offset: u64, bytes: &[u8]) {
    let before: Vec<u8> = bytes.iter().map(|byte| !byte).collect();
    tier.absorb_changed(key, offset, bytes, &before);
}

#[test]
fn the_first_access_fixes_the_size() {
    let mut tier = LocalTier::new();
    tier.write("k", 4, 0, b"abcd").unwrap();
    let error = tier.write("k", 5, 0, b"abcde").unwrap_err();
    assert_eq!(error, StateError::SizeMismatch { key: "k".into(), have: 4, asked: 5 });
    assert!(matches!(tier.open("big", MAX_VALUE_BYTES + 1), Err(StateError::TooLarge { .. })));
}

#[test]
fn pulled_bytes_fill_gaps_only() {
    let mut tier = LocalTier::new();
    tier.write("k", 6, 2, b"XY").unwrap();
    assert_eq!(tier.get("k").unwrap().missing(0..6), vec![0..2, 4..6]);
    tier.fill("k", 6, &chunk(0, b"abcdef")).unwrap();
    assert_eq!(tier.get("k").unwrap().read(0..6), b"abXYef");
    assert!(tier.get("k").unwrap().missing(0..6).is_empty());
}

#[test]
fn an_explicit_pull_replaces_unsent_writes() {
    let mut tier = LocalTier::new();
    let run = tier.new_run();
    tier.write("k", 3, 0, b"abc").unwrap();
    tier.ask(run, "k");
    tier.replace(run, "k", b"xyz").unwrap();
    assert_eq!(tier.get("k").unwrap().read(0..3), b"xyz");
    assert!(tier.take_dirty("k").is_none());
}

#[test]
fn a_pull_keeps_writes_made_meanwhile() {
    let mut tier = LocalTier::new();
    let [run, other, ended] = std::array::from_fn(|_| tier.new_run());
    tier.write("k", 6, 0, b"a").unwrap();
    for run in [run, other, ended] {
        tier.ask(run, "k");
    }
    tier.release(ended);
    // One write is pushed meanwhile, one is unsent, and one was made through a mapping.
    tier.write("k", 6, 1, b"B").unwrap();
    tier.take_dirty("k").unwrap();
    tier.write("k", 6, 2, b"C").unwrap();
    absorb(&mut tier, "k", 3, b"D");
    tier.write("other", 1, 0, b"x").unwrap();
    tier.replace(run, "k", b"uvwxyz").unwrap();
    assert_eq!(tier.get("k").unwrap().read(0..6), b"uBCDyz");
    assert_eq!(tier.take_dirty_ranges("k").unwrap().1, [chunk(2, b"C")]);
    // A request made before a write does not overwrite it; a later one does.
    tier.write("k", 6, 5, b"F").unwrap();
    tier.replace(other, "k", b"123456").unwrap();
    assert_eq!(tier.get("k").unwrap().read(0..6), b"1BCD5F");
    tier.ask(run, "k");
    tier.replace(run, "k", b"123456").unwrap();
    assert_eq!(tier.get("k").unwrap().read(0..6), b"123456");
    assert!(tier.take_dirty("k").is_none());
}

#[test]
fn reading_back_after_a_partial_push_keeps_newer_writes() {
    let mut tier = LocalTier::new();
    let run = tier.new_run();
    tier.write("k", 4, 0, b"abcd").unwrap();
    tier.take_dirty_ranges("k").unwrap();
    tier.write("k", 4, 0, b"A").unwrap();
    tier.ask(run, "k");
    tier.write("k", 4, 1, b"B").unwrap();
    tier.take_masked("k", "k").unwrap().unwrap();
    tier.write("k", 4, 2, b"C").unwrap();
    tier.refresh(run, "k", b"wxyz").unwrap();
    assert_eq!(tier.get("k").unwrap().read(0..4), b"wBCz");
    assert_eq!(tier.take_dirty_ranges("k").unwrap().1, [chunk(2, b"C")]);
}

#[test]
fn a_value_kept_fresh_keeps_writes_that_are_unsent_or_were_sent_meanwhile() {
    let mut tier = LocalTier::new();
    let run = tier.new_run();
    tier.write("k", 5, 0, b"a").unwrap();
    tier.take_dirty_ranges("k").unwrap();
    tier.write("k", 5, 1, b"bc").unwrap();
    tier.ask_to_keep_fresh(run, "k");
    let (_, sent) = tier.take_dirty_ranges("k").unwrap();
    assert_eq!(sent, [chunk(1, b"bc")]);
    tier.write("k", 5, 3, b"d").unwrap();
    tier.refresh(run, "k", b"vwxyz").unwrap();
    assert_eq!(tier.get("k").unwrap().read(0..5), b"vbcdz");
    assert_eq!(tier.take_dirty_ranges("k").unwrap().1, [chunk(3, b"d")]);
    // A request made after the writes may overwrite them; a whole push sends all present bytes.
    tier.ask_to_keep_fresh(run, "k");
    tier.write("k", 5, 4, b"e").unwrap();
    tier.take_dirty("k").unwrap();
    tier.refresh(run, "k", b"01234").unwrap();
    assert_eq!(tier.get("k").unwrap().read(0..5), b"vbcde");
    tier.ask_to_keep_fresh(run, "k");
    tier.refresh(run, "k", b"01234").unwrap();
    assert_eq!(tier.get("k").unwrap().read(0..5), b"01234");
}

#[test]
fn a_value_kept_fresh_keeps_mapped_writes_until_they_are_flagged_or_pulled() {
    let mut tier = LocalTier::new();
    let run = tier.new_run();
    let refresh = |tier: &mut LocalTier, bytes: &[u8; 4]| {
        tier.ask_to_keep_fresh(run, "k");
        tier.refresh(run, "k", bytes).unwrap();
        tier.get("k").unwrap().read(0..4).to_vec()
    };
    refresh(&mut tier, b"abcd");
    absorb(&mut tier, "k", 1, b"BC");
    assert!(!tier.get("k").unwrap().is_dirty());
    assert_eq!(refresh(&mut tier, b"0123"), b"0BC3");
    // Flagged bytes are sent, and then treated like others; likewise bytes covered by a write.
    tier.flag_dirty("k", 4, 1..2).unwrap();
    assert_eq!(refresh(&mut tier, b"4567"), b"4BC7");
    assert_eq!(tier.take_dirty_ranges("k").unwrap().1, [chunk(1, b"B")]);
    assert_eq!(refresh(&mut tier, b"abcd"), b"abCd");
    tier.write("k", 4, 2, b"D").unwrap();
    absorb(&mut tier, "k", 2, b"E");
    assert_eq!(tier.take_dirty_ranges("k").unwrap().1, [chunk(2, b"E")]);
    assert_eq!(refresh(&mut tier, b"0123"), b"0123");
    // A whole push sends all of them, a masked push those of the mask, and an explicit pull overwrites them.
    let absorb_again = |tier: &mut LocalTier| {
        absorb(tier, "k", 0, b"wxyz");
        assert_eq!(refresh(tier, b"0123"), b"wxyz");
    };
    absorb_again(&mut tier);
    tier.flag_dirty("k", 4, 0..1).unwrap();
    tier.take_dirty("k").unwrap();
    assert_eq!(refresh(&mut tier, b"0123"), b"0123");
    absorb_again(&mut tier);
    tier.write("mask", 4, 0, b"\0\x01\0\0").unwrap();
    tier.take_masked("k", "mask").unwrap().unwrap();
    assert_eq!(refresh(&mut tier, b"0123"), b"w1yz");
    tier.ask(run, "k");
    tier.replace(run, "k", b"abcd").unwrap();
    assert_eq!(refresh(&mut tier, b"0123"), b"0123");
}

#[test]
fn a_push_sends_present_bytes_and_can_be_undone() {
    let mut tier = LocalTier::new();
    tier.write("k", 6, 1, b"bc").unwrap();
    let (size, chunks) = tier.take_dirty("k").unwrap();
    assert_eq!((size, chunks.as_slice()), (6, &[chunk(1, b"bc")][..]));
    assert!(tier.take_dirty("k").is_none());
    let sent: Vec<_> = chunks.iter().map(Chunk::range).collect();
    tier.restore_dirty("k", &sent);
    assert_eq!(tier.take_dirty("k").unwrap().1, chunks);
}

#[test]
fn ranges_outside_the_value_are_refused() {
    let mut tier = LocalTier::new();
    assert!(matches!(tier.write("k", 4, 3, b"ab"), Err(StateError::OutOfRange { .. })));
    assert!(matches!(LocalTier::range("k", 4, u64::MAX, 2), Err(StateError::OutOfRange { .. })));
    assert!(tier.get("k").is_none());
}

#[test]
fn changes_of_watched_values_are_recorded() {
    use Change::{Pulled, Pushed, Written};
    let mut tier = LocalTier::new();
    tier.write("k", 4, 0, b"ab").unwrap();
    assert!(tier.take_changes().is_empty(), "not watched yet");
    tier.watch(vec!["k".into()]);
    tier.write("k", 4, 0, b"cd").unwrap();
    tier.write("k", 4, 1, b"e").unwrap();
    tier.write("other", 1, 0, b"x").unwrap();
    let of =
        |kinds: &[Change]| kinds.iter().map(|kind| ("k".to_owned(), *kind)).collect::<Vec<_>>();
    assert_eq!(tier.take_changes(), of(&[Written]));
    assert!(tier.take_in("k", Some(4), &chunk(2, b"fg")).unwrap());
    absorb(&mut tier, "k", 0, b"z");
    tier.take_dirty("k").unwrap();
    tier.pushed("k");
    assert_eq!(tier.take_changes(), of(&[Pulled, Written, Pushed]));
    let run = tier.new_run();
    tier.replace(run, "k", b"0123").unwrap();
    tier.refresh(run, "k", b"0123").unwrap();
    assert_eq!(tier.take_changes(), of(&[Pulled]));
    tier.watch(Vec::new());
    tier.write("k", 4, 0, b"a").unwrap();
    assert!(tier.take_changes().is_empty());
}

#[test]
fn a_value_in_neither_tier_is_not_created() {
    let mut tier = LocalTier::new();
    assert!(!tier.take_in("k", None, &chunk(0, b"")).unwrap());
    tier.write("k", 4, 1, b"b").unwrap();
    assert_eq!(tier.get("k").unwrap().gap(0..4), Some(0..4));
    assert!(tier.take_in("k", None, &chunk(0, b"")).unwrap());
    assert_eq!(tier.get("k").unwrap().read(0..4), b"\0b\0\0");
    assert_eq!(tier.get("k").unwrap().gap(0..4), None);
}

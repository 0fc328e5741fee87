//! What is kept between the requests of one transfer, and for how long.

use super::*;
use crate::store::Stores;

const SIZE: u64 = 2 * TRANSFER_BYTES + 100;
const ADA: (SessionKey, &str) = (SessionKey([1; 32]), "ada");
const BOB: (SessionKey, &str) = (SessionKey([2; 32]), "bob");

fn state() -> Arc<dyn StateStore> {
    Stores::in_memory().unwrap().state
}

async fn fill(state: &dyn StateStore, user: &str, byte: u8) {
    let chunks = vec![Chunk { offset: 0, bytes: vec![byte; SIZE as usize] }];
    state.write(user, "k", SIZE, chunks).await.unwrap();
}

async fn begin(
    transfers: &Arc<Transfers>,
    state: &dyn StateStore,
    whose: (SessionKey, &str),
    read: u64,
) -> Answer {
    transfers.read(state, whose, ("k", 0, None), read).await.unwrap()
}

fn whole(offset: u64) -> Reply {
    Reply::State { size: Some(SIZE), offset }
}

#[tokio::test]
async fn a_value_is_read_as_it_was_when_the_read_began() {
    let (transfers, state) = (Arc::new(Transfers::default()), state());
    fill(&*state, "ada", 7).await;
    let (reply, first) = begin(&transfers, &*state, ADA, 1).await;
    assert_eq!((reply, first.len() as u64), (whole(0), TRANSFER_BYTES));
    fill(&*state, "ada", 8).await;
    let mut all = first;
    for expected in [TRANSFER_BYTES, 100] {
        let at = all.len() as u64;
        let (reply, part) = transfers.read_on(ADA.0, 1, at);
        assert_eq!((reply, part.len() as u64), (whole(at), expected));
        all.extend(part);
    }
    assert!(all.iter().all(|byte| *byte == 7));
    assert_eq!(transfers.read_on(ADA.0, 1, 0).0, Reply::Missing, "it is not kept any longer");
    assert_eq!(transfers.room.available_permits(), UNITS as usize);
}

#[tokio::test]
async fn what_one_transfer_holds_is_not_kept() {
    let (transfers, state) = (Arc::new(Transfers::default()), state());
    let read = |offset, length| transfers.read(&*state, ADA, ("k", offset, length), 1);
    let none = (Reply::State { size: None, offset: 3 }, vec![]);
    assert_eq!(read(3, None).await.unwrap(), none);
    fill(&*state, "ada", 7).await;
    for (offset, length, expected) in [
        (SIZE - 3, None, 3),
        (SIZE + 3, None, 0),
        (u64::MAX, Some(u64::MAX), 0),
        (5, Some(TRANSFER_BYTES), TRANSFER_BYTES),
        (TRANSFER_BYTES + 100, Some(u64::MAX), TRANSFER_BYTES),
    ] {
        let (reply, bytes) = read(offset, length).await.unwrap();
        assert_eq!((reply, bytes.len() as u64), (whole(offset), expected));
        assert_eq!(transfers.read_on(ADA.0, 1, offset).0, Reply::Missing);
    }
    // One byte more than a transfer.
    read(5, Some(TRANSFER_BYTES + 1)).await.unwrap();
    assert_eq!(transfers.read_on(BOB.0, 1, 5).0, Reply::Missing, "another session");
    let last = transfers.read_on(ADA.0, 1, 5 + TRANSFER_BYTES);
    assert_eq!(last, (whole(5 + TRANSFER_BYTES), vec![7]));
}

#[tokio::test]
async fn parts_of_a_write_are_taken_all_or_none() {
    let transfers = Arc::new(Transfers::default());
    let chunk = |byte: u8| vec![Chunk { offset: byte.into(), bytes: vec![byte] }];
    for (part, byte) in [(1, 1), (0, 0), (1, 2)] {
        transfers.stage(ADA, (7, part), chunk(byte)).await;
    }
    assert!(transfers.take(BOB.0, 7, 2).is_none() && transfers.take(ADA.0, 8, 2).is_none());
    // The last one to come with a number counts: it was sent again.
    let staged = transfers.take(ADA.0, 7, 2).unwrap();
    assert_eq!(staged.chunks, [chunk(0), chunk(2)].concat());
    drop(staged);
    assert_eq!(transfers.room.available_permits(), UNITS as usize);
    for (parts, expected) in [(1, false), (2, true), (3, false)] {
        for part in [0, 1] {
            transfers.stage(ADA, (7, part), chunk(1)).await;
        }
        assert_eq!(transfers.take(ADA.0, 7, parts).is_some(), expected, "{parts}");
    }
    assert!(transfers.take(ADA.0, 7, 2).is_none(), "what is not whole is gone");
    assert_eq!(transfers.take(ADA.0, 9, 0).map(|staged| staged.chunks), Some(vec![]));
}

/// Room for one of these values, and not for two.
fn small(idle: Duration, longest: Duration) -> Arc<Transfers> {
    let kept = Duration::from_millis(1);
    Arc::new(Transfers::new(20, Stays { idle, longest, kept }))
}

#[tokio::test]
async fn a_user_waits_for_others_and_not_for_what_they_left_themselves() {
    let stays = Stays { idle: Duration::MAX, longest: Duration::MAX, kept: Duration::MAX };
    let (transfers, state) = (Arc::new(Transfers::new(20, stays)), state());
    for user in ["ada", "bob"] {
        fill(&*state, user, 7).await;
    }
    begin(&transfers, &*state, ADA, 1).await;
    begin(&transfers, &*state, ADA, 2).await;
    assert_eq!(transfers.read_on(ADA.0, 1, 0).0, Reply::Missing);
    let mut other = pin!(begin(&transfers, &*state, BOB, 1));
    let waited = tokio::time::timeout(Duration::from_millis(50), &mut other).await;
    assert!(waited.is_err());
    // The last of it: there is room.
    assert_eq!(transfers.read_on(ADA.0, 2, SIZE - 1).0, whole(SIZE - 1));
    assert_eq!(other.await.0, whole(0));
}

#[tokio::test]
async fn what_is_not_used_and_what_takes_too_long_makes_room() {
    let state = state();
    for user in ["ada", "bob"] {
        fill(&*state, user, 7).await;
    }
    for (idle, longest) in [(Duration::ZERO, Duration::MAX), (Duration::MAX, Duration::ZERO)] {
        let transfers = small(idle, longest);
        begin(&transfers, &*state, ADA, 1).await;
        assert_eq!(begin(&transfers, &*state, BOB, 1).await.0, whole(0));
        assert_eq!(transfers.read_on(ADA.0, 1, 0).0, Reply::Missing);
    }
}

#[tokio::test]
async fn what_nobody_comes_back_for_is_forgotten() {
    let (transfers, state) = (small(Duration::MAX, Duration::MAX), state());
    fill(&*state, "ada", 7).await;
    for read in [1, 2] {
        begin(&transfers, &*state, ADA, read).await;
        while transfers.is_swept.load(Ordering::SeqCst) {
            tokio::task::yield_now().await;
        }
        assert_eq!(transfers.room.available_permits(), 20);
    }
}

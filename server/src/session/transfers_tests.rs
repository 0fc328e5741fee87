//! Buffering between the requests of one transfer, and its time limits.

use super::*;
use crate::budget::{Bound, Bounds, Budget};
use crate::store::Stores;
use faasm_bridge::wire::FailureCode;
use std::pin::pin;

const SIZE: u64 = 2 * TRANSFER_BYTES + 100;
const ADA: (SessionKey, &str) = (SessionKey([1; 32]), "ada");
const BOB: (SessionKey, &str) = (SessionKey([2; 32]), "bob");
const MIB: u64 = 1 << 20;

/// Transfers, and the budget that pays for them.
struct Fixture {
    transfers: Arc<Transfers>,
    budget: Budget,
    state: Arc<dyn StateStore>,
}

impl Fixture {
    fn new(bounds: Bounds, stays: Stays) -> Self {
        let transfers = Arc::new(Transfers { stays, ..Transfers::default() });
        let budget = Budget::new(bounds);
        let frees: Arc<dyn Frees> = Arc::clone(&transfers) as _;
        budget.ask(Arc::downgrade(&frees));
        Self { transfers, budget, state: Stores::in_memory().unwrap().state }
    }

    async fn fill(&self, user: &str, byte: u8) {
        let chunks = vec![Chunk { offset: 0, bytes: vec![byte; SIZE as usize].into() }];
        self.state.write(user, "k", SIZE, chunks).await.unwrap();
    }

    async fn read(
        &self,
        (session, user): (SessionKey, &str),
        (offset, length): (u64, Option<u64>),
        read: u64,
    ) -> Result<Answer, Failure> {
        let account = self.budget.user(user);
        let whose = Whose { session, user, account: &account };
        let mut brought = reads::nothing(&account);
        let what = ("k", offset, length);
        let answer = self.transfers.read(&*self.state, whose, what, read, &mut brought).await?;
        assert_eq!(brought.bytes(), answer.1.len() as u64, "what it gives is charged");
        Ok(answer)
    }

    async fn begin(&self, whose: (SessionKey, &str), read: u64) -> Answer {
        self.read(whose, (0, None), read).await.ok().unwrap()
    }

    fn read_on(&self, session: SessionKey, read: u64, from: u64) -> Answer {
        let mut brought = reads::nothing(&self.budget.user("ada"));
        let answer = self.transfers.read_on(session, read, from, &mut brought).unwrap();
        assert_eq!(brought.bytes(), answer.1.len() as u64, "what it gives is charged");
        answer
    }

    async fn stage(
        &self,
        (session, user): (SessionKey, &str),
        name: (u64, u32),
        bytes: &[u8],
    ) -> Result<(), OverBudget> {
        let account = self.budget.user(user);
        let whose = Whose { session, user, account: &account };
        let offset = bytes.first().copied().unwrap_or_default().into();
        let headers = [ChunkHeader { offset, length: bytes.len() as u64 }];
        self.transfers.stage(whose, name, &headers, &Bytes::copy_from_slice(bytes)).await
    }

    fn used(&self) -> u64 {
        self.budget.used_for(Kind::Transfer)
    }
}

fn refused(bound: Bound, result: Result<Answer, Failure>) -> bool {
    let setting = match bound {
        Bound::User => "budget.user_bytes",
        Bound::Relay => "budget.relay_bytes",
    };
    matches!(result, Err(Failure::Told { code: FailureCode::OverBudget, message })
        if message.contains(setting))
}

fn whole(offset: u64) -> Reply {
    Reply::State { size: Some(SIZE), offset }
}

#[tokio::test]
async fn a_value_is_read_as_of_the_start_of_the_read() {
    let fixture = Fixture::new(Bounds::NONE, Stays::default());
    fixture.fill("ada", 7).await;
    let (reply, first) = fixture.begin(ADA, 1).await;
    assert_eq!((reply, first.len() as u64), (whole(0), TRANSFER_BYTES));
    assert!(fixture.used() >= SIZE);
    fixture.fill("ada", 8).await;
    let mut all = first;
    for expected in [TRANSFER_BYTES, 100] {
        let at = all.len() as u64;
        let (reply, part) = fixture.read_on(ADA.0, 1, at);
        assert_eq!((reply, part.len() as u64), (whole(at), expected));
        all.extend(part);
    }
    assert!(all.iter().all(|byte| *byte == 7));
    assert_eq!(fixture.read_on(ADA.0, 1, 0).0, Reply::Missing, "it is not kept any longer");
    assert_eq!(fixture.budget.used(), 0);
}

#[tokio::test]
async fn a_value_that_fits_one_transfer_is_not_buffered() {
    let fixture = Fixture::new(Bounds::NONE, Stays::default());
    let read = |offset, length| fixture.read(ADA, (offset, length), 1);
    let none = (Reply::State { size: None, offset: 3 }, vec![]);
    assert_eq!(read(3, None).await.ok(), Some(none));
    fixture.fill("ada", 7).await;
    for (offset, length, expected) in [
        (SIZE - 3, None, 3),
        (SIZE + 3, None, 0),
        (u64::MAX, Some(u64::MAX), 0),
        (5, Some(TRANSFER_BYTES), TRANSFER_BYTES),
        (TRANSFER_BYTES + 100, Some(u64::MAX), TRANSFER_BYTES),
    ] {
        let (reply, bytes) = read(offset, length).await.ok().unwrap();
        assert_eq!((reply, bytes.len() as u64), (whole(offset), expected));
        assert_eq!(fixture.read_on(ADA.0, 1, offset).0, Reply::Missing);
    }
    // One byte more than a transfer.
    assert!(read(5, Some(TRANSFER_BYTES + 1)).await.is_ok());
    assert_eq!(fixture.read_on(BOB.0, 1, 5).0, Reply::Missing, "another session");
    let last = fixture.read_on(ADA.0, 1, 5 + TRANSFER_BYTES);
    assert_eq!(last, (whole(5 + TRANSFER_BYTES), vec![7]));
}

#[tokio::test]
async fn parts_of_a_write_are_applied_all_or_none() {
    let fixture = Fixture::new(Bounds::NONE, Stays::default());
    let transfers = &fixture.transfers;
    let chunk = |byte: u8| vec![Chunk { offset: byte.into(), bytes: vec![byte].into() }];
    for (part, byte) in [(1, 1), (0, 0), (1, 2)] {
        fixture.stage(ADA, (7, part), &[byte]).await.unwrap();
    }
    assert_eq!(fixture.used(), TRANSFER_OVERHEAD + 2 * (2 * OVERHEAD + 1));
    assert!(transfers.take(BOB.0, 7, 2).is_none() && transfers.take(ADA.0, 8, 2).is_none());
    // A repeated part replaces the earlier one of its number.
    let staged = transfers.take(ADA.0, 7, 2).unwrap();
    assert_eq!(staged.chunks, [chunk(0), chunk(2)].concat());
    assert!(fixture.used() > 0, "until it is written");
    drop(staged);
    assert_eq!(fixture.used(), 0);
    for (parts, expected) in [(1, false), (2, true), (3, false)] {
        for part in [0, 1] {
            fixture.stage(ADA, (7, part), &[1]).await.unwrap();
        }
        assert_eq!(transfers.take(ADA.0, 7, parts).is_some(), expected, "{parts}");
    }
    assert!(transfers.take(ADA.0, 7, 2).is_none(), "an incomplete write is dropped");
    assert_eq!(transfers.take(ADA.0, 9, 0).map(|staged| staged.chunks), Some(vec![]));
    assert_eq!(fixture.used(), 0);
}

/// No transfer becomes idle or expires, and nothing waits for memory.
const LASTING: Stays = Stays {
    idle: Duration::MAX,
    longest: Duration::MAX,
    kept: Duration::MAX,
    time_limit: Duration::ZERO,
};

#[tokio::test]
async fn a_transfer_over_the_budget_of_its_user_or_the_relay_is_refused() {
    let fixture = Fixture::new(Bounds { relay: 60 * MIB, user: 50 * MIB }, LASTING);
    for user in ["ada", "bob", "eve"] {
        fixture.fill(user, 7).await;
    }
    fixture.begin(ADA, 1).await;
    fixture.begin(ADA, 2).await;
    assert!(refused(Bound::User, fixture.read(ADA, (0, None), 3).await));
    assert_eq!(fixture.begin(BOB, 1).await.0, whole(0), "others have memory of their own");
    let eve = (SessionKey([3; 32]), "eve");
    assert!(refused(Bound::Relay, fixture.read(eve, (0, None), 1).await));
    assert_eq!(fixture.read_on(ADA.0, 1, SIZE - 1).0, whole(SIZE - 1), "the buffered bytes stay");
}

#[tokio::test]
async fn parts_of_a_write_stay_within_the_budget_of_their_user() {
    let fixture = Fixture::new(Bounds { relay: u64::MAX, user: MIB }, LASTING);
    let part = vec![0; 300 << 10];
    for number in 0..3 {
        fixture.stage(ADA, (1, number), &part).await.unwrap();
    }
    let over = fixture.stage(ADA, (1, 3), &part).await.unwrap_err();
    assert_eq!(over.bound, Bound::User);
    assert!(fixture.transfers.take(ADA.0, 1, 3).is_some(), "the buffered parts stay");
    assert_eq!(fixture.used(), 0);
}

#[tokio::test]
async fn a_user_waits_for_the_end_of_another_transfer() {
    let stays = Stays { time_limit: Duration::from_secs(3600), ..LASTING };
    let fixture = Fixture::new(Bounds { relay: u64::MAX, user: 30 * MIB }, stays);
    fixture.fill("ada", 7).await;
    fixture.begin(ADA, 1).await;
    let mut other = pin!(fixture.begin(ADA, 2));
    let waited = tokio::time::timeout(Duration::from_millis(50), &mut other).await;
    assert!(waited.is_err());
    // The last of it: there is room.
    assert_eq!(fixture.read_on(ADA.0, 1, SIZE - 1).0, whole(SIZE - 1));
    assert_eq!(other.await.0, whole(0));
}

#[tokio::test]
async fn idle_and_overlong_transfers_are_evicted() {
    let [never, now] = [Duration::MAX, Duration::ZERO];
    for (idle, longest) in [(now, never), (never, now)] {
        let stays = Stays { idle, longest, ..LASTING };
        let fixture = Fixture::new(Bounds { relay: 30 * MIB, user: 30 * MIB }, stays);
        for user in ["ada", "bob"] {
            fixture.fill(user, 7).await;
        }
        fixture.begin(ADA, 1).await;
        assert_eq!(fixture.begin(BOB, 1).await.0, whole(0));
        assert_eq!(fixture.read_on(ADA.0, 1, 0).0, Reply::Missing);
    }
}

#[tokio::test]
async fn abandoned_transfers_are_dropped() {
    let stays = Stays { kept: Duration::from_millis(1), ..LASTING };
    let fixture = Fixture::new(Bounds::NONE, stays);
    fixture.fill("ada", 7).await;
    for read in [1, 2] {
        fixture.begin(ADA, read).await;
        while fixture.transfers.is_swept.load(Ordering::SeqCst) {
            tokio::task::yield_now().await;
        }
        assert_eq!(fixture.used(), 0);
    }
}

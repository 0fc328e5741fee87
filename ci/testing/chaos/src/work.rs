//! The work of the pages: calls, appends, and operations on state values of their own, whose content they know.

use crate::client::{Answer, Client};
use crate::functions::RETURNS;
use crate::ledger::{Kind, Ledger, Outcome, Violation};
use crate::random::Random;
use anyhow::{Result, bail};
use faasm_bridge::wire::{CallEntry, ChunkHeader, FailureCode, Reply, Request};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

/// The list that pages append to.
pub const PAGES: &str = "pages";

/// The value that pages share; each owns a part of it.
const GRID: &str = "grid";

/// Number of bytes of a page's part.
const CELL_BYTES: u64 = 64;

/// How long a page waits after a refused request.
const PAUSE: Duration = Duration::from_millis(20);

/// Above the length of any list of a page.
const ALL: u32 = 1_000_000;

/// Number of remaining requests, of both kinds.
#[derive(Debug)]
pub struct Quota {
    pub calls: AtomicI64,
    pub operations: AtomicI64,
}

impl Quota {
    pub fn is_used_up(&self) -> bool {
        let left = |of: &AtomicI64| of.load(Ordering::Relaxed);
        left(&self.calls) <= 0 && left(&self.operations) <= 0
    }

    /// Pages start no further requests.
    pub fn stop(&self) {
        self.calls.store(0, Ordering::Relaxed);
        self.operations.store(0, Ordering::Relaxed);
    }

    fn take(of: &AtomicI64) -> bool {
        of.fetch_sub(1, Ordering::Relaxed) > 0
    }
}

/// A page, as seen by one of its tasks.
#[derive(Clone, Debug)]
pub struct Page {
    pub client: Client,
    pub number: u64,
    /// Number of pages.
    pub pages: u64,
    pub ledger: Arc<Ledger>,
    pub quota: Arc<Quota>,
    pub random: Random,
}

impl Page {
    /// Calls functions, one after the other.
    pub async fn call(mut self) -> Result<()> {
        while Quota::take(&self.quota.calls) {
            let name = self.ledger.register(Kind::Call);
            let function = ["note", "note", "note", "slow", "chain"][self.random.below(5) as usize];
            let request = Request::Call {
                function: function.into(),
                entry: CallEntry::Main,
                args: vec![],
                env: vec![],
            };
            let cancel = self
                .random
                .chance(4)
                .then(|| self.random.within(Duration::ZERO, Duration::from_millis(60)));
            let answer = self.client.request_with_cancel(request, name.to_vec(), cancel).await?;
            let outcome = match &answer {
                Answer::Reply(Reply::Call { return_value: RETURNS }, output) => {
                    if *output != name {
                        self.wrong(format!("{function} received the answer of another call"));
                    }
                    Outcome::Done
                }
                answer if answer.is_refused() => Outcome::Refused,
                // The function ended early, or the one that it chained did.
                _ => Outcome::Unknown,
            };
            self.ledger.record(name, outcome);
            self.rest(outcome).await;
        }
        Ok(())
    }

    /// Appends to the list of all pages.
    pub async fn append(mut self) -> Result<()> {
        while Quota::take(&self.quota.operations) {
            let name = self.ledger.register(Kind::Append);
            let request = Request::AppendState { key: PAGES.into() };
            let answer = self.client.request(request, name.to_vec()).await?;
            let outcome = self.changed(&answer)?;
            self.ledger.record(name, outcome);
            self.rest(outcome).await;
        }
        Ok(())
    }

    /// Changes state that only this page uses, and reads it back.
    pub async fn keep(mut self) -> Result<()> {
        let mut cell = Known::of(vec![0; CELL_BYTES as usize]);
        let mut list = Known::of(Vec::new());
        let mut value = 0_u64;
        // Creates the value to read.
        while self.write(&mut cell, 0).await? != Outcome::Done {}
        while Quota::take(&self.quota.operations) {
            value += 1;
            let outcome = match self.random.below(10) {
                0..4 => self.write(&mut cell, value).await?,
                4..6 => self.read_cell(&mut cell).await?,
                6..9 => self.append_own(&mut list, value).await?,
                _ => self.clear_own(&mut list).await?,
            };
            // Otherwise the number of possible contents would grow without bound.
            if outcome == Outcome::Unknown {
                self.read_cell(&mut cell).await?;
                self.read_list(&mut list).await?;
            }
            self.rest(outcome).await;
        }
        self.read_cell(&mut cell).await?;
        self.read_list(&mut list).await.map(drop)
    }

    /// Writes both halves of the cell at once.
    async fn write(&mut self, cell: &mut Known, value: u64) -> Result<Outcome> {
        let start = self.number * CELL_BYTES;
        let half = CELL_BYTES / 2;
        let chunks = [start, start + half].map(|offset| ChunkHeader { offset, length: 8 });
        let size = self.pages * CELL_BYTES;
        let request = Request::WriteState { key: GRID.into(), size, chunks: chunks.to_vec() };
        let bytes = value.to_le_bytes();
        let answer = self.client.request(request, [bytes, bytes].concat()).await?;
        let mut written = vec![0; CELL_BYTES as usize];
        written[..8].copy_from_slice(&bytes);
        written[half as usize..][..8].copy_from_slice(&bytes);
        let outcome = self.changed(&answer)?;
        cell.change(outcome, |_| written.clone());
        self.ledger.count_other(outcome);
        Ok(outcome)
    }

    async fn append_own(&mut self, list: &mut Known, value: u64) -> Result<Outcome> {
        let answer = self
            .client
            .request(Request::AppendState { key: self.own_list() }, value.to_le_bytes().to_vec())
            .await?;
        let outcome = self.changed(&answer)?;
        list.change(outcome, |before| [before, &value.to_le_bytes()].concat());
        self.ledger.count_other(outcome);
        Ok(outcome)
    }

    async fn clear_own(&mut self, list: &mut Known) -> Result<Outcome> {
        let answer =
            self.client.request(Request::ClearAppended { key: self.own_list() }, vec![]).await?;
        let outcome = self.changed(&answer)?;
        list.change(outcome, |_| Vec::new());
        self.ledger.count_other(outcome);
        Ok(outcome)
    }

    async fn read_cell(&mut self, cell: &mut Known) -> Result<Outcome> {
        let (key, offset) = (GRID.to_owned(), self.number * CELL_BYTES);
        let request = Request::ReadState { key, offset, length: Some(CELL_BYTES) };
        let found = self.read(request).await?;
        self.compare("cell", cell, found);
        Ok(Outcome::Done)
    }

    async fn read_list(&mut self, list: &mut Known) -> Result<Outcome> {
        let request = Request::ReadAppended { key: self.own_list(), count: ALL };
        let found = self.read(request).await?;
        self.compare("list", list, found);
        Ok(Outcome::Done)
    }

    /// Repeats until there is an answer: reads have no effect.
    async fn read(&mut self, request: Request) -> Result<Vec<u8>> {
        loop {
            match self.client.request(request.clone(), vec![]).await? {
                Answer::Reply(Reply::State { .. } | Reply::Bytes, bytes) => {
                    self.ledger.count_other(Outcome::Done);
                    return Ok(bytes);
                }
                // The store is being reopened.
                answer if answer.is_refused() => self.rest(Outcome::Refused).await,
                answer => bail!("a read: unexpected answer {answer:?}"),
            }
        }
    }

    fn compare(&self, what: &str, known: &mut Known, found: Vec<u8>) {
        if !known.can_be.contains(&found) {
            let tail = |bytes: &[u8]| bytes[bytes.len().saturating_sub(40)..].to_vec();
            let can_be: Vec<_> = known.can_be.iter().map(|bytes| tail(bytes)).collect();
            self.wrong(format!(
                "the {what} of page {} ends with {:?}; possible are {can_be:?}",
                self.number,
                tail(&found)
            ));
        }
        *known = Known::of(found);
    }

    fn changed(&self, answer: &Answer) -> Result<Outcome> {
        Ok(match answer {
            Answer::Reply(Reply::Done, _) => Outcome::Done,
            Answer::Lost | Answer::Reply(Reply::Failed { code: FailureCode::Unknown, .. }, _) => {
                Outcome::Unknown
            }
            answer if answer.is_refused() => Outcome::Refused,
            answer => bail!("a change: unexpected answer {answer:?}"),
        })
    }

    fn own_list(&self) -> String {
        format!("list-{}", self.number)
    }

    fn wrong(&self, what: String) {
        self.ledger.violate(Violation::Wrong, what);
    }

    async fn rest(&mut self, outcome: Outcome) {
        if outcome == Outcome::Refused {
            tokio::time::sleep(self.random.within(PAUSE / 2, PAUSE)).await;
        }
    }
}

/// The possible contents of a piece of state, according to the outcomes that its page knows.
#[derive(Debug)]
struct Known {
    can_be: BTreeSet<Vec<u8>>,
}

impl Known {
    fn of(value: Vec<u8>) -> Self {
        Self { can_be: BTreeSet::from([value]) }
    }

    fn change(&mut self, outcome: Outcome, to: impl Fn(&[u8]) -> Vec<u8>) {
        let changed: BTreeSet<Vec<u8>> = self.can_be.iter().map(|before| to(before)).collect();
        match outcome {
            Outcome::Done => self.can_be = changed,
            Outcome::Unknown => self.can_be.extend(changed),
            Outcome::Refused => {}
        }
    }
}

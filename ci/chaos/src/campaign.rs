//! One run: pages at work, and a relay, a network and a disk that fail, until everything was asked; then calm, and the
//! count.

use crate::client::{Client, Told, USER};
use crate::disk::Disk;
use crate::functions;
use crate::ledger::{Kind, Ledger, Violation};
use crate::proxy::{self, Proxy};
use crate::random::Random;
use crate::relay::{Place, Relay};
use crate::work::{PAGES, Page, Quota};
use anyhow::{Context as _, Result, bail};
use faasm_bridge::wire::{Reply, Request};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Pages at work.
const CLIENTS: u64 = 12;

/// Calls that each has open at once.
const CALLERS: u64 = 3;

/// Time between two faults of relay or disk.
const BETWEEN: [Duration; 2] = [Duration::from_millis(50), Duration::from_millis(700)];

/// How long a disk is full.
const FULL: [Duration; 2] = [Duration::from_millis(50), Duration::from_millis(700)];

/// Longest that everything may take to come to its end once nothing fails any more.
const PATIENCE: Duration = Duration::from_secs(60);

/// Longest that a relay is tried to be started while its disk is full.
const STARTS_WITHIN: Duration = Duration::from_secs(30);

/// More than any list has.
const ALL: u32 = 1_000_000;

/// How to run.
#[derive(Clone, Debug)]
pub struct Settings {
    pub seed: u64,
    pub calls: u64,
    pub operations: u64,
    /// Nothing is asked after this time.
    pub time: Duration,
}

/// What happened.
#[derive(Debug, Default)]
pub struct Events {
    pub kills: u64,
    pub terminations: u64,
    pub full: u64,
    /// Why the disk was never full.
    pub no_disk: bool,
    /// Relays that did not start at once, for their disk was full.
    pub late: u64,
    pub network: proxy::Counts,
    pub connections: u64,
    pub took: Duration,
}

/// Runs in this folder, which is empty.
///
/// # Errors
/// When a relay does not start or end as it should, or a page is answered what makes no sense.
pub async fn run(settings: &Settings, folder: &Path) -> Result<(Arc<Ledger>, Events)> {
    let began = Instant::now();
    let data = folder.join("disk");
    let disk = Disk::mount(&data)?;
    let place = Place::new(folder, &data)?;
    let relay = Relay::start(&place, 0).await?;
    for (name, wasm) in functions::all()? {
        relay.upload(USER, name, &wasm).await?;
    }
    let proxy = Proxy::start(relay.address, settings.seed).await.context("starting the proxy")?;
    let ledger = Arc::new(Ledger::default());
    let quota = Arc::new(Quota {
        calls: AtomicI64::new(i64::try_from(settings.calls)?),
        operations: AtomicI64::new(i64::try_from(settings.operations)?),
    });
    let mut pages = start(settings, &proxy, &ledger, &quota);
    let mut faults = Faults {
        place: &place,
        relay,
        disk: disk.as_ref(),
        random: Random::of(&[settings.seed, u64::MAX]),
        ledger: &ledger,
        events: Events { no_disk: disk.is_none(), ..Events::default() },
    };
    let end = began + settings.time;
    while !quota.is_used_up() && Instant::now() < end {
        faults.next().await?;
        if let Some(ended) = pages.try_join_next() {
            ended.context("a page panicked")??;
        }
    }
    quota.stop();
    proxy.calm();
    let ending = async {
        while let Some(ended) = pages.join_next().await {
            ended.context("a page panicked")??;
        }
        anyhow::Ok(())
    };
    match tokio::time::timeout(PATIENCE, ending).await {
        Ok(ended) => ended?,
        Err(_) => {
            let what = format!("{} tasks of pages wait for something", pages.len());
            ledger.violate(Violation::Untold, what);
        }
    }
    ledger.check_told();
    // What was acknowledged has to outlive this, too.
    faults.kill().await?;
    let address = faults.relay.address;
    ledger.check(Kind::Call, &list(address, functions::CALLS).await?);
    ledger.check(Kind::Append, &list(address, PAGES).await?);
    faults.terminate().await?;
    let mut events = faults.events;
    (events.network, events.connections) = (proxy.counts(), proxy.connections());
    events.took = began.elapsed();
    Ok((ledger, events))
}

fn start(
    settings: &Settings,
    proxy: &Proxy,
    ledger: &Arc<Ledger>,
    quota: &Arc<Quota>,
) -> JoinSet<Result<()>> {
    let mut pages = JoinSet::new();
    for number in 0..CLIENTS {
        let random = |task| Random::of(&[settings.seed, number, task]);
        let client = Client::start(proxy.address, random(0));
        let page = |task| Page {
            client: client.clone(),
            number,
            pages: CLIENTS,
            ledger: Arc::clone(ledger),
            quota: Arc::clone(quota),
            random: random(task),
        };
        pages.spawn(page(1).keep());
        pages.spawn(page(2).append());
        for caller in 0..CALLERS {
            pages.spawn(page(3 + caller).call());
        }
    }
    pages
}

/// A whole list, past the proxy.
async fn list(address: std::net::SocketAddr, key: &str) -> Result<Vec<u8>> {
    let client = Client::start(address, Random::of(&[0]));
    let request = Request::ReadAppended { key: key.into(), count: ALL };
    match client.ask(request, vec![]).await? {
        Told::Reply(Reply::Bytes, bytes) => Ok(bytes),
        told => bail!("reading list `{key}` was answered {told:?}"),
    }
}

/// What fails besides the network.
struct Faults<'a> {
    place: &'a Place,
    relay: Relay,
    disk: Option<&'a Disk>,
    random: Random,
    ledger: &'a Ledger,
    events: Events,
}

impl Faults<'_> {
    /// Waits a little, and lets something fail.
    async fn next(&mut self) -> Result<()> {
        let [from, to] = BETWEEN;
        tokio::time::sleep(self.random.within(from, to)).await;
        match self.random.below(10) {
            0..6 => self.kill().await,
            6..8 => self.terminate().await,
            _ => self.fill().await,
        }
    }

    async fn kill(&mut self) -> Result<()> {
        self.events.kills += 1;
        self.relay.kill().await?;
        self.start().await
    }

    async fn terminate(&mut self) -> Result<()> {
        self.events.terminations += 1;
        let status = self.relay.terminate().await?;
        if !status.success() {
            let what = format!("a relay that was asked to end did so with {status}");
            self.ledger.violate(Violation::Wrong, what);
        }
        self.start().await
    }

    async fn start(&mut self) -> Result<()> {
        self.relay = Relay::start(self.place, self.relay.address.port()).await?;
        Ok(())
    }

    async fn fill(&mut self) -> Result<()> {
        let Some(disk) = self.disk else { return Ok(()) };
        self.events.full += 1;
        disk.fill()?;
        let [from, to] = FULL;
        tokio::time::sleep(self.random.within(from, to)).await;
        if !self.random.chance(30) {
            return disk.empty();
        }
        // It comes back to a disk that is full.
        self.events.kills += 1;
        self.relay.kill().await?;
        let begun = Instant::now();
        let started = Relay::start(self.place, self.relay.address.port()).await;
        disk.empty()?;
        match started {
            Ok(relay) => self.relay = relay,
            Err(error) if begun.elapsed() > STARTS_WITHIN => return Err(error),
            Err(_) => {
                self.events.late += 1;
                self.start().await?;
            }
        }
        Ok(())
    }
}

//! One run: pages at work while relays, the network, and the disk or Redis fail; then, without faults, the check of the
//! ledger.

use crate::client::{Answer, Client, USER};
use crate::clock::Clock;
use crate::disk::Disk;
use crate::faults::{Events, Faults, Site};
use crate::functions;
use crate::ledger::{Kind, Ledger, Violation};
use crate::proxy::Proxy;
use crate::random::Random;
use crate::relay::{Place, Relay};
use crate::work::{PAGES, Page, Quota};
use anyhow::{Context as _, Result, bail};
use faasm_bridge::wire::{Reply, Request};
use faasm_redis_server::RedisServer;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Number of pages.
const CLIENTS: u64 = 12;

/// Number of relays that share a Redis.
const RELAYS_WITH_REDIS: usize = 2;

/// Number of concurrent calls of each page.
const CALLERS: u64 = 3;

/// Time limit for all requests to finish once no more faults happen.
const TIME_LIMIT: Duration = Duration::from_secs(60);

/// Above the length of any list.
const ALL: u32 = 1_000_000;

/// Settings of a run.
#[derive(Clone, Debug)]
pub struct Settings {
    pub seed: u64,
    pub calls: u64,
    pub operations: u64,
    /// Pages start no request after this time.
    pub time: Duration,
    /// Two relays over one Redis, instead of one relay with a disk.
    pub redis: bool,
}

/// Runs in this folder, which must be empty.
///
/// # Errors
/// When a relay does not start or end as it should, or a page receives an invalid answer.
pub async fn run(settings: &Settings, folder: &Path) -> Result<(Arc<Ledger>, Events)> {
    let began = Instant::now();
    let clock = Clock::find(folder)?;
    let environment = clock.as_ref().map(Clock::environment).unwrap_or_default();
    let redis = settings.redis.then(RedisServer::start_durable);
    let redis = redis.transpose()?;
    let data = folder.join("disk");
    let disk = if settings.redis { None } else { Disk::mount(&data)? };
    let mut sites = Vec::new();
    for number in 0..if settings.redis { RELAYS_WITH_REDIS } else { 1 } {
        let data =
            if settings.redis { folder.join(format!("relay-{number}")) } else { data.clone() };
        let place = Place {
            redis: redis.as_ref().map(RedisServer::url),
            environment: environment.clone(),
            ..Place::new(folder, &data)?
        };
        let relay = Relay::start(&place, 0).await?;
        sites.push(Site { place, relay });
    }
    let relay = &sites.first().context("no relay is configured")?.relay;
    for (name, wasm) in functions::all()? {
        relay.upload(USER, name, &wasm).await?;
    }
    let addresses: Vec<_> = sites.iter().map(|site| site.relay.address).collect();
    let proxy =
        Proxy::start(addresses.clone(), settings.seed).await.context("starting the proxy")?;
    let ledger = Arc::new(Ledger::default());
    let quota = Arc::new(Quota {
        calls: AtomicI64::new(i64::try_from(settings.calls)?),
        operations: AtomicI64::new(i64::try_from(settings.operations)?),
    });
    let mut pages = start(settings, &proxy, &ledger, &quota);
    let random = Random::of(&[settings.seed, u64::MAX]);
    let mut faults = Faults::new(sites, disk.as_ref(), redis, clock.as_ref(), random, &ledger);
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
    match tokio::time::timeout(TIME_LIMIT, ending).await {
        Ok(ended) => ended?,
        Err(_) => {
            let what = format!("{} tasks of pages still wait", pages.len());
            ledger.violate(Violation::Unanswered, what);
        }
    }
    ledger.check_answered();
    // Acknowledged effects must survive this kill as well.
    faults.end_all_at_once().await?;
    for address in addresses {
        ledger.check(Kind::Call, &list(address, functions::CALLS).await?);
        ledger.check(Kind::Append, &list(address, PAGES).await?);
    }
    faults.terminate_all().await?;
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

/// Reads a whole list, bypassing the proxy.
async fn list(address: std::net::SocketAddr, key: &str) -> Result<Vec<u8>> {
    let client = Client::start(address, Random::of(&[0]));
    let request = Request::ReadAppended { key: key.into(), count: ALL };
    match client.request(request, vec![]).await? {
        Answer::Reply(Reply::Bytes, bytes) => Ok(bytes),
        answer => bail!("reading list `{key}`: unexpected answer {answer:?}"),
    }
}

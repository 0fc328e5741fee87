//! Faults other than those of the network: of relays, their disk or Redis, and their clocks.

use crate::clock::Clock;
use crate::disk::Disk;
use crate::ledger::{Ledger, Violation};
use crate::proxy;
use crate::random::Random;
use crate::relay::{Place, Relay};
use anyhow::Result;
use faasm_redis_server::RedisServer;
use std::time::Duration;
use tokio::time::Instant;

/// Time between two faults.
const FAULT_INTERVAL: [Duration; 2] = [Duration::from_millis(50), Duration::from_millis(700)];

/// The same with Redis, longer because a call of a killed relay must wait until the other relays know.
const FAULT_INTERVAL_WITH_REDIS: [Duration; 2] =
    [Duration::from_millis(100), Duration::from_millis(1200)];

/// How long the disk stays full, or Redis unavailable.
const OUTAGE: [Duration; 2] = [Duration::from_millis(50), Duration::from_millis(700)];

/// An occasional longer outage of Redis: longer than the relays' heartbeats stay valid and than they wait for a reply.
const LONG_OUTAGE: [Duration; 2] = [Duration::from_millis(4000), Duration::from_millis(7000)];

/// Maximum number of consecutive cuts of connections to Redis, and the time between them.
const MAX_CUTS: u64 = 40;
const CUT_INTERVAL: [Duration; 2] = [Duration::from_millis(1), Duration::from_millis(30)];

/// Time limit for starting a relay while its disk is full.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// Possible clock offsets of the relays, in seconds.
const JUMPS: [i64; 5] = [0, 45, -45, 3600, -86_400];

/// Counts of faults.
#[derive(Debug, Default)]
pub struct Events {
    pub kills: u64,
    pub terminations: u64,
    pub full: u64,
    /// Whether the disk was never full because none could be mounted.
    pub no_disk: bool,
    /// Relays that did not start at once because their disk was full.
    pub late: u64,
    pub redis_kills: u64,
    pub redis_pauses: u64,
    /// Number of times that all connections to Redis were cut.
    pub redis_cuts: u64,
    pub jumps: u64,
    /// Whether clocks never jumped because `libfaketime` is missing.
    pub no_clock: bool,
    pub network: proxy::Counts,
    pub connections: u64,
    pub took: Duration,
}

/// A relay, and where its next process starts.
#[derive(Debug)]
pub struct Site {
    pub place: Place,
    pub relay: Relay,
}

impl Site {
    async fn start(&mut self) -> Result<()> {
        self.relay = Relay::start(&self.place, self.relay.address.port()).await?;
        Ok(())
    }
}

/// A kind of fault.
#[derive(Clone, Copy, Debug)]
enum Fault {
    Kill,
    Terminate,
    Jump,
    /// Of Redis, or of the disk.
    Store,
}

/// Drawn in random order and then refilled, so that even a short run has faults of each kind.
const DECK: [Fault; 7] = [
    Fault::Kill,
    Fault::Kill,
    Fault::Kill,
    Fault::Terminate,
    Fault::Jump,
    Fault::Store,
    Fault::Store,
];

/// Injects faults.
pub struct Faults<'a> {
    sites: Vec<Site>,
    disk: Option<&'a Disk>,
    redis: Option<RedisServer>,
    clock: Option<&'a Clock>,
    random: Random,
    ledger: &'a Ledger,
    pub events: Events,
    /// Faults of the deck that are not drawn yet.
    deck: Vec<Fault>,
}

impl std::fmt::Debug for Faults<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Faults").field("events", &self.events).finish_non_exhaustive()
    }
}

impl<'a> Faults<'a> {
    /// Faults of these relays; nothing has failed yet.
    pub fn new(
        sites: Vec<Site>,
        disk: Option<&'a Disk>,
        redis: Option<RedisServer>,
        clock: Option<&'a Clock>,
        random: Random,
        ledger: &'a Ledger,
    ) -> Self {
        let events =
            Events { no_disk: disk.is_none(), no_clock: clock.is_none(), ..Events::default() };
        Self { sites, disk, redis, clock, random, ledger, events, deck: Vec::new() }
    }

    fn deal(&mut self) -> Fault {
        if self.deck.is_empty() {
            self.deck.extend(DECK);
        }
        let which = self.random.below(self.deck.len() as u64) as usize;
        self.deck.swap_remove(which)
    }

    /// Waits for a random time, and injects a fault.
    ///
    /// # Errors
    /// When a relay or Redis does not end or start as it should.
    pub async fn next(&mut self) -> Result<()> {
        let [from, to] =
            if self.redis.is_some() { FAULT_INTERVAL_WITH_REDIS } else { FAULT_INTERVAL };
        tokio::time::sleep(self.random.within(from, to)).await;
        let which = self.random.below(self.sites.len() as u64) as usize;
        match self.deal() {
            Fault::Kill => self.kill(which).await,
            Fault::Terminate => self.terminate(which).await,
            Fault::Jump => self.jump(),
            Fault::Store if self.redis.is_some() => self.disturb_redis().await,
            Fault::Store => self.fill(which).await,
        }
    }

    async fn kill(&mut self, which: usize) -> Result<()> {
        self.events.kills += 1;
        self.sites[which].relay.kill().await?;
        self.sites[which].start().await
    }

    async fn terminate(&mut self, which: usize) -> Result<()> {
        self.end(which).await?;
        self.sites[which].start().await
    }

    async fn end(&mut self, which: usize) -> Result<()> {
        self.events.terminations += 1;
        let status = self.sites[which].relay.terminate().await?;
        if !status.success() {
            let what = format!("a relay exited with {status} on SIGTERM");
            self.ledger.violate(Violation::Wrong, what);
        }
        Ok(())
    }

    /// Kills all relays and Redis, and restarts them.
    ///
    /// # Errors
    /// As [`Faults::next`].
    pub async fn end_all_at_once(&mut self) -> Result<()> {
        self.events.kills += self.sites.len() as u64;
        for site in &mut self.sites {
            site.relay.kill().await?;
        }
        if let Some(redis) = &mut self.redis {
            self.events.redis_kills += 1;
            redis.kill()?;
            redis.start_again()?;
        }
        for site in &mut self.sites {
            site.start().await?;
        }
        Ok(())
    }

    /// Terminates all relays.
    ///
    /// # Errors
    /// As [`Faults::next`].
    pub async fn terminate_all(&mut self) -> Result<()> {
        for which in 0..self.sites.len() {
            self.end(which).await?;
        }
        Ok(())
    }

    fn jump(&mut self) -> Result<()> {
        let Some(clock) = self.clock else { return Ok(()) };
        self.events.jumps += 1;
        clock.set(JUMPS[self.random.below(JUMPS.len() as u64) as usize])
    }

    async fn disturb_redis(&mut self) -> Result<()> {
        let Some(redis) = &mut self.redis else { return Ok(()) };
        if self.random.chance(40) {
            for _ in 0..1 + self.random.below(MAX_CUTS) {
                self.events.redis_cuts += 1;
                redis.cut_connections()?;
                let [from, to] = CUT_INTERVAL;
                tokio::time::sleep(self.random.within(from, to)).await;
            }
            return Ok(());
        }
        let is_long = self.random.chance(20);
        let [from, to] = if is_long { LONG_OUTAGE } else { OUTAGE };
        let away = self.random.within(from, to);
        if self.random.chance(50) {
            self.events.redis_kills += 1;
            redis.kill()?;
            tokio::time::sleep(away).await;
            redis.start_again()
        } else {
            self.events.redis_pauses += 1;
            redis.pause()?;
            tokio::time::sleep(away).await;
            redis.go_on()
        }
    }

    async fn fill(&mut self, which: usize) -> Result<()> {
        let Some(disk) = self.disk else { return Ok(()) };
        self.events.full += 1;
        disk.fill()?;
        let [from, to] = OUTAGE;
        tokio::time::sleep(self.random.within(from, to)).await;
        if !self.random.chance(30) {
            return disk.empty();
        }
        // The relay restarts while its disk is full.
        self.events.kills += 1;
        let site = &mut self.sites[which];
        site.relay.kill().await?;
        let begun = Instant::now();
        let started = Relay::start(&site.place, site.relay.address.port()).await;
        disk.empty()?;
        match started {
            Ok(relay) => site.relay = relay,
            Err(error) if begun.elapsed() > START_TIMEOUT => return Err(error),
            Err(_) => {
                self.events.late += 1;
                site.start().await?;
            }
        }
        Ok(())
    }
}

//! Decides whether a call may start now: one task for all waiting calls requests the list of hosts and probes worker
//! ports concurrently. `hosts.rs` evaluates the results.
//!
//! A call uses results that are at most [`FaasmConfig::hosts_fresh`](super::FaasmConfig) old. In the second half of
//! that time a call triggers a refresh in the background, so calls in quick succession never wait. The first call after
//! a pause waits for one round trip.

use super::hosts::{Moment, Probed, Suspect, Watch};
use super::lock;
use super::message::Host;
use super::planner::{Planner, PlannerError};
use futures_util::StreamExt as _;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

/// Time limit for a worker's port to answer.
const PROBE_TIME: Duration = Duration::from_millis(250);

/// Most concurrent probes.
const PROBES: usize = 64;

/// Interval between two checks of the doctor.
const LOOK_PAUSE: Duration = Duration::from_millis(200);

/// Whether a call may start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ready {
    /// Yes; with the number of departed workers so far.
    Yes(u64),
    NoWorkers,
    Suspicious(Suspect),
}

/// A failed request for hosts, and when it failed.
type Failure = Option<(Instant, PlannerError)>;

/// The workers of one planner.
pub(super) struct Workers {
    watch: Mutex<Watch>,
    /// Held during a request for hosts.
    asking: Arc<tokio::sync::Mutex<Failure>>,
    /// Maximum age of the data when a call starts.
    fresh: Duration,
    /// Longest interval between two heartbeats.
    heartbeat: Duration,
    /// Port to probe; 0 disables probes.
    port: u16,
}

/// The state of one worker, for the doctor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerLook {
    pub ip: String,
    pub slots: i64,
    /// Used slots; negative after the planner was restarted while calls ran.
    pub used: i64,
    /// Age of its last heartbeat.
    pub age: Option<Duration>,
    /// Whether its port answers, or why not; `None` if it was not probed.
    pub port: Option<Result<(), String>>,
}

impl Workers {
    pub(super) fn new(fresh: Duration, heartbeat: Duration, port: u16) -> Self {
        let watch = Mutex::new(Watch::new(heartbeat));
        Self { watch, asking: Arc::default(), fresh, heartbeat, port }
    }

    /// Whether the data was requested at this time or later.
    fn is_known_since(&self, oldest: Instant) -> bool {
        lock(&self.watch).asked().is_some_and(|asked| asked >= oldest)
    }

    fn verdict(&self) -> Ready {
        let watch = lock(&self.watch);
        match watch.suspect(Moment::now()) {
            Some(suspect) => Ready::Suspicious(suspect),
            None if watch.workers() == 0 => Ready::NoWorkers,
            None => Ready::Yes(watch.departures()),
        }
    }

    /// Why calls that run only on these workers will not end.
    fn why_gone(&self, hosts: &[String]) -> Option<String> {
        let watch = lock(&self.watch);
        let now = Instant::now();
        let mut reasons = Vec::new();
        for host in hosts {
            let why = watch.why_gone(host, now)?;
            if !reasons.contains(&why) {
                reasons.push(why);
            }
        }
        (!reasons.is_empty()).then(|| reasons.join("; "))
    }

    async fn probe_all(&self, ips: Vec<String>) {
        let probes = futures_util::stream::iter(ips).for_each_concurrent(PROBES, async |ip| {
            let probed = match probe(&ip, self.port).await {
                Ok(()) => Probed::Answers,
                Err((probed, _)) => probed,
            };
            lock(&self.watch).note_probe(&ip, probed, Instant::now());
        });
        probes.await;
    }

    fn take_probes(&self, have_answered: bool) -> Vec<String> {
        if self.port == 0 {
            return Vec::new();
        }
        lock(&self.watch).take_probes(have_answered, Instant::now())
    }
}

/// Connects to a worker's port and closes the connection.
async fn probe(ip: &str, port: u16) -> Result<(), (Probed, String)> {
    let Ok(address) = ip.parse::<IpAddr>() else {
        return Err((Probed::Silent, format!("`{ip}` is not an address")));
    };
    let address = SocketAddr::new(address, port);
    match timeout(PROBE_TIME, TcpStream::connect(address)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
            Err((Probed::Refuses, format!("{address}: {error}")))
        }
        Ok(Err(error)) => Err((Probed::Silent, format!("{address}: {error}"))),
        Err(_) => Err((Probed::Silent, format!("{address} does not answer within {PROBE_TIME:?}"))),
    }
}

impl Planner {
    /// Whether a call may start now.
    pub(super) async fn ready(self: &Arc<Self>) -> Result<Ready, PlannerError> {
        let workers = &self.workers;
        let now = Instant::now();
        let older = |time: Duration| now.checked_sub(time).unwrap_or(now);
        if !workers.is_known_since(older(workers.fresh)) {
            self.see(older(workers.fresh)).await?;
        } else if !workers.is_known_since(older(workers.fresh / 2))
            && let Ok(mut failure) = Arc::clone(&workers.asking).try_lock_owned()
        {
            let planner = Arc::clone(self);
            tokio::spawn(async move { *failure = planner.look_again().await });
        }
        Ok(workers.verdict())
    }

    /// Requests the list of hosts, unless that was done at this time or later.
    pub(super) async fn see(&self, oldest: Instant) -> Result<(), PlannerError> {
        let began = Instant::now();
        let mut failure = self.workers.asking.lock().await;
        if self.workers.is_known_since(oldest) {
            return Ok(());
        }
        if let Some((at, error)) = &*failure
            && *at >= began
        {
            return Err(error.clone());
        }
        *failure = self.look_again().await;
        failure.as_ref().map_or(Ok(()), |(_, error)| Err(error.clone()))
    }

    async fn look_again(&self) -> Failure {
        let workers = &self.workers;
        let probing = workers.probe_all(workers.take_probes(true));
        let listing = async {
            let asked = Moment::now();
            let hosts = self.hosts().await;
            let mut watch = lock(&workers.watch);
            match hosts {
                Ok(hosts) => {
                    watch.note_list(&hosts, asked, Moment::now());
                    None
                }
                Err(error) => {
                    watch.note_failure();
                    Some((Instant::now(), error))
                }
            }
        };
        let (failure, ()) = tokio::join!(listing, probing);
        // A port that has never answered may never answer, so no call waits for it.
        let unknown = workers.take_probes(false);
        if !unknown.is_empty() {
            let workers = Arc::clone(workers);
            tokio::spawn(async move { workers.probe_all(unknown).await });
        }
        failure
    }

    /// Why calls that run only on these workers, according to a list of this time, will not end.
    pub(super) async fn why_gone(
        &self,
        hosts: &[String],
        said: Instant,
    ) -> Result<Option<String>, PlannerError> {
        // A worker may have joined after an older list.
        self.see(said).await?;
        Ok(self.workers.why_gone(hosts))
    }

    /// The state of all workers, for the doctor. Takes up to a heartbeat interval if a heartbeat seems overdue.
    pub(super) async fn look_at_workers(&self) -> Result<Vec<WorkerLook>, PlannerError> {
        let workers = &self.workers;
        let until = Instant::now() + workers.heartbeat;
        let hosts = loop {
            let asked = Moment::now();
            let hosts = self.hosts().await?;
            let now = Moment::now();
            let has_old = {
                let mut watch = lock(&workers.watch);
                watch.note_list(&hosts, asked, now);
                watch.suspect(now).is_some()
            };
            if !has_old || now.at >= until {
                break hosts;
            }
            tokio::time::sleep(LOOK_PAUSE).await;
        };
        let looking = hosts.into_iter().map(async |host| {
            let Host { ip, slots, used, .. } = host;
            let port = match workers.port {
                0 => None,
                port => Some(probe(&ip, port).await.map_err(|(_, why)| why)),
            };
            let age = lock(&workers.watch).age(&ip, Moment::now());
            WorkerLook { ip, slots, used, age, port }
        });
        Ok(futures_util::stream::iter(looking).buffered(PROBES).collect().await)
    }
}

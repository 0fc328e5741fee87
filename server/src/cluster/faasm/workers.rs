//! Which workers there are, and whether a call may start now: hosts are asked for and worker ports are tried, both at the same
//! time and by one task for all calls that wait. `hosts.rs` says what is made of the answers.
//!
//! A call goes by what was seen at most [`FaasmConfig::hosts_fresh`](super::FaasmConfig) ago. In the second half of that time a call
//! has a task look again and does not wait for it, so calls that follow each other closely never wait. The first call after a
//! pause waits for one round trip.

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

/// For a worker's port to answer.
const PROBE_TIME: Duration = Duration::from_millis(250);

/// Ports that are tried at once.
const PROBES: usize = 64;

/// Between two looks of the doctor.
const LOOK_PAUSE: Duration = Duration::from_millis(200);

/// Whether a call may start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ready {
    /// So many times workers have left until now.
    Yes(u64),
    NoWorkers,
    Suspicious(Suspect),
}

/// A question for hosts that had no answer, and when that was known.
type Failure = Option<(Instant, PlannerError)>;

/// The workers of one planner.
pub(super) struct Workers {
    watch: Mutex<Watch>,
    /// Held while hosts are asked for.
    asking: Arc<tokio::sync::Mutex<Failure>>,
    /// How old what is known may be when a call starts.
    fresh: Duration,
    /// Longest time between two heartbeats.
    heartbeat: Duration,
    /// 0 where none is tried.
    port: u16,
}

/// What is seen of one worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerLook {
    pub ip: String,
    pub slots: i64,
    /// Of these; below 0 after the planner was started again while calls ran.
    pub used: i64,
    /// Of its last heartbeat.
    pub age: Option<Duration>,
    /// Whether its port answers, and why not; `None` where none was tried.
    pub port: Option<Result<(), String>>,
}

impl Workers {
    pub(super) fn new(fresh: Duration, heartbeat: Duration, port: u16) -> Self {
        let watch = Mutex::new(Watch::new(heartbeat));
        Self { watch, asking: Arc::default(), fresh, heartbeat, port }
    }

    /// Whether what is known was asked for at this time or later.
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

    /// Why calls that run on these workers and no others will not end.
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

/// Connects to a worker's port, and closes the connection again.
async fn probe(ip: &str, port: u16) -> Result<(), (Probed, String)> {
    let Ok(address) = ip.parse::<IpAddr>() else {
        return Err((Probed::Silent, format!("`{ip}` is no address")));
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

    /// Asks for hosts unless that was done at this time or later.
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
        // A port that has never answered may never do, so no call waits for that.
        let unknown = workers.take_probes(false);
        if !unknown.is_empty() {
            let workers = Arc::clone(workers);
            tokio::spawn(async move { workers.probe_all(unknown).await });
        }
        failure
    }

    /// Why calls that run on these workers, as the planner said at this time, and on no others will not end.
    pub(super) async fn why_gone(
        &self,
        hosts: &[String],
        said: Instant,
    ) -> Result<Option<String>, PlannerError> {
        // A worker may have come since an older list.
        self.see(said).await?;
        Ok(self.workers.why_gone(hosts))
    }

    /// All workers with what is seen of each, for people. Takes as long as a heartbeat where a worker seems to have had none.
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

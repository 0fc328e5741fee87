//! The planner's tables: hosts and their slots, calls in flight, results, and awaited results.

use crate::message::Message;
use crate::setup::Engine;
use crate::worker::Worker;
use faasm_bridge::guest::CallResult;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// Where a call runs: one process of a worker.
#[derive(Clone)]
pub(crate) struct Seat {
    pub(crate) worker: Arc<Worker>,
    pub(crate) life: u64,
}

impl Seat {
    /// Whether this process still runs and answers.
    pub(crate) fn answers(&self) -> bool {
        self.worker.answers(self.life)
    }
}

/// A worker as the planner knows it.
struct Host {
    worker: Arc<Worker>,
    used: i64,
    /// When the planner learns of the worker.
    known_from: Instant,
}

impl Host {
    fn free(&self) -> i64 {
        let is_known = self.known_from <= Instant::now();
        if is_known { (self.worker.slots - self.used).max(0) } else { 0 }
    }
}

#[derive(Default)]
pub(crate) struct Schedule {
    hosts: Vec<Host>,
    pub(crate) results: BTreeMap<i32, BTreeMap<i32, Message>>,
    pub(crate) in_flight: BTreeMap<i32, Vec<(i32, String)>>,
    /// Receivers of the results of chained messages, by message.
    pub(crate) awaited: HashMap<i32, oneshot::Sender<CallResult>>,
    /// Until this time everything blocks; then the planner aborts.
    pub(crate) blocked: Option<Instant>,
}

impl Schedule {
    /// Tables of a planner that starts while these workers run: it learns of each with the worker's next heartbeat.
    pub(crate) fn of(workers: &[Arc<Worker>], engine: Engine) -> Self {
        let mut schedule = Self::default();
        for worker in workers.iter().filter(|worker| worker.beats()) {
            let known_from = match engine {
                Engine::Faasm029Wamr => worker.next_beat(),
                Engine::Lenient => Instant::now(),
            };
            let worker = Arc::clone(worker);
            schedule.hosts.push(Host { worker, used: 0, known_from });
        }
        schedule
    }

    /// Registers a worker, which announces itself when it starts.
    pub(crate) fn register(&mut self, worker: &Arc<Worker>) {
        let known_from = Instant::now();
        match self.hosts.iter_mut().find(|host| Arc::ptr_eq(&host.worker, worker)) {
            Some(host) => (host.used, host.known_from) = (0, known_from),
            None => self.hosts.push(Host { worker: Arc::clone(worker), used: 0, known_from }),
        }
    }

    /// The workers, except those whose last heartbeat is too old.
    pub(crate) fn listed(&mut self, timeout: Duration) -> Value {
        let is_old = |worker: &Worker| !worker.beats() && worker.last_beat().1 >= timeout;
        self.hosts.retain(|host| !is_old(&host.worker));
        let known = self.hosts.iter().filter(|host| host.known_from <= Instant::now());
        let hosts = known.map(|host| {
            let mut shown = json!({
                "ip": host.worker.ip,
                "slots": host.worker.slots,
                "registerTs": {"epochMs": host.worker.last_beat().0.to_string()},
                "mpiPorts": [{"port": 8020}],
            });
            if host.used != 0 {
                shown["usedSlots"] = host.used.into();
            }
            shown
        });
        let hosts: Vec<Value> = hosts.collect();
        if hosts.is_empty() { json!({}) } else { json!({ "hosts": hosts }) }
    }

    /// Apps in flight, with the workers of their calls.
    pub(crate) fn apps(&self) -> Value {
        let apps = self.in_flight.iter().map(|(app, calls)| {
            let hosts: Vec<&String> = calls.iter().map(|(_, host)| host).collect();
            json!({"appId": app, "hostIps": hosts})
        });
        let apps: Vec<Value> = apps.collect();
        if apps.is_empty() { json!({}) } else { json!({ "apps": apps }) }
    }

    /// Takes a slot for each message, or none at all; prefers the worker `first` if given. The app is then in flight.
    /// If a worker does not answer, everything is blocked for the time `blocked`.
    pub(crate) fn place(
        &mut self,
        app: i32,
        messages: impl ExactSizeIterator<Item = i32>,
        first: Option<&Seat>,
        blocked: Duration,
    ) -> Option<Vec<Seat>> {
        let all: i64 = self.hosts.iter().map(Host::free).sum();
        let wanted = i64::try_from(messages.len()).unwrap_or(i64::MAX);
        if self.hosts.is_empty() || all < wanted {
            return None;
        }
        let mut seats = Vec::new();
        for message in messages {
            let is_first =
                |host: &Host| first.is_some_and(|seat| Arc::ptr_eq(&seat.worker, &host.worker));
            let free = self.hosts.iter_mut().filter(|host| host.free() > 0);
            let host = free.min_by_key(|host| !is_first(host)).map(|host| {
                host.used += 1;
                host.worker.clone()
            })?;
            let seat = Seat { life: host.life(), worker: host };
            if !seat.answers() {
                self.blocked.get_or_insert_with(|| Instant::now() + blocked);
            }
            let call = (message, seat.worker.ip.clone());
            self.in_flight.entry(app).or_default().push(call);
            seats.push(seat);
        }
        Some(seats)
    }

    /// Stores a result and frees its slot.
    pub(crate) fn finish(&mut self, message: Message) {
        let (app, id, ip) = (message.app, message.id, message.host.clone());
        if let Some(awaited) = self.awaited.remove(&id) {
            let output = message.output_data.clone().into_bytes();
            let _ = awaited.send(CallResult { return_value: message.return_value, output });
        }
        let again = self.results.entry(app).or_default().insert(id, message).is_some();
        if let Some(calls) = self.in_flight.get_mut(&app) {
            if let Some(at) = calls.iter().position(|(call, _)| *call == id) {
                calls.remove(at);
            }
            if calls.is_empty() {
                self.in_flight.remove(&app);
            }
        }
        // A second result of the same message frees no slot.
        if let Some(host) = self.hosts.iter_mut().find(|host| host.worker.ip == ip)
            && !again
        {
            host.used -= 1;
        }
    }

    /// Whether a message has this id already.
    pub(crate) fn knows(&self, id: i32) -> bool {
        self.results.values().any(|results| results.contains_key(&id))
            || self.in_flight.values().flatten().any(|(call, _)| *call == id)
    }

    pub(crate) fn used(&self) -> i64 {
        self.hosts.iter().map(|host| host.used).sum()
    }

    /// The state after a reset while calls run: each worker has -1 used slots.
    pub(crate) fn mark_slots_after_reset(&mut self) {
        for host in &mut self.hosts {
            host.used = -1;
        }
    }
}

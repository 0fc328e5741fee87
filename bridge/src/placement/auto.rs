//! Decides from measurements where a chained call completes sooner.
//!
//! The time a call takes is estimated for each place:
//!
//! ```text
//!   cluster:  round trip + (input + output) / throughput + run time there
//!   browser:  delegation + run time here x (1 + running calls / workers)
//! ```
//!
//! Run times are running means for each function and place, `output` is one for each function. The round trip is the
//! shortest time of a small answer, and the throughput the best of a large one; each new measurement may be slightly
//! worse than the one before, so that both follow a network that changes.
//!
//! A function's first call goes to the cluster, where everything runs; the second is a trial in the browser. A function
//! has at most one trial at a time. From then on calls stay where they are until the other place is better by
//! [`MARGIN`] and by [`LEAST_GAIN`], so that noise does not move them. Single calls measure the other place again,
//! [`FIRST_PAUSE`] calls after its last measurement; if that changes nothing, the pause doubles, up to
//! [`LONGEST_PAUSE`]. There is no trial while it is expected to take [`MAX_TRIAL_FACTOR`] times as long.

use super::Place;
use crate::sorted_map::SortedMap;

/// Most functions that are remembered; the least recently called one is dropped first.
const MAX_FUNCTIONS: usize = 256;

/// Calls move to the other place only if its estimate is at most this fraction of the present place's.
const MARGIN: f64 = 0.8;

/// Calls move only if they get at least this many milliseconds shorter; clocks of browsers are not finer.
const LEAST_GAIN: f64 = 1.0;

/// Calls between two trials of the other place, initially and at most.
const FIRST_PAUSE: u32 = 64;
const LONGEST_PAUSE: u32 = 4096;

/// A trial may be expected to take at most this many times as long.
const MAX_TRIAL_FACTOR: f64 = 8.0;

/// Weight of a new measurement in a running mean.
const WEIGHT: f64 = 0.25;

/// Factor by which the network may worsen from one measurement to the next.
const DRIFT: f64 = 1.05;

/// An answer of at most this many bytes measures the round trip, one of at least `LARGE_BYTES` the throughput.
const SMALL_BYTES: u64 = 4 * 1024;
const LARGE_BYTES: u64 = 64 * 1024;

/// Assumed throughput until it is measured, bytes per millisecond: that of a good mobile connection.
const FIRST_THROUGHPUT: f64 = 1000.0;

/// Measurements of a call, as its caller saw it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// Time from the start to the result, milliseconds; without the start of a worker.
    pub total: f64,
    /// In the browser: the part of that time spent in the worker, milliseconds.
    pub running: f64,
    /// Load of the workers when the call started.
    pub load: PoolLoad,
    pub input: u64,
    pub output: u64,
}

/// The browser's workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolLoad {
    pub workers: u32,
    /// Calls that are running in the workers.
    pub calls: u32,
}

impl PoolLoad {
    /// Factor by which the other calls lengthen a call.
    fn crowd(self) -> f64 {
        1.0 + f64::from(self.calls) / f64::from(self.workers.max(1))
    }
}

/// The measurements, and the decisions from them.
#[derive(Clone, Debug, Default)]
pub struct Auto {
    network: Network,
    /// Time from the call to its start in a worker, plus from its end to the result; milliseconds.
    delegation: Mean,
    functions: SortedMap<String, Function>,
    /// Counts decisions.
    now: u64,
}

/// Measurements of the connection to the relay.
#[derive(Clone, Debug, Default)]
struct Network {
    round_trip: Option<f64>,
    /// Bytes per millisecond.
    throughput: Option<f64>,
}

/// A running mean of milliseconds or bytes.
#[derive(Clone, Copy, Debug, Default)]
struct Mean(Option<f64>);

/// Measurements of one function.
#[derive(Clone, Debug)]
struct Function {
    cluster: Mean,
    browser: Mean,
    output: Mean,
    place: Place,
    /// The function cannot run in the browser.
    is_barred: bool,
    /// A trial call in the other place is in progress.
    is_trying: bool,
    /// Calls until the next trial of the other place, and the pause that follows it.
    left: u32,
    pause: u32,
    /// The value of `Auto::now` at its last call.
    last: u64,
}

impl Auto {
    /// The place for a call of this function with `input` bytes. The caller reports the outcome: [`Auto::finished`],
    /// [`Auto::cannot`] or [`Auto::abandoned`].
    pub fn choose(&mut self, function: &str, input: u64, load: PoolLoad) -> Place {
        self.now += 1;
        let now = self.now;
        self.drop_oldest(function);
        let (network, delegation) = (&self.network, self.delegation);
        let known = self.functions.get_or_insert_with(function.to_owned(), Function::new);
        let is_first = std::mem::replace(&mut known.last, now) == 0;
        if known.is_barred || is_first {
            return Place::Cluster;
        }
        let Some((here, there)) = known.estimates(input, network, delegation, load) else {
            return match known.cluster.0 {
                Some(_) => known.stay_or_try(true),
                None => known.place,
            };
        };
        let (stays, other) = match known.place {
            Place::Browser => (here, there),
            Place::Cluster => (there, here),
        };
        if other < stays * MARGIN && other < stays - LEAST_GAIN {
            known.move_over()
        } else {
            known.stay_or_try(other <= stays * MAX_TRIAL_FACTOR)
        }
    }

    /// A call has ended in this place, with any result.
    pub fn finished(&mut self, function: &str, place: Place, sample: Sample) {
        let bytes = sample.input + sample.output;
        if place == Place::Cluster {
            self.network.at_most(sample.total, bytes);
        }
        let running = match place {
            Place::Browser => {
                self.delegation.add((sample.total - sample.running).max(0.0));
                sample.running / sample.load.crowd()
            }
            Place::Cluster => (sample.total - self.network.time(bytes)).max(0.0),
        };
        let Some(known) = self.functions.get_mut(function) else { return };
        known.tried(place);
        known.output.add(sample.output as f64);
        match place {
            Place::Browser => known.browser.add(running),
            Place::Cluster => known.cluster.add(running),
        }
    }

    /// A function cannot run in the browser.
    pub fn cannot(&mut self, function: &str) {
        if let Some(known) = self.functions.get_mut(function) {
            (known.is_barred, known.place) = (true, Place::Cluster);
        }
    }

    /// A call in this place ended without a measurement.
    pub fn abandoned(&mut self, function: &str, place: Place) {
        if let Some(known) = self.functions.get_mut(function) {
            known.tried(place);
        }
    }

    /// The relay has answered a request that runs no function.
    pub fn answered(&mut self, milliseconds: f64, bytes: u64) {
        self.network.answered(milliseconds, bytes);
    }

    fn drop_oldest(&mut self, function: &str) {
        if self.functions.len() < MAX_FUNCTIONS || self.functions.contains_key(function) {
            return;
        }
        let oldest = self.functions.iter().min_by_key(|(_, known)| known.last);
        if let Some(oldest) = oldest.map(|(name, _)| name.clone()) {
            self.functions.remove(&oldest);
        }
    }
}

impl Function {
    fn new() -> Self {
        Self {
            cluster: Mean::default(),
            browser: Mean::default(),
            output: Mean::default(),
            place: Place::Cluster,
            is_barred: false,
            is_trying: false,
            left: 0,
            pause: FIRST_PAUSE,
            last: 0,
        }
    }

    /// Estimates for browser and cluster, once both were measured.
    fn estimates(
        &self,
        input: u64,
        network: &Network,
        delegation: Mean,
        load: PoolLoad,
    ) -> Option<(f64, f64)> {
        let browser = delegation.0.unwrap_or(0.0) + self.browser.0? * load.crowd();
        let bytes = input + self.output.0.unwrap_or(0.0) as u64;
        Some((browser, network.time(bytes) + self.cluster.0?))
    }

    /// The present place; the other one if a trial is due and `may` allows it.
    fn stay_or_try(&mut self, may: bool) -> Place {
        if self.left > 0 {
            self.left -= 1;
        } else if !self.is_trying {
            self.left = self.pause;
            self.pause = (self.pause * 2).min(LONGEST_PAUSE);
            self.is_trying = may;
            if may {
                return self.place.other();
            }
        }
        self.place
    }

    fn move_over(&mut self) -> Place {
        self.place = self.place.other();
        self.is_trying = false;
        (self.left, self.pause) = (FIRST_PAUSE, 2 * FIRST_PAUSE);
        self.place
    }

    fn tried(&mut self, place: Place) {
        if place != self.place {
            self.is_trying = false;
        }
    }
}

impl Place {
    fn other(self) -> Self {
        match self {
            Place::Cluster => Place::Browser,
            Place::Browser => Place::Cluster,
        }
    }
}

impl Mean {
    fn add(&mut self, value: f64) {
        self.0 = Some(match self.0 {
            Some(mean) => mean + (value - mean) * WEIGHT,
            None => value,
        });
    }
}

impl Network {
    /// Milliseconds to transfer so many bytes there and back.
    fn time(&self, bytes: u64) -> f64 {
        let throughput = self.throughput.unwrap_or(FIRST_THROUGHPUT);
        self.round_trip.unwrap_or(0.0) + bytes as f64 / throughput
    }

    fn answered(&mut self, milliseconds: f64, bytes: u64) {
        if bytes <= SMALL_BYTES {
            let before = self.round_trip.map_or(f64::INFINITY, |before| before * DRIFT);
            self.round_trip = Some(milliseconds.min(before));
        } else if bytes >= LARGE_BYTES {
            let sending = (milliseconds - self.round_trip.unwrap_or(0.0)).max(0.1);
            let before = self.throughput.map_or(0.0, |before| before / DRIFT);
            self.throughput = Some((bytes as f64 / sending).max(before));
        }
    }

    /// Updates from the time of a call, which is an upper bound: it includes the function's run time.
    fn at_most(&mut self, milliseconds: f64, bytes: u64) {
        let is_news = match bytes {
            ..=SMALL_BYTES => self.round_trip.is_none_or(|before| milliseconds < before),
            _ => self.time(bytes) > milliseconds,
        };
        if is_news {
            self.answered(milliseconds, bytes);
        }
    }
}

#[cfg(test)]
#[path = "auto_tests.rs"]
mod tests;

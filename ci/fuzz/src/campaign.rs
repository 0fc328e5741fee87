//! A run of the fuzzer: first the kept inputs, then new inputs in every job until the time is up.

use crate::corpus::{self, Input, Novelty};
use crate::decoders::{self, DECODERS, Decoder, Kept};
use crate::differential::{self, CaseResult, Tools};
use crate::figures::Totals;
use crate::finding::{Finding, Kind, MODULE};
use crate::generate;
use crate::mutate::{self, Outcome};
use crate::random::{hash, mix};
use crate::run::THREAD_STACK_BYTES;
use crate::scenario::Scenario;
use anyhow::{Context as _, Result};
use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The target of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    Differential,
    Mutate,
    Decoders,
    All,
}

/// How to run.
#[derive(Clone, Debug)]
pub struct Settings {
    pub target: Target,
    pub seed: u64,
    pub jobs: usize,
    /// Ends the run, whichever comes first; kept inputs are always all checked.
    pub time: Duration,
    pub inputs: u64,
    /// Whether unexplained errors are findings.
    pub strict: bool,
    /// Whether inputs with new coverage are candidates for the corpus.
    pub grow: bool,
}

/// Damaged modules for each function: they take a fraction of its time.
const DAMAGED_FOR_EACH: u64 = 10;
/// One in this many damaged modules is built, if it gets that far.
const BUILT: u64 = 7;
/// Inputs for each decoder, for each function: they take a fraction of its time.
const DECODED_FOR_EACH: u64 = 20;
/// The same for slow decoders.
const SLOW_FOR_EACH: u64 = 2;
const STATUS_EVERY: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Above all inner time limits, those of Binaryen and of the guest.
const LONGEST: Duration = Duration::from_secs(300);

/// The current input of a job, the extension of its file, and its start time.
type Busy = Option<(Instant, Vec<u8>, &'static str)>;

struct Campaign {
    settings: Settings,
    tools: Tools,
    /// Kept inputs, which are checked first, and how many of them were taken; regressions come first.
    kept: Vec<Input>,
    regressions: usize,
    taken: AtomicU64,
    modules: Vec<Vec<u8>>,
    /// Inputs on which decoders once failed, and how many of them were taken.
    decoded: Vec<Kept>,
    decoded_taken: AtomicU64,
    next: AtomicU64,
    end: Instant,
    stop: AtomicBool,
    totals: Mutex<Totals>,
    novelty: Mutex<Novelty>,
    /// The current input of each job.
    busy: Vec<Mutex<Busy>>,
}

/// Runs until the time is up, and reports progress to `status`.
///
/// # Errors
/// When kept inputs cannot be read, or findings cannot be written.
pub fn run(
    settings: Settings,
    tools: Tools,
    mut status: impl FnMut(&Totals),
) -> Result<(Totals, Novelty)> {
    let findings = corpus::folder("findings");
    fs::create_dir_all(&findings).with_context(|| format!("making {}", findings.display()))?;
    let mut kept = corpus::read_all("regressions")?;
    let regressions = kept.len();
    kept.extend(corpus::read_all("corpus")?);
    let modules = kept.iter().map(|input| input.wasm.clone()).collect();
    let campaign = Arc::new(Campaign {
        end: Instant::now() + settings.time,
        busy: (0..settings.jobs).map(|_| Mutex::default()).collect(),
        kept,
        regressions,
        modules,
        decoded: decoders::regressions()?,
        decoded_taken: AtomicU64::default(),
        settings,
        tools,
        taken: AtomicU64::default(),
        next: AtomicU64::default(),
        stop: AtomicBool::default(),
        totals: Mutex::default(),
        novelty: Mutex::default(),
    });
    let jobs = (0..campaign.settings.jobs).map(|job| start(&campaign, job));
    let jobs = jobs.collect::<Result<Vec<_>>>()?;
    let mut shown = Instant::now();
    while !jobs.iter().all(JoinHandle::is_finished) {
        std::thread::sleep(LOOK_EVERY);
        if shown.elapsed() >= STATUS_EVERY {
            shown = Instant::now();
            status(&lock(&campaign.totals));
        }
        if campaign.find_hang()? {
            // A thread cannot be terminated, so terminate the process.
            campaign.stop.store(true, Ordering::Relaxed);
            break;
        }
    }
    let totals = std::mem::take(&mut *lock(&campaign.totals));
    let novelty = std::mem::take(&mut *lock(&campaign.novelty));
    for job in jobs.into_iter().filter(JoinHandle::is_finished) {
        job.join().map_err(|_| anyhow::anyhow!("a job of the fuzzer itself panicked"))??;
    }
    Ok((totals, novelty))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn start(campaign: &Arc<Campaign>, job: usize) -> Result<JoinHandle<Result<()>>> {
    let campaign = Arc::clone(campaign);
    std::thread::Builder::new()
        .name(format!("job {job}"))
        .stack_size(THREAD_STACK_BYTES)
        .spawn(move || campaign.work(job))
        .context("starting a job")
}

impl Campaign {
    fn work(&self, job: usize) -> Result<()> {
        let is_for = |target| [target, Target::All].contains(&self.settings.target);
        if self.settings.target != Target::Decoders {
            self.work_on_kept(job)?;
        }
        if is_for(Target::Decoders) {
            self.work_on_decoded(job)?;
        }
        loop {
            let input = self.next.fetch_add(1, Ordering::Relaxed);
            let is_over = Instant::now() >= self.end || input >= self.settings.inputs;
            if is_over || self.stop.load(Ordering::Relaxed) {
                return Ok(());
            }
            let seed = mix(&[self.settings.seed, input]);
            if is_for(Target::Differential) {
                self.function(job, seed)?;
            }
            if is_for(Target::Mutate) {
                for damaged in 0..DAMAGED_FOR_EACH {
                    self.damaged(job, mix(&[seed, damaged]))?;
                }
            }
            if is_for(Target::Decoders) {
                for damaged in 0..DECODED_FOR_EACH {
                    let is_slow = damaged < SLOW_FOR_EACH;
                    for decoder in DECODERS.iter().filter(|it| is_slow || !it.is_slow) {
                        let input = decoder.input(mix(&[seed, damaged]), &self.decoded);
                        self.decode(job, decoder, &input)?;
                    }
                }
            }
        }
    }

    fn work_on_kept(&self, job: usize) -> Result<()> {
        loop {
            let next = self.taken.fetch_add(1, Ordering::Relaxed) as usize;
            let Some(Input { wasm, scenarios, .. }) = self.kept.get(next) else { return Ok(()) };
            for scenario in scenarios {
                self.at(job, wasm, MODULE, |tools| {
                    self.differ(differential::check(tools, wasm, *scenario), wasm, false)
                })?;
            }
            if next < self.regressions {
                self.at(job, wasm, MODULE, |tools| {
                    self.endure(mutate::check(tools, wasm, true), wasm, true)
                })?;
            }
        }
    }

    fn work_on_decoded(&self, job: usize) -> Result<()> {
        loop {
            let next = self.decoded_taken.fetch_add(1, Ordering::Relaxed) as usize;
            let Some(kept) = self.decoded.get(next) else { return Ok(()) };
            self.decode(job, kept.decoder, &kept.bytes)?;
        }
    }

    fn decode(&self, job: usize, decoder: &'static Decoder, input: &[u8]) -> Result<()> {
        self.at(job, input, decoder.name, |_| {
            let checked = decoder.check(input);
            lock(&self.totals).decode(decoder, checked, input)
        })
    }

    fn function(&self, job: usize, seed: u64) -> Result<()> {
        let Some(wasm) = generate::function(seed, &self.tools.passes) else { return Ok(()) };
        let scenario = Scenario::of(&wasm);
        self.at(job, &wasm, MODULE, |tools| {
            self.differ(differential::check(tools, &wasm, scenario), &wasm, self.settings.grow)
        })
    }

    fn damaged(&self, job: usize, seed: u64) -> Result<()> {
        let wasm = mutate::input(seed, &self.modules);
        self.at(job, &wasm, MODULE, |tools| {
            let outcome = mutate::check(tools, &wasm, hash(&wasm).is_multiple_of(BUILT));
            self.endure(outcome, &wasm, self.settings.strict)
        })
    }

    /// Records the result of a damaged module.
    fn endure(&self, outcome: Result<Outcome, Finding>, wasm: &[u8], strict: bool) -> Result<()> {
        let mut totals = lock(&self.totals);
        totals.damaged += 1;
        let outcome = match outcome {
            Ok(outcome) => outcome,
            Err(finding) => return totals.find(finding, wasm),
        };
        for error in outcome.errors {
            *totals.errors.entry(error).or_default() += 1;
        }
        for finding in outcome.unexplained {
            *totals.unexplained.entry(finding.class()).or_default() += 1;
            if strict {
                totals.find(finding, wasm)?;
            }
        }
        Ok(())
    }

    /// Records the result of a function.
    fn differ(&self, result: CaseResult, wasm: &[u8], keep: bool) -> Result<()> {
        let report = match &result {
            CaseResult::Alike(report)
            | CaseResult::Inconclusive(_, report)
            | CaseResult::Refused(_, report) => Some(report.clone()),
            CaseResult::Skipped(_) | CaseResult::Finding(_) => None,
        };
        if let Some(report) = report {
            let mut features = report.coverage.features;
            if let CaseResult::Refused(variant, _) = &result {
                features.insert(format!("refused: {variant}"));
            }
            lock(&self.novelty).add(wasm, &features, keep);
        }
        lock(&self.totals).add(result, wasm)
    }

    /// Checks one input. If the whole process crashes, the input stays in `findings`.
    fn at(
        &self,
        job: usize,
        input: &[u8],
        ending: &'static str,
        check: impl FnOnce(&Tools) -> Result<()>,
    ) -> Result<()> {
        let name = format!("current-{}-{job}.{ending}", std::process::id());
        let current = corpus::folder("findings").join(name);
        fs::write(&current, input).with_context(|| format!("writing {}", current.display()))?;
        *lock(&self.busy[job]) = Some((Instant::now(), input.to_vec(), ending));
        let checked = check(&self.tools);
        *lock(&self.busy[job]) = None;
        fs::remove_file(&current).with_context(|| format!("deleting {}", current.display()))?;
        checked
    }

    /// Whether a job has worked on one input for too long, which is a finding.
    fn find_hang(&self) -> Result<bool> {
        for busy in &self.busy {
            if let Some((since, input, ending)) = &*lock(busy)
                && since.elapsed() > LONGEST
            {
                let message = format!("still at work after {} s", LONGEST.as_secs());
                lock(&self.totals).find(Finding::new(Kind::Hang, message).of(ending), input)?;
                return Ok(true);
            }
        }
        Ok(false)
    }
}

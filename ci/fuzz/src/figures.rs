//! The counts of a run of the fuzzer.

use crate::corpus;
use crate::decoders::Decoder;
use crate::differential::{CaseResult, Report};
use crate::finding::{Finding, Kind};
use anyhow::Result;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Instant;

/// Maximum number of saved inputs for each class of findings.
const MOST_SAVED: usize = 5;
/// Percentage of the functions that must suspend; below it, the generator is broken.
const SUSPENDING_TARGET: u64 = 60;

/// Counts by name.
pub type Counts = BTreeMap<String, u64>;

/// What was counted so far.
#[derive(Clone, Debug)]
pub struct Totals {
    pub started: Instant,
    /// Functions that ran.
    pub functions: u64,
    pub suspensions: u64,
    /// Functions that suspended, and how many of them in each situation.
    pub suspended: u64,
    pub deep: u64,
    pub indirect: u64,
    pub in_loop: u64,
    pub operands: u64,
    pub deepest: usize,
    /// Functions that were not built, by the error.
    pub refused: Counts,
    /// Functions that could not be compared to the end, by the reason.
    pub inconclusive: Counts,
    /// Functions that do not run here, by the reason.
    pub skipped: Counts,
    /// Damaged modules, the rewriter's errors for them, and those of the errors that explain nothing.
    pub damaged: u64,
    pub errors: Counts,
    pub unexplained: Counts,
    /// Inputs of decoders: how many each received, and how many it accepted.
    pub decoded: BTreeMap<&'static str, (u64, u64)>,
    /// Findings by class: how many, and the inputs that were saved.
    pub findings: BTreeMap<String, (u64, Vec<PathBuf>)>,
    pub panics: u64,
}

impl Default for Totals {
    fn default() -> Self {
        Self {
            started: Instant::now(),
            functions: 0,
            suspensions: 0,
            suspended: 0,
            deep: 0,
            indirect: 0,
            in_loop: 0,
            operands: 0,
            deepest: 0,
            refused: Counts::new(),
            inconclusive: Counts::new(),
            skipped: Counts::new(),
            damaged: 0,
            errors: Counts::new(),
            unexplained: Counts::new(),
            decoded: BTreeMap::new(),
            findings: BTreeMap::new(),
            panics: 0,
        }
    }
}

impl Totals {
    /// Counts a result; saves a finding.
    ///
    /// # Errors
    /// It cannot be saved.
    pub fn add(&mut self, result: CaseResult, wasm: &[u8]) -> Result<()> {
        match result {
            CaseResult::Alike(report) => self.ran(&report),
            CaseResult::Inconclusive(reason, report) => {
                *self.inconclusive.entry(reason.to_owned()).or_default() += 1;
                self.ran(&report);
            }
            CaseResult::Refused(variant, report) => {
                *self.refused.entry(variant).or_default() += 1;
                self.ran(&report);
            }
            CaseResult::Skipped(reason) => {
                // The message starts with its location.
                let reason = reason.rsplit(": ").next().unwrap_or_default().split(" (at").next();
                let reason = reason.unwrap_or_default().to_owned();
                *self.skipped.entry(reason).or_default() += 1;
            }
            CaseResult::Finding(finding) => {
                self.functions += 1;
                self.find(finding, wasm)?;
            }
        }
        Ok(())
    }

    /// Counts an input of a decoder; saves a finding.
    ///
    /// # Errors
    /// It cannot be saved.
    pub fn decode(
        &mut self,
        decoder: &Decoder,
        checked: Result<bool, Finding>,
        input: &[u8],
    ) -> Result<()> {
        let (given, taken) = self.decoded.entry(decoder.name).or_default();
        *given += 1;
        match checked {
            Ok(is_taken) => *taken += u64::from(is_taken),
            Err(finding) => self.find(finding, input)?,
        }
        Ok(())
    }

    fn ran(&mut self, report: &Report) {
        self.functions += 1;
        self.suspensions += report.suspensions;
        let coverage = &report.coverage;
        self.deepest = self.deepest.max(coverage.deepest);
        if report.suspensions > 0 {
            self.suspended += 1;
            self.deep += u64::from(coverage.deepest >= 2);
            self.indirect += u64::from(coverage.indirect);
            self.in_loop += u64::from(coverage.in_loop);
            self.operands += u64::from(coverage.operands);
        }
    }

    /// Counts and saves a finding.
    ///
    /// # Errors
    /// It cannot be saved.
    pub fn find(&mut self, finding: Finding, wasm: &[u8]) -> Result<()> {
        self.panics += u64::from(finding.kind == Kind::Panic);
        let (count, saved) = self.findings.entry(finding.class()).or_default();
        *count += 1;
        if saved.len() < MOST_SAVED {
            let path = finding.save(&corpus::folder("findings"), wasm)?;
            // A module without a scenario shows the same finding under several.
            if !saved.contains(&path) {
                eprintln!("finding: {:?}: {}\n  {}", finding.kind, finding.message, path.display());
                saved.push(path);
            }
        }
        Ok(())
    }

    /// Number of findings of all classes.
    pub fn found(&self) -> u64 {
        self.findings.values().map(|(count, _)| count).sum()
    }

    fn percent(&self, part: u64) -> u64 {
        (100 * part).checked_div(self.functions).unwrap_or_default()
    }

    /// As the lists of figures have them.
    pub fn figures(&self) -> Vec<Value> {
        let seconds = self.started.elapsed().as_secs();
        let count = |name: &str, value: u64, note: &str| figure(name, value, "", None, note);
        let share = |name: &str, part: u64, target: Option<u64>| {
            figure(name, self.percent(part), "%", target, "of the functions that ran")
        };
        // A run of the other targets only has no functions.
        let suspending = (self.functions > 0).then_some(SUSPENDING_TARGET);
        let mut figures = vec![
            count("functions run", self.functions, "three forms of each"),
            count("suspensions", self.suspensions, ""),
            share("functions that suspended", self.suspended, suspending),
            share("suspended two calls deep or more", self.deep, None),
            share("suspended below an indirect call", self.indirect, None),
            share("suspended inside a loop", self.in_loop, None),
            share("suspended with values on the operand stack", self.operands, None),
            count("deepest stack at a suspension", self.deepest as u64, "functions"),
            count("damaged modules", self.damaged, "inspected, normalised, shimmed, some built"),
            json!({ "name": "findings", "value": self.found(), "unit": "", "target": 0,
                "met": self.found() == 0, "note": "" }),
            json!({ "name": "panics", "value": self.panics, "unit": "", "target": 0,
                "met": self.panics == 0, "note": "" }),
            figure("time", seconds, "s", None, ""),
        ];
        figures.extend(self.decoded.iter().map(|(name, (given, taken))| {
            count("decodes", *given, &format!("{name}; {taken} of them taken"))
        }));
        for (what, counts) in [
            ("refused", &self.refused),
            ("inconclusive", &self.inconclusive),
            ("skipped", &self.skipped),
            ("unexplained", &self.unexplained),
        ] {
            figures.extend(counts.iter().map(|(name, value)| count(what, *value, name)));
        }
        figures
    }
}

/// One figure; a target is the least that meets it.
fn figure(name: &str, value: u64, unit: &str, target: Option<u64>, note: &str) -> Value {
    let met = target.map(|target| value >= target);
    json!({
        "name": name,
        "value": value,
        "unit": unit,
        "target": target,
        "met": met,
        "note": note,
    })
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} s: {} functions, {} suspensions; {}% suspended ({}% two deep, {}% indirect, {}% in loops, {}% with \
             operands), deepest {}; {} refused, {} inconclusive, {} skipped; {} damaged; {} decoded; {} findings",
            self.started.elapsed().as_secs(),
            self.functions,
            self.suspensions,
            self.percent(self.suspended),
            self.percent(self.deep),
            self.percent(self.indirect),
            self.percent(self.in_loop),
            self.percent(self.operands),
            self.deepest,
            self.refused.values().sum::<u64>(),
            self.inconclusive.values().sum::<u64>(),
            self.skipped.values().sum::<u64>(),
            self.damaged,
            self.decoded.values().map(|(given, _)| given).sum::<u64>(),
            self.found(),
        )
    }
}

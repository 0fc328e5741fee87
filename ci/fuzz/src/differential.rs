//! The first target: an original and all artefacts built from it behave alike.

use crate::compare::{Comparison, compare};
use crate::finding::{Finding, Kind, guarded};
use crate::refusal;
use crate::run::{self, Form, Observed};
use crate::scenario::Scenario;
use crate::sites::{self, Coverage, bucket};
use anyhow::Context as _;
use faasm_asyncify::{
    Binaryen, Bound, Built, DebugInfo, Error, Normalised, Options, build, normalise, shim,
};
use faasm_bridge::manifest::Pass;
use std::path::PathBuf;
use std::time::Duration;
use wasmtime::Engine;

/// What checks need.
#[derive(Clone, Debug)]
pub struct Tools {
    pub engine: Engine,
    pub binaryen: Binaryen,
    /// What instruments.
    pub passes: Vec<Pass>,
}

/// Both ways to instrument.
pub const PASSES: [Pass; 2] = [Pass::Own, Pass::Binaryen];

/// After this, Binaryen counts as one that does not end: small functions take it a fraction of a second.
const BINARYEN_TIMEOUT: Duration = Duration::from_secs(120);

impl Tools {
    /// Finds an engine and the rewriter's binary, which `FAASM_ASYNCIFY_BIN` names or which is beside this program.
    ///
    /// # Errors
    /// There is no such binary, or no engine on this machine.
    pub fn find() -> anyhow::Result<Self> {
        let name = format!("faasm-asyncify{}", std::env::consts::EXE_SUFFIX);
        let said = std::env::var_os("FAASM_ASYNCIFY_BIN").map(PathBuf::from);
        let this = std::env::current_exe().context("finding this program")?;
        let mut beside = this.ancestors().skip(1).take(2).map(|folder| folder.join(&name));
        let program = said.or_else(|| beside.find(|path| path.is_file())).with_context(|| {
            format!("no {name}: run `cargo xtask fuzz`, or set FAASM_ASYNCIFY_BIN")
        })?;
        let binaryen = Binaryen { timeout: BINARYEN_TIMEOUT, ..Binaryen::of(program) };
        Ok(Self { engine: run::engine()?, binaryen, passes: PASSES.to_vec() })
    }
}

/// The result of checking one function.
#[derive(Clone, Debug)]
pub enum CaseResult {
    Alike(Report),
    /// No difference in the part that could be compared.
    Inconclusive(&'static str, Report),
    /// Not built by one of the passes, for a reason that is an answer; what was built was alike.
    Refused(String, Report),
    /// This engine cannot run it.
    Skipped(String),
    Finding(Finding),
}

/// Statistics of a run.
#[derive(Clone, Debug, Default)]
pub struct Report {
    pub suspensions: u64,
    pub coverage: Coverage,
}

/// One in so many functions is built twice.
const BUILT_TWICE: u64 = 40;

/// Checks a function under a scenario.
pub fn check(tools: &Tools, wasm: &[u8], scenario: Scenario) -> CaseResult {
    checked(tools, wasm, scenario).unwrap_or_else(CaseResult::Finding)
}

fn checked(tools: &Tools, wasm: &[u8], scenario: Scenario) -> Result<CaseResult, Finding> {
    let normalised = match guarded("normalise", || normalise(wasm))? {
        Ok(normalised) => normalised,
        Err(error) if refusal::is_allowed(&error) => {
            return Ok(CaseResult::Skipped(error.to_string()));
        }
        Err(error) => return Err(unexpected("normalise", &error)),
    };
    let Normalised { wasm: original, entry, .. } = &normalised;
    let form = Form { wasm: original, entry, buffer: None };
    let expected = match run::run(&tools.engine, form, scenario) {
        Ok(expected) => expected,
        Err(message) => return Ok(CaseResult::Skipped(message)),
    };
    let shimmed =
        guarded("shim", || shim(original))?.map_err(|error| unexpected("shim", &error))?;
    let form = Form { wasm: &shimmed, entry, buffer: None };
    let observed = run_artefact(tools, form, scenario, "shimmed")?;
    let mut inconclusive = result("shimmed", &expected, &observed)?;
    let report = report(&shimmed, original, &observed)?;

    let mut refused = None;
    for (number, pass) in tools.passes.iter().enumerate() {
        let mut options = Options { pass: *pass, ..options(tools, scenario) };
        let mut built = built(wasm, &options)?;
        if options.optimize && matches!(&built, Err(error) if refusal::is_allowed(error)) {
            // Binaryen's `-O2` knows less than the rest.
            options.optimize = false;
            built = self::built(wasm, &options)?;
        }
        let built = match built {
            Ok(built) => built,
            Err(error) if refusal::is_allowed(&error) => {
                return Ok(CaseResult::Refused(refusal::variant(&error), report));
            }
            Err(error) => return Err(unexpected("build", &error)),
        };
        // It does not depend on the pass.
        if number == 0 && built.jspi != shimmed {
            let form = Form { wasm: &built.jspi, entry, buffer: None };
            let observed = run_artefact(tools, form, scenario, "optimised")?;
            inconclusive = inconclusive.or(result("optimised", &expected, &observed)?);
        }
        match &built.asyncify {
            None => {
                refused.get_or_insert_with(|| format!("OnlyJspi by {pass:?}"));
            }
            Some(asyncify) => {
                let reason = instrumented(tools, &built, asyncify, scenario, &expected)?;
                inconclusive = inconclusive.or(reason);
            }
        }
        if scenario.draw("twice").is_multiple_of(BUILT_TWICE) {
            let again =
                self::built(wasm, &options)?.map_err(|error| unexpected("build", &error))?;
            if again.asyncify != built.asyncify || again.manifest != built.manifest {
                return Err(Finding::new(Kind::Artefact, "built twice, it is not the same"));
            }
        }
    }
    Ok(match (refused, inconclusive) {
        (Some(variant), _) => CaseResult::Refused(variant, report),
        (None, None) => CaseResult::Alike(report),
        (None, Some(reason)) => CaseResult::Inconclusive(reason, report),
    })
}

/// The scenario also decides how a function is built, so that a finding is found again.
fn options(tools: &Tools, scenario: Scenario) -> Options {
    let mut options = Options::new(tools.binaryen.clone());
    options.stack_size = scenario.draw("stack size").is_multiple_of(4).then_some(SMALL_STACK);
    options.optimize = scenario.draw("optimize").is_multiple_of(4);
    options.asserts = scenario.draw("asserts").is_multiple_of(4);
    options.debug_info = match scenario.draw("debug info") % 4 {
        0 => DebugInfo::Move,
        1 => DebugInfo::Strip,
        _ => DebugInfo::Keep,
    };
    options
}

/// A page, which most functions need no more than.
const SMALL_STACK: u32 = 64 * 1024;

fn built(wasm: &[u8], options: &Options) -> Result<Result<Built, Error>, Finding> {
    guarded("build", || build("fuzz", "fuzz.wasm", wasm, options, |_| {}))
}

/// Runs the instrumented artefact, and compares.
fn instrumented(
    tools: &Tools,
    built: &Built,
    wasm: &[u8],
    scenario: Scenario,
    expected: &Observed,
) -> Result<Option<&'static str>, Finding> {
    let asyncify = built.manifest.engines.asyncify.artefact();
    let buffer = asyncify.and_then(|asyncify| asyncify.buffer).map(|buffer| buffer.bytes);
    let form = Form { wasm, entry: &built.manifest.entry, buffer };
    let pass = asyncify.and_then(|asyncify| asyncify.pass);
    let name = match pass {
        Some(Pass::Own) => "instrumented-by-our-own-pass",
        _ => "instrumented",
    };
    let observed = run_artefact(tools, form, scenario, name)?;
    if let Some(Bound::Bytes(bound)) = built.bound
        && observed.unwound as u64 > bound
    {
        let message =
            format!("{name}: {} bytes were unwound, and the bound is {bound}", observed.unwound);
        return Err(Finding::new(Kind::Difference, message));
    }
    result(name, expected, &observed)
}

fn run_artefact(
    tools: &Tools,
    form: Form<'_>,
    scenario: Scenario,
    name: &str,
) -> Result<Observed, Finding> {
    run::run(&tools.engine, form, scenario)
        .map_err(|message| Finding::new(Kind::Artefact, format!("{name}: {message}")))
}

/// Compares two runs; returns the reason if they cannot be compared completely.
fn result(
    name: &str,
    expected: &Observed,
    observed: &Observed,
) -> Result<Option<&'static str>, Finding> {
    match compare(expected, observed) {
        Comparison::Alike => Ok(None),
        Comparison::Inconclusive(reason) => Ok(Some(reason)),
        Comparison::Differ(what) => Err(Finding::new(Kind::Difference, format!("{name}: {what}"))),
    }
}

fn unexpected(stage: &str, error: &Error) -> Finding {
    Finding::new(Kind::Error, format!("{stage}: {}: {error}", refusal::variant(error)))
}

fn report(shimmed: &[u8], original: &[u8], observed: &Observed) -> Result<Report, Finding> {
    let mut coverage = sites::coverage(shimmed, &observed.stacks)
        .map_err(|error| Finding::new(Kind::Artefact, format!("the shimmed module: {error}")))?;
    let features = &mut coverage.features;
    let used = faasm_asyncify::features::used(original);
    features.extend(used.iter().map(|feature| format!("uses {}", feature.name)));
    features.insert(format!("ends: {}", observed.ending.name()));
    features.insert(format!("{} suspensions", bucket(observed.suspensions as usize)));
    Ok(Report { suspensions: observed.suspensions, coverage })
}

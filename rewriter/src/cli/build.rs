//! `faasm-asyncify build`: makes the artefacts that a web page loads.

use super::outcome::{Outcome, destinations, growth, show};
use super::{name_of, print, read};
use anyhow::{Context, Result, bail, ensure};
use clap::{Args, ValueEnum};
use faasm_asyncify::{
    Binaryen, DebugInfo, ForFaasm, Options, Stage, Warning, by_default, features,
};
use faasm_bridge::manifest::{Asyncify, Pass};
use faasm_bridge::placement::{DEFAULT, Where};
use faasm_bridge::residence::Rules;
use faasm_bridge::wire::{MAX_WATCHED_BYTES, is_valid_name};
use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Build functions for the browser
///
/// For each function, writes NAME.wasm (for engines with JavaScript Promise Integration), NAME.asyncify.wasm (for all
/// other engines, unless Asyncify does not support the function) and NAME.json (the manifest). NAME is the input's file
/// name without its extension. Prints for each function the sizes of these files, how many of its functions are
/// instrumented because they can be on the stack when it suspends, how many there are, how many Binaryen would
/// instrument by default, and the size of the unwind buffer.
///
/// If a function cannot be built, the others are built all the same.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Functions, as the toolchain linked them
    #[arg(required = true, value_name = "FUNCTION.wasm")]
    functions: Vec<PathBuf>,
    /// Folder for the results; created if missing
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
    /// What instruments functions for engines without JavaScript Promise Integration
    #[arg(long, value_name = "PASS", default_value = if HAS_BINARYEN { "binaryen" } else { "own" })]
    asyncify: Instrumenter,
    /// Room for the suspended stack [default: what it can need, or 256 KiB if it can recurse]
    #[arg(long, value_name = "BYTES")]
    stack_size: Option<u32>,
    /// Reject functions with imports that are not in the host interface
    #[arg(long)]
    deny_unknown: bool,
    /// Reject functions that can be built only for JavaScript Promise Integration
    #[arg(long)]
    deny_only_jspi: bool,
    /// What to do with the names of functions
    #[arg(long, value_name = "HOW", default_value = "keep")]
    debug_info: Names,
    /// Reject functions whose Asyncify artefact is larger than the other artefact by more than this
    #[arg(long, value_name = "PERCENT")]
    max_size_growth: Option<u32>,
    /// Also print the size of the Asyncify artefact if Binaryen chose what to instrument; doubles the time of a build
    #[arg(long)]
    compare_default: bool,
    /// Where chained calls of the functions run: cluster, browser or auto; NAME=PLACE for calls of one function. Pages
    /// can override it [default: cluster]
    #[arg(long = "where", value_name = "[NAME=]PLACE", value_parser = rule)]
    chained: Vec<(String, Where)>,
    /// Make pages keep the state value of this key up to date once they have loaded a function (repeatable)
    #[arg(long, value_name = "KEY", value_parser = key)]
    state_pin: Vec<String>,
    /// Make pages fetch the state value of this key when they load a function (repeatable)
    #[arg(long, value_name = "KEY", value_parser = key)]
    state_prefetch: Vec<String>,
    /// Make the state value of this key page-only; a * at the end matches all keys with this prefix (repeatable)
    #[arg(long, value_name = "KEY", value_parser = key)]
    state_local: Vec<String>,
    /// Also optimise the artefact for JavaScript Promise Integration
    #[arg(long)]
    optimize: bool,
    /// Also write NAME.cluster.wasm, to upload to a cluster of this kind instead of the original
    ///
    /// A Faasm cluster drops the output of a call whose return value is not 0, drops the return value of a function
    /// pointer, crashes on outputs that are not UTF-8 text, and lacks host calls for parts of values and for clearing
    /// lists. This artefact encodes its results, checks what it passes to the host, and implements the missing host
    /// calls itself. A relay in front of the cluster decodes the results, as does a function that was built this way
    /// and awaits the call; other functions receive the encoded output. A function with imports that a Faasm cluster
    /// does not support is rejected. Not written for functions that can run there unchanged.
    #[arg(long = "for", value_name = "CLUSTER")]
    cluster: Option<Kind>,
    /// With `--for faasm`: push whole values where the function pushes parts; this can overwrite concurrent pushes
    #[arg(long, requires = "cluster")]
    allow_lost_updates: bool,
    /// The former name of `--for faasm`
    #[arg(long, hide = true, conflicts_with = "cluster")]
    text_output: bool,
    /// Trap if a function that is not instrumented observes a suspension
    #[arg(long, hide = true)]
    asserts: bool,
    /// With `--asyncify own`: check by a second program that what was instrumented does the same
    #[arg(long)]
    verify: bool,
    /// Print the results as JSON
    #[arg(long)]
    json: bool,
    /// Time limit for instrumenting one function
    #[arg(long, value_name = "SECONDS", default_value_t = Binaryen::TIMEOUT.as_secs())]
    timeout: u64,
    /// Memory limit for instrumenting one function
    #[arg(long, value_name = "MIB", default_value_t = Binaryen::MEMORY_LIMIT >> 20,
        value_parser = clap::value_parser!(u64).range(16..))]
    memory_limit: u64,
    /// Use this `wasm-opt` instead of the built-in Binaryen
    #[arg(long, value_name = "PATH")]
    wasm_opt: Option<PathBuf>,
}

/// Whether Binaryen is built in.
const HAS_BINARYEN: bool = cfg!(feature = "binaryen");

/// What instruments functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Instrumenter {
    /// A pass of our own: fast, and for exceptions, references and blocks with parameters, too
    Own,
    /// Binaryen's Asyncify and -O2
    Binaryen,
}

/// Clusters that take something else than originals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// A Faasm cluster whose workers run WAMR
    Faasm,
}

/// Parses `PLACE` or `NAME=PLACE`.
fn rule(text: &str) -> Result<(String, Where), String> {
    let (name, place) = text.split_once('=').unwrap_or((DEFAULT, text));
    if !is_valid_name(name) {
        return Err(format!("`{name}` cannot name a function"));
    }
    let place = Where::parse(place)
        .ok_or_else(|| format!("`{place}` is not a place; use cluster, browser or auto"))?;
    Ok((name.to_owned(), place))
}

/// Parses the key of a state value.
fn key(text: &str) -> Result<String, String> {
    match text.len() {
        0 => Err("a key has at least one byte".to_owned()),
        bytes if bytes > MAX_WATCHED_BYTES => {
            Err(format!("the key has {bytes} bytes; at most {MAX_WATCHED_BYTES} are allowed"))
        }
        _ => Ok(text.to_owned()),
    }
}

/// What to do with the names of functions.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Names {
    /// Keep them in the artefacts
    Keep,
    /// Move them to NAME.names.json, which the runtime fetches to show the stack of a trap
    Move,
    /// Remove them
    Strip,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    check_names(arguments)?;
    let options = options(arguments)?;
    let mut outcomes = Vec::new();
    let mut errors = Vec::new();
    for path in &arguments.functions {
        match build(path, arguments, &options) {
            Ok(outcome) => {
                for warning in &outcome.warnings {
                    eprintln!("warning: {}: {warning}", outcome.name);
                }
                outcomes.push(outcome);
            }
            Err(error) => {
                errors.push(error.context(format!("cannot build {}", path.display())));
            }
        }
    }
    if arguments.json {
        print(&format!("{}\n", serde_json::to_string_pretty(&outcomes)?))?;
    } else if !outcomes.is_empty() {
        print(&show(&outcomes, arguments.compare_default))?;
        if arguments.cluster.is_some() || arguments.text_output {
            print(&destinations(&outcomes))?;
        }
    }
    report(errors, arguments.functions.len())
}

fn options(arguments: &Arguments) -> Result<Options> {
    check_binaryen(arguments)?;
    let mut binaryen = Binaryen::this_program().context("cannot find my own binary")?;
    binaryen.timeout = Duration::from_secs(arguments.timeout);
    binaryen.memory_limit = arguments.memory_limit.saturating_mul(1 << 20);
    binaryen.external.clone_from(&arguments.wasm_opt);
    let state = Rules {
        pin: arguments.state_pin.clone(),
        prefetch: arguments.state_prefetch.clone(),
        local: arguments.state_local.clone(),
    };
    if let Some(problem) = state.problem() {
        bail!("too many state options: {problem}");
    }
    Ok(Options {
        pass: match arguments.asyncify {
            Instrumenter::Own => Pass::Own,
            Instrumenter::Binaryen => Pass::Binaryen,
        },
        stack_size: arguments.stack_size,
        debug_info: match arguments.debug_info {
            Names::Keep => DebugInfo::Keep,
            Names::Move => DebugInfo::Move,
            Names::Strip => DebugInfo::Strip,
        },
        optimize: arguments.optimize,
        faasm: (arguments.cluster.is_some() || arguments.text_output)
            .then_some(ForFaasm { allow_lost_updates: arguments.allow_lost_updates }),
        asserts: arguments.asserts,
        verify: arguments.verify,
        chained: arguments.chained.iter().cloned().collect(),
        state,
        binaryen,
    })
}

/// Refuses what takes Binaryen where there is none.
fn check_binaryen(arguments: &Arguments) -> Result<()> {
    if HAS_BINARYEN || arguments.wasm_opt.is_some() {
        return Ok(());
    }
    let asked = [
        (arguments.asyncify == Instrumenter::Binaryen, "--asyncify binaryen"),
        (arguments.optimize, "--optimize"),
        (arguments.compare_default, "--compare-default"),
    ];
    match asked.iter().find(|(is_asked, _)| *is_asked) {
        None => Ok(()),
        Some((_, option)) => bail!(
            "{option} takes Binaryen, and this faasm-asyncify was built without it; leave it out, or give a `wasm-opt` with \
             `--wasm-opt`"
        ),
    }
}

/// A single error as it is; several one by one, and then their number.
fn report(mut errors: Vec<anyhow::Error>, of: usize) -> Result<()> {
    if errors.len() > 1 {
        for error in &errors {
            eprintln!("error: {}", super::describe(error));
        }
        bail!("{} of {of} functions were not built", errors.len());
    }
    errors.pop().map_or(Ok(()), Err)
}

/// Checks that results overwrite neither each other nor an input.
fn check_names(arguments: &Arguments) -> Result<()> {
    let mut names: BTreeMap<&str, &Path> = BTreeMap::new();
    for path in &arguments.functions {
        let name = name_of(path)?;
        if let Some(other) = names.insert(name, path) {
            bail!(
                "{} and {} are both functions called `{name}`; build them into different folders",
                other.display(),
                path.display()
            );
        }
    }
    let output = arguments.output.canonicalize().ok();
    for path in &arguments.functions {
        let folder = path.canonicalize().ok().and_then(|path| path.parent().map(Path::to_owned));
        ensure!(
            folder.is_none() || folder != output,
            "{} would be overwritten by its own result; choose another folder with --output",
            path.display()
        );
    }
    Ok(())
}

fn build(path: &Path, arguments: &Arguments, options: &Options) -> Result<Outcome> {
    let wasm = read(path)?;
    let name = name_of(path)?;
    let file = path.file_name().and_then(|file| file.to_str()).unwrap_or(name);
    let show_stages = std::io::stderr().is_terminal();
    let progress = |stage: Stage| {
        if show_stages {
            eprintln!("{name}: {stage}");
        }
    };
    let built = faasm_asyncify::build(name, file, &wasm, options, progress)?;
    let unknown = &built.manifest.imports.unknown;
    if arguments.deny_unknown && !unknown.is_empty() {
        let unknown = built.warnings.iter().filter_map(|warning| match warning {
            Warning::UnknownImports { .. } => Some(warning.to_string()),
            _ => None,
        });
        let unknown: Vec<String> = unknown.collect();
        bail!("imports that --deny-unknown does not allow: {}", unknown.join("; "));
    }
    if let (true, Asyncify::Unsupported { unsupported }) =
        (arguments.deny_only_jspi, &built.manifest.engines.asyncify)
    {
        bail!("it has no Asyncify artefact, and --deny-only-jspi is given: {unsupported}");
    }
    if let (Some(most), Some(growth)) = (arguments.max_size_growth, growth(&built.manifest)) {
        ensure!(
            growth <= f64::from(most),
            "instrumented, it is {growth:.1} % larger, and --max-size-growth allows {most} %; `faasm-asyncify inspect \
             --callgraph` shows what can suspend"
        );
    }
    let files = faasm_asyncify::emit(&built, &arguments.output)?;
    let by_default = arguments.compare_default.then(|| {
        let features = features::used(&built.jspi);
        by_default(&built.jspi, &features, &options.binaryen)
    });
    let mut outcome = Outcome::new(built, files);
    match by_default.transpose() {
        Ok(bytes) => outcome.bytes.by_default = bytes,
        Err(error) => outcome.warnings.push(format!("Binaryen's default fails: {error}")),
    }
    Ok(outcome)
}

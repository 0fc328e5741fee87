//! How the rewriter's time and memory grow with a module of one shape: at n, 2n and 4n, separately for the rewriter and
//! Binaryen; and the total relative to `wasm-opt -O2 --asyncify` with the same Binaryen.

use super::optimise;
use crate::figure::{self, Figure};
use crate::measured::{Taken, measured};
use anyhow::{Context as _, Result};
use faasm_asyncify::{Binaryen, Options, build};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;
use std::path::PathBuf;
use std::process::Command;

/// Shorter times are dominated by noise.
const LEAST_SECONDS: f64 = 0.05;

/// Maximum ratio of 4n to n. Linear growth is 4; the rest allows for sorting, caches, and load on the machine.
const MOST_GROWTH: f64 = 6.0;

/// Maximum ratio of a build to Binaryen alone.
const MOST_OF_BINARYEN: f64 = 3.0;

/// Number of measurements of each; the fastest counts.
const ROUNDS: usize = 2;

const SUSPENDING: &str = "wasi_snapshot_preview1.poll_oneoff";

/// Measure how the rewriter's time and memory grow with modules of some shapes
#[derive(Debug, clap::Args)]
pub(crate) struct Opts {
    /// The `faasm-asyncify` binary
    #[arg(long, value_name = "FILE")]
    asyncify: PathBuf,
    /// Only shapes whose names contain this
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// Write the figures to this file, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// A kind of module; `size` is a quarter of the largest.
struct Shape {
    name: &'static str,
    size: usize,
    wat: fn(usize) -> String,
}

const SHAPES: &[Shape] = &[
    Shape { name: "nested if", size: 500, wat: nested_if },
    Shape { name: "nested blocks", size: 1250, wat: nested_blocks },
    Shape { name: "chain of functions", size: 5000, wat: chain },
    Shape { name: "callers by callees of a table", size: 500, wat: table },
    Shape { name: "calls in one function", size: 1250, wat: calls },
    Shape { name: "functions", size: 25_000, wat: functions },
    Shape { name: "imports", size: 12_500, wat: imports },
    Shape { name: "calls of the start", size: 5000, wat: calls_of_start },
];

const HEAD: &str = r#"(module
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $wait (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 2)"#;
const WAIT: &str =
    "(drop (call $wait (i32.const 0) (i32.const 100) (i32.const 1) (i32.const 200)))";

fn joined(count: usize, part: impl Fn(usize) -> String) -> String {
    (0..count).map(part).collect()
}

fn nested_if(n: usize) -> String {
    let (begin, end) = ("i32.const 1 if ".repeat(n), "end ".repeat(n));
    format!(r#"{HEAD} (func (export "_start") {begin} {WAIT} {end}))"#)
}

fn nested_blocks(n: usize) -> String {
    let (begin, end) = ("block ".repeat(n), "end ".repeat(n));
    format!(r#"{HEAD} (func (export "_start") {begin} {WAIT} {end}))"#)
}

fn chain(n: usize) -> String {
    let links = joined(n, |at| format!("(func $f{at} (call $f{}))\n", at + 1));
    format!(r#"{HEAD} {links} (func $f{n} {WAIT}) (func (export "_start") (call $f0)))"#)
}

fn table(n: usize) -> String {
    let names = joined(n, |at| format!("$g{at} "));
    let functions = joined(n, |at| {
        let address = at * 4 % 60_000;
        format!("(func $g{at} (call_indirect (type $t) (i32.load (i32.const {address}))))\n")
    });
    format!(
        r#"{HEAD} (type $t (func)) (table {n} funcref) (elem (i32.const 0) {names}) {functions}
        (func (export "_start") {WAIT} (call_indirect (type $t) (i32.const 1))))"#
    )
}

fn calls(n: usize) -> String {
    const LOCALS: usize = 50;
    let calls = joined(n, |at| {
        let [to, from, count] = [at, at * 7, at * 13].map(|at| 1 + at % LOCALS);
        format!(
            "(local.set {to} (i32.add (local.get {from}) (call $wait (i32.const 0) (i32.const 100) (i32.const 1) (local.get {count}))))\n"
        )
    });
    let locals = "i32 ".repeat(LOCALS);
    format!(
        r#"{HEAD} (func $f (param i32) (local {locals}) {calls}) (func (export "_start") (call $f (i32.const 0))))"#
    )
}

fn functions(n: usize) -> String {
    let functions = joined(n, |at| {
        format!("(func $f{at} (param i32) (result i32) (i32.add (local.get 0) (i32.const {at})))\n")
    });
    format!(r#"{HEAD} {functions} (func (export "_start") {WAIT}))"#)
}

fn imports(n: usize) -> String {
    let imports = joined(n, |at| format!("(import \"env\" \"u{at}\" (func))\n"));
    let calls = joined(n / 10, |at| format!("(call {})", at * 10));
    format!(r#"(module {imports} (memory (export "memory") 2) (func (export "_start") {calls}))"#)
}

/// An exported constructor function without callers, and many calls on three levels; nothing suspends.
fn calls_of_start(n: usize) -> String {
    let [f, g, h] = ["f", "g", "h"].map(|name| format!("(call ${name})").repeat(n));
    format!(
        r#"{HEAD} (func (export "_start") {f}) (func $f {g}) (func $g {h}) (func $h)
        (func (export "__wasm_call_ctors")))"#
    )
}

pub(crate) fn run(opts: &Opts) -> Result<()> {
    let mut figures = Vec::new();
    let filter = opts.filter.as_deref().unwrap_or_default();
    for shape in SHAPES.iter().filter(|shape| shape.name.contains(filter)) {
        figures.extend(measure(shape, &Binaryen::of(&opts.asyncify))?);
    }
    print!("{}", figure::table(&figures));
    match &opts.json {
        Some(path) => figure::write(&figures, path),
        None => Ok(()),
    }
}

/// The time of a build and of Binaryen alone, for each size, and the figures derived from it.
fn measure(shape: &Shape, binaryen: &Binaryen) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    let mut ours = Vec::new();
    let mut last = None;
    for size in [shape.size, 2 * shape.size, 4 * shape.size] {
        let what = || format!("{} of size {size}", shape.name);
        let wasm = wat::parse_str((shape.wat)(size)).with_context(what)?;
        let mut own = f64::INFINITY;
        for _ in 0..ROUNDS {
            let before = seconds()?;
            build("shape", "shape.wasm", &wasm, &Options::new(binaryen.clone()), |_| {})
                .with_context(what)?;
            own = own.min(seconds()? - before);
        }
        let [all, alone] = beside(&wasm, binaryen).with_context(what)?;
        for (name, value, unit) in [
            ("ours", own, "seconds"),
            ("with Binaryen", all.seconds, "seconds"),
            ("Binaryen alone", alone.seconds, "seconds"),
            ("memory", mebibytes(all), "MiB"),
            ("memory of Binaryen alone", mebibytes(alone), "MiB"),
        ] {
            figures.push(Figure::new(format!("{}, {size}: {name}", shape.name), value, unit));
        }
        ours.push(own.max(LEAST_SECONDS));
        last = Some((all, alone));
    }
    if let [first, _, last] = ours.as_slice() {
        let growth =
            Figure::ratio(format!("{}: growth of ours, 4n to n", shape.name), last / first);
        figures.push(growth.at_most(MOST_GROWTH));
    }
    if let Some((all, alone)) = last {
        let memory = all.bytes as f64 / alone.bytes as f64;
        for (what, ratio) in [("time", all.seconds / alone.seconds), ("memory", memory)] {
            let name = format!("{}: {what} to that of Binaryen alone", shape.name);
            figures.push(Figure::ratio(name, ratio).at_most(MOST_OF_BINARYEN));
        }
    }
    Ok(figures)
}

/// The resources of `faasm-asyncify build` and of Binaryen alone: the minimum of several rounds for each.
fn beside(wasm: &[u8], binaryen: &Binaryen) -> Result<[Taken; 2]> {
    let folder = tempfile::tempdir().context("a temporary folder")?;
    let [input, scratch, output, out] =
        ["shape.wasm", "scratch.wasm", "output.wasm", "out"].map(|name| folder.path().join(name));
    std::fs::write(&input, wasm).context("writing the module")?;
    let mut all = Command::new(&binaryen.program);
    all.arg("build").arg(&input).arg("--output").arg(&out);
    let alone = optimise::optimised_first([&input, &scratch, &output], SUSPENDING)?;
    let least = |command: &Command| {
        let mut least = Taken { seconds: f64::INFINITY, bytes: u64::MAX };
        for _ in 0..ROUNDS {
            let taken = measured(command)?;
            least.seconds = least.seconds.min(taken.seconds);
            least.bytes = least.bytes.min(taken.bytes);
        }
        Ok::<_, anyhow::Error>(least)
    };
    Ok([least(&all)?, least(&alone)?])
}

fn mebibytes(taken: Taken) -> f64 {
    taken.bytes as f64 / f64::from(1 << 20)
}

/// CPU time of this process so far.
fn seconds() -> Result<f64> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    Ok((usage.user_time() + usage.system_time()).num_microseconds() as f64 / 1e6)
}

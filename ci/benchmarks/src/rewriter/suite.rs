//! The whole benchmark: each workload in each column, built, run side by side, and checked.

use super::artefact::{Artefact, Reach};
use super::build::{self, Cost};
use super::column::Column;
use super::node::Node;
use super::wasmtime::Wasmtime;
use super::workload::{Form, WORKLOADS, Workload};
use super::{report, size, small, unshim};
use anyhow::{Context as _, Result, ensure};
use faasm_asyncify::normalise;
use std::path::{Path, PathBuf};

/// Builds of each artefact.
const BUILDS: usize = 3;

/// Minimum number of suspensions for which the check of a callback deep inside is meaningful.
const MANY: u64 = 1000;

/// Compare the rewriter's output with Binaryen's own Asyncify, and with no Asyncify
#[derive(Debug, clap::Args)]
pub(crate) struct Opts {
    /// Folder of the workloads, compiled
    #[arg(long, value_name = "FOLDER")]
    workloads: PathBuf,
    /// Folder of small functions (repeatable)
    #[arg(long, value_name = "FOLDER")]
    small: Vec<PathBuf>,
    /// The `faasm-asyncify` binary
    #[arg(long, value_name = "FILE")]
    asyncify: PathBuf,
    /// Only workloads whose names contain this, or `small functions`
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// Number of runs of each column
    #[arg(long, value_name = "N", default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Write the figures to this file, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the tables to this file, as Markdown
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
}

/// The measurements of one workload.
pub(crate) struct Measured {
    pub(crate) workload: Workload,
    /// In the order of [`Column::ALL`].
    pub(crate) columns: Vec<MeasuredColumn>,
}

pub(crate) struct MeasuredColumn {
    pub(crate) column: Column,
    pub(crate) bytes: usize,
    pub(crate) builds: Vec<Cost>,
    pub(crate) reach: Option<Reach>,
    /// Nanoseconds of each repetition's fastest round.
    pub(crate) v8: Vec<f64>,
    pub(crate) wasmtime: Vec<f64>,
    /// Number of suspensions in the run that checks the column, if there is one.
    pub(crate) suspensions: Option<u64>,
}

pub(crate) fn run(opts: &Opts) -> Result<()> {
    let folder = tempfile::tempdir().context("a temporary folder")?;
    let bed = TestBed {
        opts,
        folder: folder.path(),
        node: Node::new(folder.path())?,
        wasmtime: Wasmtime::new()?,
    };
    let chosen = |workload: &&Workload| {
        opts.filter.as_deref().is_none_or(|text| {
            let name = workload.to_string().to_lowercase();
            name.contains(&text.to_lowercase())
        })
    };
    let mut measured = Vec::new();
    for workload in WORKLOADS.iter().filter(chosen) {
        eprintln!("\n== {workload}");
        measured.push(bed.measure(*workload).with_context(|| format!("workload {workload}"))?);
        println!("{}", report::workload(measured.last().context("just pushed")?));
    }
    let wants_small = |text: &str| "small functions".contains(&text.to_lowercase());
    let small = if opts.filter.as_deref().is_none_or(wants_small) {
        small::measure(&opts.small, &opts.asyncify)?
    } else {
        Vec::new()
    };
    ensure!(
        !measured.is_empty() || !small.is_empty(),
        "no workload has a name that contains `{}`",
        opts.filter.as_deref().unwrap_or_default()
    );
    report::write(&measured, &small, opts.json.as_deref(), opts.markdown.as_deref())
}

struct TestBed<'a> {
    opts: &'a Opts,
    folder: &'a Path,
    node: Node,
    wasmtime: Wasmtime,
}

/// One column, ready to run.
struct Ready {
    /// Module with its original imports.
    path: PathBuf,
    /// Compiled for wasmtime.
    module: ::wasmtime::Module,
}

impl TestBed<'_> {
    fn measure(&self, workload: Workload) -> Result<Measured> {
        let original = self.opts.workloads.join(workload.file).with_extension("wasm");
        let bytes =
            std::fs::read(&original).with_context(|| format!("reading {}", original.display()))?;
        let entry = normalise(&bytes)?.entry.main;
        let (mut columns, artefacts) = self.build(&original)?;
        let ready = self.prepare(workload, &entry, &artefacts)?;
        let checksum = self.time(workload, &entry, &ready, &mut columns)?;
        for (column, artefact) in columns.iter_mut().zip(&artefacts) {
            if matches!(column.column, Column::Default | Column::Ours) {
                let count = self.check(workload, &entry, artefact, &checksum)?;
                column.suspensions = Some(count);
            }
        }
        Ok(Measured { workload, columns })
    }

    /// Builds the columns in turn, several times.
    fn build(&self, original: &Path) -> Result<(Vec<MeasuredColumn>, Vec<Artefact>)> {
        let mut costs = Column::ALL.map(|_| Vec::new());
        let mut artefacts = Vec::new();
        for repetition in 0..BUILDS {
            eprintln!("building, {} of {BUILDS}", repetition + 1);
            artefacts.clear();
            for (column, costs) in Column::ALL.into_iter().zip(&mut costs) {
                let (artefact, cost) =
                    build::measure(original, column, &self.opts.asyncify, self.folder)?;
                costs.push(cost);
                artefacts.push(artefact);
            }
        }
        let columns = Column::ALL.into_iter().zip(costs).zip(&artefacts);
        let columns = columns.map(|((column, builds), artefact)| {
            Ok(MeasuredColumn {
                column,
                bytes: size::of(&artefact.wasm)?,
                builds,
                reach: artefact.reach,
                v8: Vec::new(),
                wasmtime: Vec::new(),
                suspensions: None,
            })
        });
        Ok((columns.collect::<Result<_>>()?, artefacts))
    }

    fn prepare(
        &self,
        workload: Workload,
        entry: &[String],
        artefacts: &[Artefact],
    ) -> Result<Vec<Ready>> {
        let ready = Column::ALL.into_iter().zip(artefacts).map(|(column, artefact)| {
            eprintln!("compiling {} for wasmtime", column.id());
            let wasm = unshim::unshim(&artefact.wasm, entry)?;
            let there = normalise(&wasm)?.entry.main;
            ensure!(there == entry, "{} is entered by {there:?}, not {entry:?}", column.id());
            let path = self.folder.join(format!("{}-{}.wasm", workload.file, column.id()));
            std::fs::write(&path, &wasm).context("writing a module")?;
            let module = self.wasmtime.load(&wasm)?;
            Ok(Ready { path, module })
        });
        ready.collect()
    }

    /// Runs the columns in turn, in both engines; returns the checksum, which must be the same in all.
    fn time(
        &self,
        workload: Workload,
        entry: &[String],
        ready: &[Ready],
        columns: &mut [MeasuredColumn],
    ) -> Result<String> {
        let mut checksum: Option<String> = None;
        for repetition in 0..self.opts.rounds {
            eprintln!("running, {} of {}", repetition + 1, self.opts.rounds);
            for (ready, column) in ready.iter().zip(&mut *columns) {
                let v8 = self.node.time(&ready.path, entry, workload.rounds)?;
                let wasmtime = self.wasmtime.time(&ready.module, entry, workload.rounds)?;
                column.v8.push(v8.fastest);
                column.wasmtime.push(wasmtime.fastest);
                let expected = checksum.get_or_insert_with(|| v8.checksum.clone());
                for (engine, run) in [("V8", &v8), ("wasmtime", &wasmtime)] {
                    ensure!(
                        run.checksum == *expected,
                        "{} has checksum {} in {engine}, but earlier runs had {expected}",
                        column.column.id(),
                        run.checksum
                    );
                }
            }
        }
        checksum.context("no column was run")
    }

    /// Runs an instrumented column with real suspensions; returns their number.
    fn check(
        &self,
        workload: Workload,
        entry: &[String],
        artefact: &Artefact,
        checksum: &str,
    ) -> Result<u64> {
        let path = self.folder.join("suspended.wasm");
        std::fs::write(&path, &artefact.wasm).context("writing a module")?;
        let (sum, count) = self.node.suspend(&path, entry, artefact.buffer)?;
        ensure!(
            sum == checksum,
            "the checksum is {sum} with {count} suspensions, and {checksum} without"
        );
        let least = if workload.form == Form::Deep { MANY } else { 1 };
        ensure!(count >= least, "the run had only {count} suspensions");
        Ok(count)
    }
}

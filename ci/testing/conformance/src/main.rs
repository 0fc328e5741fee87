//! `faasm-conformance`: runs the suite and prints the matrix. `cargo xtask conformance` builds what it needs.

use anyhow::{Context as _, Result, ensure};
use clap::Parser;
use faasm_conformance::case::{Case, End, Instead};
use faasm_conformance::column::Addresses;
use faasm_conformance::functions::Folders;
use faasm_conformance::matrix::{self, Unbuilt};
use faasm_conformance::outcome::Code;
use faasm_conformance::test_bed::TestBed;
use faasm_conformance::{cases, column, coverage};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

/// Run the same functions everywhere, and compare the results
#[derive(Debug, Parser)]
#[command(name = "faasm-conformance", version)]
struct Opts {
    /// Only cases whose names contain this
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// Only columns whose names contain this: embedded, faasm, chromium, firefox, webkit, asyncify, own, jspi, page, worker
    #[arg(long, value_name = "NAME")]
    column: Option<String>,
    /// Run only the columns of a Faasm cluster, on the real cluster with this planner
    #[arg(long, value_name = "URL", requires_all = ["upload", "redis"])]
    faasm: Option<String>,
    /// Upload server of the real cluster
    #[arg(long, value_name = "URL", requires = "faasm")]
    upload: Option<String>,
    /// Redis of the real cluster
    #[arg(long, value_name = "URL", requires = "faasm")]
    redis: Option<String>,
    /// Write the figures of each column to this file, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Opts::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether every case passed in every column.
async fn run(opts: Opts) -> Result<bool> {
    let folders = Folders::of_checkout();
    let cases = cases::all();
    for (function, problem) in folders.build()? {
        // Some functions are meant to be rejected.
        let refused = |case: &&Case| {
            case.end == End::Fails(Code::CannotLoad)
                || case
                    .limits
                    .iter()
                    .any(|limit| matches!(limit.instead, Instead::Fails(Code::CannotLoad)))
        };
        if !cases.iter().filter(refused).any(|case| case.function == function) {
            eprintln!("warning: {problem}");
        }
    }
    coverage::check(&folders)?;
    let bed = Arc::new(TestBed::start(&folders, &cases).await?);
    let real = match (opts.faasm, opts.upload, opts.redis) {
        (Some(planner), Some(upload), Some(redis)) => Some(Addresses { planner, upload, redis }),
        _ => None,
    };
    let columns = column::open(&bed, opts.column.as_deref(), real.as_ref());
    let chosen: Vec<_> = cases
        .into_iter()
        .filter(|case| opts.filter.as_deref().is_none_or(|text| case.name.contains(text)))
        .collect();
    ensure!(
        !columns.is_empty(),
        "no column has a name that contains `{}`",
        opts.column.unwrap_or_default()
    );
    ensure!(
        !chosen.is_empty(),
        "no case has a name that contains `{}`",
        opts.filter.unwrap_or_default()
    );

    let unbuilt = Unbuilt::by_environment(std::env::var("CI").ok().as_deref());
    let mut out = std::io::stdout();
    let mut summary = matrix::fill(&bed, &columns, &chosen, unbuilt, &mut out).await?;
    for column in columns {
        summary.notes.extend(column.close().await?);
    }
    for note in &summary.notes {
        println!("note: {note}");
    }
    for failure in summary.failures() {
        println!("failed: {failure}");
    }
    if let Some(path) = &opts.json {
        let text = format!("{:#}\n", summary.figures());
        std::fs::write(path, text).with_context(|| format!("writing {}", path.display()))?;
    }
    println!("{} cases, {} passed, {} failed", chosen.len(), summary.passed(), summary.failed());
    Ok(summary.failed() == 0)
}

//! Binaryen for the columns that are not ours, in a separate process: the same two runs as in the rewriter, default
//! Asyncify and then `-O2`.

use super::column::Column;
use anyhow::{Context as _, Result, bail, ensure};
use std::path::{Path, PathBuf};
use std::process::Command;
use wasm_opt::{Feature, OptimizationOptions, Pass};

pub(crate) const SUBCOMMAND: &str = "__optimise";

const SUSPENDING: &str = "faasm_bridge.suspend";

#[derive(Debug, clap::Args)]
pub(crate) struct Opts {
    column: Column,
    input: PathBuf,
    scratch: PathBuf,
    output: PathBuf,
    #[arg(long = "feature")]
    features: Vec<String>,
    /// The import that suspends.
    #[arg(long, default_value = SUSPENDING)]
    suspending: String,
    /// Run `-O2` and then Asyncify in one pass, like `wasm-opt -O2 --asyncify`.
    #[arg(long)]
    first: bool,
}

/// Runs Binaryen's default Asyncify and then `-O2` on a module; `suspending` is the import that suspends, as
/// `module.name`.
pub(crate) fn asyncified(wasm: &[u8], suspending: &str) -> Result<Vec<u8>> {
    run_child(wasm, Column::Default, &["--suspending", suspending])
}

/// The command that makes this program act like `wasm-opt -O2 --asyncify` on a module; `suspending` is the import that
/// suspends, as `module.name`.
pub(crate) fn optimised_first(files: [&Path; 3], suspending: &str) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe().context("own program")?);
    command.args([SUBCOMMAND, Column::Default.id()]).args(files);
    command.args(["--first", "--suspending", suspending]);
    Ok(command)
}

/// Runs this program for one module.
pub(crate) fn in_child(wasm: &[u8], column: Column, features: &[&str]) -> Result<Vec<u8>> {
    let features: Vec<&str> = features.iter().flat_map(|feature| ["--feature", feature]).collect();
    run_child(wasm, column, &features)
}

fn run_child(wasm: &[u8], column: Column, more: &[&str]) -> Result<Vec<u8>> {
    let folder = tempfile::tempdir().context("a temporary folder")?;
    let [input, scratch, output] =
        ["input", "scratch", "output"].map(|name| folder.path().join(name));
    std::fs::write(&input, wasm).context("writing Binaryen's input")?;
    let mut command = Command::new(std::env::current_exe().context("own program")?);
    command.args([SUBCOMMAND, column.id()]).args([&input, &scratch, &output]);
    command.args(more);
    let status = command.status().context("starting Binaryen")?;
    ensure!(status.success(), "Binaryen failed: {status}");
    std::fs::read(&output).context("reading Binaryen's output")
}

/// Entry of the child process.
pub(crate) fn run(opts: &Opts) -> Result<()> {
    let features = opts
        .features
        .iter()
        .map(|name| name.parse().with_context(|| format!("unknown feature {name}")))
        .collect::<Result<Vec<Feature>>>()?;
    if opts.first {
        let mut asyncify = asyncify(&features, opts);
        asyncify.passes.add_default_passes = true;
        asyncify.run(&opts.input, &opts.output)?;
        return Ok(());
    }
    let instrumented: &Path = match opts.column {
        Column::O2 => &opts.input,
        Column::Default | Column::Floor => {
            asyncify(&features, opts).run(&opts.input, &opts.scratch)?;
            &opts.scratch
        }
        Column::Ours => bail!("faasm-asyncify builds this column"),
    };
    options(&features).run(instrumented, &opts.output)?;
    Ok(())
}

fn asyncify(features: &[Feature], opts: &Opts) -> OptimizationOptions {
    let mut options = options(features);
    options
        .add_default_passes(false)
        .add_pass(Pass::Asyncify)
        .set_pass_arg("asyncify-imports", &opts.suspending);
    if opts.column == Column::Floor {
        options.set_pass_arg("asyncify-ignore-indirect", "1");
    }
    options
}

fn options(features: &[Feature]) -> OptimizationOptions {
    let mut options = OptimizationOptions::new_opt_level_2();
    options.mvp_features_only().debug_info(true).validate(true);
    for feature in features {
        options.enable_feature(*feature);
    }
    options
}

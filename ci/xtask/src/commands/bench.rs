//! `cargo xtask bench`: builds everything that a benchmark measures, and runs the benchmark.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;
use serde_json::Value;

use crate::commands::functions::{
    self, CFunction, EXPORT_CONSTRUCTORS, EXPORT_MALLOC, compile_rust, how_to_get_clang,
};
use crate::commands::{conformance, package};
use crate::process::run;
use crate::setup::{self, Clang};
use crate::workspace::{Workspace, copy_file, create_folder};

/// A workload in C: its source, its name, and additional options of the compiler.
struct Source {
    file: &'static str,
    name: &'static str,
    /// Package whose C files it includes, and their folder in the package.
    package: Option<(&'static str, &'static str)>,
    defines: &'static [&'static [&'static str]],
}

/// Options of form B.
const PULL: &[&str] = &["-DPULL"];
/// Suppresses warnings in third-party code.
const FOREIGN: &[&str] = &["-w"];
/// The usual options of distributions, without files, threads and loading of code.
const SQLITE_OPTIONS: &[&str] = &[
    "-DSQLITE_OS_OTHER=1",
    "-DSQLITE_THREADSAFE=0",
    "-DSQLITE_OMIT_LOAD_EXTENSION",
    "-DSQLITE_ENABLE_COLUMN_METADATA",
    "-DSQLITE_ENABLE_DBSTAT_VTAB",
    "-DSQLITE_ENABLE_FTS3",
    "-DSQLITE_ENABLE_FTS3_PARENTHESIS",
    "-DSQLITE_ENABLE_FTS5",
    "-DSQLITE_ENABLE_RTREE",
    "-DSQLITE_ENABLE_STAT4",
    "-DSQLITE_SOUNDEX",
];
const SQLITE: Option<(&str, &str)> = Some(("libsqlite3-sys", "sqlite3"));
const LUA: Option<(&str, &str)> = Some(("lua-src", "lua-5.4.9"));

/// A folder in `ci/benchmarks/functions`. Its name must differ from those of other workspaces of functions, because it
/// also names the target folder.
const RUST: &str = "rust_workload";

/// In `ci/benchmarks/functions/c`.
#[rustfmt::skip]
const SOURCES: [Source; 5] = [
    Source { file: "sqlite.c", name: "sqlite_main", package: SQLITE, defines: &[FOREIGN, SQLITE_OPTIONS] },
    Source { file: "sqlite.c", name: "sqlite_deep", package: SQLITE, defines: &[FOREIGN, SQLITE_OPTIONS, PULL] },
    Source { file: "lua.c", name: "lua_main", package: LUA, defines: &[FOREIGN] },
    Source { file: "lua.c", name: "lua_deep", package: LUA, defines: &[FOREIGN, PULL] },
    Source { file: "fannkuch.c", name: "fannkuch", package: None, defines: &[] },
];

/// Measure the cost of functions and of the runtime, compared with alternatives
#[derive(clap::Args)]
pub(crate) struct Args {
    /// What to measure
    what: What,
    /// Write the figures to this file, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the tables to this file, as Markdown
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// Only workloads whose names contain this, or `small functions`; only browsers, for the runtime
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// Number of measurements of each column
    #[arg(long, value_name = "N")]
    rounds: Option<u32>,
    /// Measure how long other users wait while a hostile user loads the relay, this many seconds for each load (only
    /// for `relay`)
    #[arg(long, value_name = "SECONDS")]
    hostile: Option<f64>,
}

#[derive(Clone, Copy, ValueEnum)]
enum What {
    /// The rewriter's output, against Binaryen's own Asyncify and no Asyncify
    Rewriter,
    /// How the rewriter's time and memory grow with modules of some shapes, against Binaryen's `-O2` and Asyncify alone
    Shapes,
    /// The browser runtime, against other drivers, plain JavaScript and bare messages, in every browser
    Runtime,
    /// The relay, against bare WebSocket servers and nginx
    Relay,
}

impl Args {
    pub(crate) fn run(self, workspace: &Workspace) -> Result<()> {
        let mut command = match self.what {
            What::Rewriter => self.rewriter(workspace)?,
            What::Shapes => shapes(workspace)?,
            What::Runtime => runtime(workspace)?,
            What::Relay => relay(workspace)?,
        };
        for (option, path) in [("--json", &self.json), ("--markdown", &self.markdown)] {
            if let Some(path) = path {
                command.arg(option).arg(path);
            }
        }
        if let Some(text) = &self.filter {
            command.arg("--filter").arg(text);
        }
        if let Some(rounds) = self.rounds {
            command.arg("--rounds").arg(rounds.to_string());
        }
        if let Some(seconds) = self.hostile {
            command.arg("--hostile").arg(seconds.to_string());
        }
        run(&mut command)
    }

    fn rewriter(&self, workspace: &Workspace) -> Result<Command> {
        run(workspace.cargo().args(["build", "-p", "faasm-asyncify", "-p", "faasm-bench"]))
            .context("rewriter and benchmark")?;
        let workloads = workspace.root().join("dist/bench");
        compile(workspace, &workloads)?;
        if self.filter.is_none() {
            functions::build_all(workspace)?;
            conformance::functions(workspace)?;
        }
        let mut command = Command::new(workspace.binary("faasm-bench"));
        command.arg("rewriter").arg("--workloads").arg(&workloads);
        command.arg("--small").arg(workspace.functions());
        command.arg("--small").arg(workspace.root().join("dist/conformance/originals"));
        command.arg("--asyncify").arg(workspace.binary("faasm-asyncify"));
        Ok(command)
    }
}

fn shapes(workspace: &Workspace) -> Result<Command> {
    run(workspace.cargo().args(["build", "-p", "faasm-asyncify", "-p", "faasm-bench"]))
        .context("rewriter and benchmark")?;
    let mut command = Command::new(workspace.binary("faasm-bench"));
    command.arg("shapes").arg("--asyncify").arg(workspace.binary("faasm-asyncify"));
    Ok(command)
}

/// Builds the relay with optimisation, because its response times are measured, too.
fn runtime(workspace: &Workspace) -> Result<Command> {
    setup::test_packages(workspace)?;
    run(workspace.cargo().args(["build", "-p", "faasm-asyncify", "-p", "faasm-bench"]))
        .context("building rewriter and benchmark")?;
    run(workspace.cargo().args([
        "build",
        "-p",
        "faasm-relay",
        "--release",
        "--bins",
        "--examples",
    ]))
    .context("relay")?;
    package::Args {}.run(workspace)?;
    let mut command = Command::new(workspace.binary("faasm-bench"));
    command.env("FAASM_ASYNCIFY_BIN", workspace.binary("faasm-asyncify"));
    command.envs(servers(workspace)).arg("runtime").arg("--package").arg(workspace.npm());
    command.arg("--npm").arg(workspace.root().join("dist/bench/npm"));
    if let Some(bytes) = package::download(workspace)? {
        command.arg("--download").arg(bytes.to_string());
    }
    Ok(command)
}

fn relay(workspace: &Workspace) -> Result<Command> {
    setup::nginx()?;
    run(workspace.cargo().args(["build", "-p", "faasm-asyncify", "-p", "faasm-bench"]))
        .context("benchmark")?;
    optimised_relay(workspace)?;
    let mut command = Command::new(workspace.binary("faasm-bench"));
    command.env("FAASM_ASYNCIFY_BIN", workspace.binary("faasm-asyncify"));
    command.envs(servers(workspace)).arg("relay");
    Ok(command)
}

fn optimised_relay(workspace: &Workspace) -> Result<()> {
    let relay = ["build", "-p", "faasm-relay", "--release", "--bins", "--examples"];
    run(workspace.cargo().args(relay)).context("relay")?;
    let standin = ["build", "-p", "faasm-standin", "--release"];
    run(workspace.cargo().args(standin)).context("building the stand-in of a cluster")
}

/// Where the benchmark finds the servers that it measures.
fn servers(workspace: &Workspace) -> [(&'static str, PathBuf); 6] {
    let release = workspace.target().join("release");
    [
        ("FAASM_RELAY_BIN", release.join("faasm-relay")),
        ("FAASM_ECHO_BIN", release.join("examples/echo")),
        ("FAASM_ECHO_FAST_BIN", release.join("examples/echo_fast")),
        ("FAASM_WARM_START_BIN", release.join("examples/warm_start")),
        ("FAASM_ALLOCATIONS_BIN", release.join("examples/allocations")),
        ("FAASM_STANDIN_BIN", release.join("faasm-standin")),
    ]
}

/// Compiles the workloads to this folder.
fn compile(workspace: &Workspace, workloads: &Path) -> Result<()> {
    let sources = workspace.root().join("ci/benchmarks/functions");
    let objects = workspace.target().join("functions/bench");
    create_folder(workloads)?;
    create_folder(&objects)?;
    let Some(clang) = Clang::find(workspace)? else {
        bail!("no clang that builds for wasm32-wasi: {}", how_to_get_clang());
    };
    let packages = packages(workspace, &sources.join(RUST))?;
    let ours = format!("-I{}", sources.join("c/include").display());
    let exports = [&EXPORT_MALLOC[..], &[EXPORT_CONSTRUCTORS]].concat();
    for source in SOURCES {
        let theirs = match source.package {
            Some((package, folder)) => {
                format!("-I{}", folder_of(&packages, package)?.join(folder).display())
            }
            None => ours.clone(),
        };
        let defines = [&[ours.as_str(), theirs.as_str()], &*source.defines.concat()].concat();
        let function = CFunction {
            source: &sources.join("c").join(source.file),
            output: &workloads.join(format!("{}.wasm", source.name)),
            objects: &objects,
            defines: &defines,
            link: &exports,
        };
        function.build(workspace, &clang).with_context(|| format!("workload {}", source.name))?;
    }
    for module in compile_rust(workspace, &sources.join(RUST))? {
        copy_file(
            &module,
            &workloads.join(module.file_name().context("a module without a name")?),
        )?;
    }
    Ok(())
}

/// The output of `cargo metadata` for a manifest; it downloads the packages.
fn packages(workspace: &Workspace, folder: &Path) -> Result<Value> {
    let output = workspace
        .cargo()
        .current_dir(folder)
        .args(["metadata", "--locked", "--format-version", "1"])
        .output()
        .context("cargo metadata")?;
    if !output.status.success() {
        bail!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    }
    serde_json::from_slice(&output.stdout).context("parsing the output of cargo metadata")
}

fn folder_of(packages: &Value, name: &str) -> Result<PathBuf> {
    let list = packages["packages"].as_array().context("no packages")?;
    let package = list.iter().find(|package| package["name"] == name);
    let manifest = package.and_then(|package| package["manifest_path"].as_str());
    let folder = manifest.and_then(|manifest| Path::new(manifest).parent());
    folder.map(Path::to_path_buf).with_context(|| format!("cargo metadata lists no package {name}"))
}

//! `faasm-asyncify run`: runs a function locally, by delegating to `faasm-relay run`.

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::process::Command;

/// The program that contains the embedded cluster.
const RELAY: &str = "faasm-relay";

/// Run a function on this machine, in an embedded cluster of its own
///
/// Delegates to `faasm-relay run`, which has to be beside this program or on the PATH. What the function prints goes to
/// standard output and error; its output follows on standard output. State is kept in memory, and lost at the end.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit status: the function's return value, truncated to 8 bits (never 0 for a value other than 0); \
    1 if it could not run or trapped."
)]
pub(crate) struct Arguments {
    /// The function, as the toolchain linked it
    #[arg(value_name = "FUNCTION.wasm")]
    function: PathBuf,
    /// Input as text; `-` reads standard input
    #[arg(long, value_name = "TEXT", conflicts_with = "input_file")]
    input: Option<OsString>,
    /// File with the input; `-` reads standard input
    #[arg(long, value_name = "FILE")]
    input_file: Option<OsString>,
    /// Environment variable (repeatable)
    #[arg(long, value_name = "NAME=VALUE")]
    env: Vec<OsString>,
    /// Another function that this one may chain, named after its file (repeatable)
    #[arg(long, value_name = "FUNCTION.wasm")]
    with: Vec<OsString>,
    /// File that functions may read as faasm://PATH (repeatable)
    #[arg(long, value_name = "PATH=LOCALFILE")]
    file: Vec<OsString>,
    /// Time limit of each call
    #[arg(long, value_name = "SECONDS")]
    call_timeout: Option<OsString>,
    /// Memory limit of each instance of a function
    #[arg(long, value_name = "MIB")]
    max_memory: Option<OsString>,
    /// Command line of the function
    #[arg(last = true)]
    args: Vec<OsString>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let function = &arguments.function;
    ensure!(
        function.is_file(),
        "{} is not a file; give the function as the toolchain linked it",
        function.display()
    );
    let mut relay = Command::new(relay()?);
    relay.arg("run").args(options(arguments)).arg("--").arg(function).args(&arguments.args);
    delegate(relay)
}

/// The options of `faasm-relay run`, which have the same names; the relay checks their values.
fn options(arguments: &Arguments) -> Vec<OsString> {
    let Arguments { input, input_file, env, with, file, call_timeout, max_memory, .. } = arguments;
    let given = [
        ("--input", input.as_slice()),
        ("--input-file", input_file.as_slice()),
        ("--env", env),
        ("--with", with),
        ("--file", file),
        ("--call-timeout", call_timeout.as_slice()),
        ("--max-memory", max_memory.as_slice()),
    ];
    let option = |name: &str, value: &OsString| {
        let mut option = OsString::from(name);
        option.push("=");
        option.push(value);
        option
    };
    given.iter().flat_map(|(name, values)| values.iter().map(|value| option(name, value))).collect()
}

/// The relay beside this program, or else on the `PATH`.
fn relay() -> Result<PathBuf> {
    let file = format!("{RELAY}{}", std::env::consts::EXE_SUFFIX);
    let here = std::env::current_exe().context("cannot determine the path of this program")?;
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = here.parent().map(PathBuf::from).into_iter().chain(std::env::split_paths(&path));
    let found = folders.map(|folder| folder.join(&file)).find(|path| path.is_file());
    let Some(found) = found else {
        let folder = here.parent().map_or_else(|| OsStr::new("."), |folder| folder.as_os_str());
        bail!(
            "{RELAY}, which runs functions, is neither in {} nor on the PATH; make it with `cargo build -p {RELAY}` in \
             the checkout of faasm-browser, and copy it there",
            folder.display()
        );
    };
    Ok(found)
}

/// Replaces this process by the other program.
#[cfg(unix)]
fn delegate(mut program: Command) -> Result<()> {
    use std::os::unix::process::CommandExt;
    let error = program.exec();
    Err(error).with_context(|| format!("cannot start {}", program.get_program().display()))
}

/// Runs the other program, and exits with its status.
#[cfg(not(unix))]
fn delegate(mut program: Command) -> Result<()> {
    let status = program
        .status()
        .with_context(|| format!("cannot start {}", program.get_program().display()))?;
    std::process::exit(status.code().unwrap_or(1))
}

//! `faasm-asyncify run`: executes a function here and now, by handing over to `faasm-relay run`.

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::process::Command;

/// The program that has a cluster in it.
const RELAY: &str = "faasm-relay";

/// Run a function here, in a cluster of its own
///
/// Hands over to `faasm-relay run`, which stands beside this program or on the PATH. What the function prints goes to
/// standard output and error, its output after that to standard output. State is kept in memory and gone at the end.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit status: the function's return value, cut to 8 bits (never 0 for a value other than 0); \
    1 where it could not run or trapped."
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
    /// Another function that this one may call by its file's name (repeatable)
    #[arg(long, value_name = "FUNCTION.wasm")]
    with: Vec<OsString>,
    /// File that functions may read as faasm://PATH (repeatable)
    #[arg(long, value_name = "PATH=LOCALFILE")]
    file: Vec<OsString>,
    /// Longest any one call may take
    #[arg(long, value_name = "SECONDS")]
    call_timeout: Option<OsString>,
    /// Most memory any one instance of a function may have
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
    hand_over(relay)
}

/// What the relay calls by the same names; it also checks the values.
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
    let here = std::env::current_exe().context("cannot find my own binary")?;
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = here.parent().map(PathBuf::from).into_iter().chain(std::env::split_paths(&path));
    let found = folders.map(|folder| folder.join(&file)).find(|path| path.is_file());
    let Some(found) = found else {
        let folder = here.parent().map_or_else(|| OsStr::new("."), |folder| folder.as_os_str());
        bail!(
            "{RELAY}, which runs functions, is neither in {} nor on the PATH; `cargo build -p {RELAY}` in the checkout of \
             faasm-browser makes it: put it there",
            folder.display()
        );
    };
    Ok(found)
}

/// Becomes the other program.
#[cfg(unix)]
fn hand_over(mut program: Command) -> Result<()> {
    use std::os::unix::process::CommandExt;
    let error = program.exec();
    Err(error).with_context(|| format!("cannot start {}", program.get_program().display()))
}

/// Ends as the other program ended.
#[cfg(not(unix))]
fn hand_over(mut program: Command) -> Result<()> {
    let status = program
        .status()
        .with_context(|| format!("cannot start {}", program.get_program().display()))?;
    std::process::exit(status.code().unwrap_or(1))
}

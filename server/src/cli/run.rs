//! `faasm-relay run`: runs one function in a private embedded cluster.

use super::LimitOpts;
use anyhow::{Context, Result, anyhow, bail, ensure};
use faasm_bridge::explain::with_link;
use faasm_bridge::wire::is_valid_name;
use faasm_relay::cluster::embedded::{Embedded, Printing};
use faasm_relay::cluster::{Call, Cluster, Outcome};
use faasm_relay::store::{MAX_FILE_BYTES, Stores, is_valid_path};
use std::io::{Read as _, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Stands for standard input.
const STANDARD_INPUT: &str = "-";

/// User of the functions.
const USER: &str = "run";

/// Runs a function, or a plain WASI program, and exits with its return value
///
/// What the function prints goes to standard output and error; its output then goes to standard output. State is kept
/// in memory and lost at exit. As a test runner: CARGO_TARGET_WASM32_WASIP1_RUNNER="faasm-relay run --"
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit status: the function's return value, cut to 8 bits (never 0 for a value other than 0); \
    1 where it could not run or trapped."
)]
pub(crate) struct Opts {
    /// Input as text; `-` reads standard input
    #[arg(long, value_name = "TEXT", conflicts_with = "input_file")]
    input: Option<String>,
    /// File with the input; `-` reads standard input
    #[arg(long, value_name = "FILE")]
    input_file: Option<PathBuf>,
    /// Environment variable, as NAME=VALUE (repeatable)
    #[arg(long, value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// Another function that the function can chain by its file's name (repeatable)
    #[arg(long, value_name = "FILE.wasm")]
    with: Vec<PathBuf>,
    #[command(flatten)]
    limits: LimitOpts,
    /// File that functions can read as faasm://PATH (repeatable)
    #[arg(long = "file", value_name = "PATH=LOCALFILE")]
    files: Vec<String>,
    /// File of the function
    #[arg(value_name = "FILE.wasm")]
    file: PathBuf,
    /// Arguments of the function
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<String>,
}

impl Opts {
    pub(crate) async fn run(self) -> Result<ExitCode> {
        let stores = Stores::in_memory()?;
        for file in &self.files {
            share(&stores, file).await?;
        }
        let cluster = Embedded::new(self.limits.config(Printing::Inherit), stores)?;
        for callee in &self.with {
            upload(&cluster, callee).await?;
        }
        let function = upload(&cluster, &self.file).await?;
        let input = match (self.input, &self.input_file) {
            (Some(text), _) if text == STANDARD_INPUT => standard_input()?,
            (Some(text), _) => text.into_bytes(),
            (None, Some(path)) if path.as_os_str() == STANDARD_INPUT => standard_input()?,
            (None, Some(path)) => {
                std::fs::read(path).with_context(|| format!("reading {}", path.display()))?
            }
            (None, None) => Vec::new(),
        };
        let variable = |text: &String| {
            let (name, value) = text
                .split_once('=')
                .ok_or_else(|| anyhow!("--env {text}: give it as NAME=VALUE"))?;
            Ok((name.to_owned(), value.to_owned()))
        };
        let env = self.env.iter().map(variable).collect::<Result<_>>()?;
        let call = Call { args: self.args, env, ..Call::new(USER, function, input) };
        let result = match cluster.call(call).await? {
            Outcome::Returned(result) => result,
            Outcome::Failed { code, message } => {
                bail!("{}: {}", self.file.display(), with_link(message, code))
            }
        };
        let mut out = std::io::stdout();
        out.write_all(&result.output).and_then(|()| out.flush()).context("writing the output")?;
        Ok(exit_code(result.return_value))
    }
}

fn standard_input() -> Result<Vec<u8>> {
    let mut input = Vec::new();
    std::io::stdin().read_to_end(&mut input).context("reading standard input")?;
    Ok(input)
}

/// Shares a local file given as `PATH=LOCALFILE`.
async fn share(stores: &Stores, file: &str) -> Result<()> {
    let (path, local) =
        file.split_once('=').ok_or_else(|| anyhow!("--file {file}: give it as PATH=LOCALFILE"))?;
    ensure!(
        is_valid_path(path),
        "--file {file}: `{path}` cannot name a shared file; use a relative path without `.` and `..`"
    );
    let bytes = std::fs::read(local).with_context(|| format!("reading {local}"))?;
    ensure!(
        bytes.len() <= MAX_FILE_BYTES,
        "{local}: a shared file has at most {MAX_FILE_BYTES} bytes"
    );
    Ok(stores.files.write_file(path, bytes).await?)
}

/// Uploads a file under its name without folder and extension, and returns that name.
async fn upload(cluster: &Embedded, path: &Path) -> Result<String> {
    let shown = path.display();
    let wasm = std::fs::read(path).with_context(|| format!("reading {shown}"))?;
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let name = stem.replace(|c: char| !is_valid_name(&format!("x{c}")), "_");
    if !is_valid_name(&name) {
        bail!("{shown}: `{name}` cannot name a function; rename the file");
    }
    cluster
        .upload(USER.to_owned(), name.clone(), wasm)
        .await
        .with_context(|| format!("loading {shown}"))?;
    Ok(name)
}

/// An exit status has 8 bits; a non-zero value must not become 0.
fn exit_code(value: i32) -> ExitCode {
    match (value, value as u8) {
        (0, _) => ExitCode::SUCCESS,
        (_, 0) => ExitCode::FAILURE,
        (_, low) => ExitCode::from(low),
    }
}

//! `faasm-asyncify upload`: hand the original to a cluster, through its relay or its upload server.

use super::{name_of, print, read};
use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a whole upload may take.
const TIMEOUT: Duration = Duration::from_secs(120);
/// How much of an answer is shown.
const SHOWN: usize = 2000;

/// Upload functions to a cluster
///
/// Sends PUT URL/f/USER/NAME with the original binary, which is what the cluster runs. NAME is the file's name without
/// its ending.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Functions, as the toolchain linked them
    #[arg(required = true, value_name = "FUNCTION.wasm")]
    functions: Vec<PathBuf>,
    /// The relay or upload server, such as http://localhost:8080
    #[arg(long, value_name = "URL")]
    to: String,
    /// Whose functions they are
    #[arg(long)]
    user: String,
    /// Upload the one function under another name
    #[arg(long)]
    name: Option<String>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    ensure!(
        arguments.name.is_none() || arguments.functions.len() == 1,
        "--name needs exactly one function; upload the others without it"
    );
    ensure!(
        arguments.to.starts_with("http://"),
        "cannot upload to {}: give a URL that starts with http://",
        arguments.to
    );
    let agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(TIMEOUT))
        .build()
        .new_agent();
    for path in &arguments.functions {
        upload(&agent, path, arguments)
            .with_context(|| format!("cannot upload {}", path.display()))?;
    }
    Ok(())
}

fn upload(agent: &ureq::Agent, path: &Path, arguments: &Arguments) -> Result<()> {
    let wasm = read(path)?;
    faasm_asyncify::input::check(&wasm)?;
    let name = match &arguments.name {
        Some(name) => name,
        None => name_of(path)?,
    };
    let url = format!("{}/f/{}/{name}", arguments.to.trim_end_matches('/'), arguments.user);
    let mut response = agent
        .put(&url)
        .content_type("application/wasm")
        .send(&wasm)
        .with_context(|| format!("PUT {url} failed; is the server running?"))?;
    let status = response.status();
    if !status.is_success() {
        let body = response.body_mut().read_to_string().unwrap_or_default();
        let shown: String = body.trim().chars().take(SHOWN).collect();
        bail!("PUT {url} answered {status}: {shown}");
    }
    print(&format!("{}: {} bytes to {url}\n", path.display(), wasm.len()))
}

//! `faasm-asyncify upload`: uploads the original to a relay, or to the upload server of a Faasm cluster.
//!
//! Both accept the same request. A relay returns the hash of what it stored, which is compared; Faasm's upload server
//! returns a line of text, after it has compiled the function for its workers.

use super::{name_of, print, read};
use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use faasm_asyncify::CLUSTER_ENDING;
use faasm_bridge::wire::is_valid_name;
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Time limit of an upload: Faasm's upload server compiles the function before it answers.
const TIMEOUT: Duration = Duration::from_secs(300);
/// How many characters of an answer are shown.
const SHOWN: usize = 2000;

/// What to do if the server is something else.
const ELSEWHERE: &str = "; this is neither a relay nor an upload server: give --to the address of one, without a path (the \
                         upload server of Faasm has port 8002)";

/// Upload functions to a cluster
///
/// Sends PUT URL/f/USER/NAME with the original binary, which the cluster runs, or with the NAME.cluster.wasm that
/// `build --for faasm` made of it. Artefacts for browsers are rejected. NAME is the file's name without its extension.
/// The server is a faasm-relay, or the upload server of a Faasm cluster.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Functions, as the toolchain linked them
    #[arg(required = true, value_name = "FUNCTION.wasm")]
    functions: Vec<PathBuf>,
    /// The relay or upload server, such as http://localhost:8080
    #[arg(long, value_name = "URL")]
    to: String,
    /// The user who owns the functions
    #[arg(long)]
    user: String,
    /// Upload under another name; for a single function
    #[arg(long)]
    name: Option<String>,
    /// Token for a relay that requires one; it needs the right `upload`
    #[arg(long, env = "FAASM_TOKEN", hide_env_values = true)]
    token: Option<String>,
}

/// A relay's answer to an upload.
#[derive(Deserialize)]
struct Stored {
    integrity: String,
    #[serde(default)]
    guarded: bool,
    #[serde(default)]
    warnings: Vec<String>,
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
    check_name("--user", &arguments.user)?;
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
        None => {
            let file = path.file_name().and_then(|file| file.to_str());
            file.and_then(|file| file.strip_suffix(CLUSTER_ENDING))
                .map_or_else(|| name_of(path), Ok)?
        }
    };
    check_name("the function's name", name)?;
    let url = format!("{}/f/{}/{name}", arguments.to.trim_end_matches('/'), arguments.user);
    let mut request = agent.put(&url).content_type("application/wasm");
    if let Some(token) = &arguments.token {
        request = request.header("authorization", format!("Bearer {}", token.trim()));
    }
    let mut response = request.send(&wasm).with_context(|| {
        format!("PUT {url} failed; is a relay or an upload server running there?")
    })?;
    let status = response.status();
    let answer = response.body_mut().read_to_string().unwrap_or_default();
    let answer: String = answer.trim().chars().take(SHOWN).collect();
    if !status.is_success() {
        let advice = if [404, 405].contains(&status.as_u16()) { ELSEWHERE } else { "" };
        bail!("PUT {url} answered {status}: {answer}{advice}");
    }
    ensure!(!answer.starts_with('<'), "PUT {url} returned a web page{ELSEWHERE}");
    let mut warnings = Vec::new();
    let server = match serde_json::from_str::<Stored>(&answer) {
        Ok(stored) => {
            ensure!(
                stored.integrity == faasm_asyncify::integrity(&wasm),
                "{url} stored different bytes ({}); upload it again",
                stored.integrity
            );
            warnings = stored.warnings;
            match stored.guarded {
                true => "relay, which stored a guarded version".to_owned(),
                false => "relay".to_owned(),
            }
        }
        Err(_) => format!("upload server: {answer}"),
    };
    print(&format!("{}: {} bytes to {url} ({server})\n", path.display(), wasm.len()))?;
    for warning in warnings {
        print(&format!("  warning: {warning}\n"))?;
    }
    Ok(())
}

/// Both servers accept these names, which become parts of paths and of keys.
fn check_name(what: &str, name: &str) -> Result<()> {
    ensure!(
        is_valid_name(name),
        "{what} cannot be `{name}`; use A-Z a-z 0-9 _ - and ., without a dot at the start"
    );
    Ok(())
}

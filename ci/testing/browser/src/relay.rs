//! A relay for one test: the real program, on a free port.

use anyhow::{Context as _, Result, ensure};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

/// A running relay with a store of its own. Dropping this value ends it.
#[derive(Debug)]
pub struct Relay {
    child: Child,
    url: String,
    /// Arguments it was started with.
    arguments: Vec<OsString>,
    _data: TempDir,
}

impl Relay {
    /// Starts a relay that serves `web`.
    pub async fn start(web: &Path) -> Result<Self> {
        Self::start_with(web, &[]).await
    }

    /// Like [`Relay::start`], with further options of `faasm-relay serve`.
    pub async fn start_with(web: &Path, options: &[&str]) -> Result<Self> {
        let data = tempfile::tempdir()?;
        let mut arguments: Vec<OsString> =
            ["serve", "--listen", "127.0.0.1:0", "--data"].map(OsString::from).into();
        arguments.extend([data.path().into(), "--web".into(), web.into()]);
        arguments.extend(options.iter().map(OsString::from));
        let (child, url) = spawn(&arguments).await?;
        Ok(Self { child, url, arguments, _data: data })
    }

    /// Kills the relay without a shutdown, and starts it again on the same store and another port.
    pub async fn restart(&mut self) -> Result<()> {
        self.child.kill().await?;
        (self.child, self.url) = spawn(&self.arguments).await?;
        Ok(())
    }

    /// `http://HOST:PORT`
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Process id.
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Uploads original binaries for a user.
    pub async fn upload(&self, user: &str, functions: &[PathBuf]) -> Result<()> {
        self.upload_with(user, None, functions).await
    }

    /// Like [`Relay::upload`], with a token.
    pub async fn upload_with(
        &self,
        user: &str,
        token: Option<&str>,
        functions: &[PathBuf],
    ) -> Result<()> {
        let status = Command::new(program("FAASM_ASYNCIFY_BIN", "faasm-asyncify")?)
            .arg("upload")
            .args(functions)
            .args(["--to", &self.url, "--user", user])
            .args(token.map(|token| format!("--token={token}")))
            .stdout(Stdio::null())
            .status()
            .await
            .context("running faasm-asyncify upload")?;
        ensure!(status.success(), "uploading failed; see its message above");
        Ok(())
    }

    /// Kills the relay without a shutdown.
    pub async fn kill(mut self) -> Result<()> {
        Ok(self.child.kill().await?)
    }
}

/// The process, and the address that it prints.
async fn spawn(arguments: &[OsString]) -> Result<(Child, String)> {
    let program = program("FAASM_RELAY_BIN", "faasm-relay")?;
    let mut child = Command::new(&program)
        .args(arguments)
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("starting {}", program.display()))?;
    let stdout = child.stdout.take().context("the relay's output is piped")?;
    let mut lines = BufReader::new(stdout).lines();
    let line =
        lines.next_line().await?.context("the relay exited at once; see its message above")?;
    let url = line
        .strip_prefix("listening on ")
        .with_context(|| format!("expected the relay's address, but it printed `{line}`"))?
        .trim_end_matches('/')
        .to_owned();
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    Ok((child, url))
}

/// Path of a program of this workspace: the value of the environment variable, or the program beside this one.
pub fn program(variable: &str, name: &str) -> Result<PathBuf> {
    if let Some(path) = std::env::var_os(variable) {
        return Ok(path.into());
    }
    let this = std::env::current_exe()?;
    let beside = this.ancestors().skip(1).take(2).map(|folder| folder.join(name));
    beside
        .into_iter()
        .find(|path| path.is_file())
        .with_context(|| format!("no {name}: run `cargo xtask test`, or set {variable}"))
}

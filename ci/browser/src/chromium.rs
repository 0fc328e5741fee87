//! Headless Chromium, driven through chromedriver.

use anyhow::{Context as _, Result, bail};
use fantoccini::{Client, ClientBuilder};
use serde_json::json;
use std::process::Stdio;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, ChildStdout, Command};

/// What chromedriver prints before its port.
const STARTED: &str = "started successfully on port ";

/// How often chromedriver is started until one finds a port.
const ATTEMPTS: u32 = 5;

/// Browsers by their names on the `PATH`, best first.
const BROWSERS: [&str; 4] =
    ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

/// A browser with one window; it ends with this value.
#[derive(Debug)]
pub struct Chromium {
    client: Client,
    driver: Driver,
    _profile: TempDir,
}

/// chromedriver, with all the processes it starts: they share its process group.
#[derive(Debug)]
struct Driver(Child);

impl Drop for Driver {
    fn drop(&mut self) {
        if let Some(group) = self.0.id() {
            // Fails where all of them have ended already.
            let _ = std::process::Command::new("kill")
                .args(["-KILL", "--", &format!("-{group}")])
                .stderr(Stdio::null())
                .status();
        }
    }
}

impl Driver {
    /// A chromedriver that listens, and its port.
    ///
    /// With port 0 it takes a free port on one address family and then asks for the same on the other,
    /// where another process may have it: it then says so and ends, and is started again.
    async fn start() -> Result<(Self, u16)> {
        let mut said = String::new();
        for _ in 0..ATTEMPTS {
            let mut driver = Command::new("chromedriver")
                .arg("--port=0")
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .process_group(0)
                .spawn()
                .map(Self)
                .context(
                    "starting chromedriver: install the packages chromium and chromium-driver",
                )?;
            let stdout = driver.0.stdout.take().context("chromedriver's output is piped")?;
            said.clear();
            if let Some(port) = port(stdout, &mut said).await? {
                return Ok((driver, port));
            }
        }
        bail!("chromedriver ended {ATTEMPTS} times without telling its port; it said:\n{said}")
    }
}

impl Chromium {
    /// Starts a browser with an empty profile.
    pub async fn start() -> Result<Self> {
        let (driver, port) = Driver::start().await?;
        let profile = tempfile::tempdir()?;
        let client = ClientBuilder::new(hyper_util::client::legacy::connect::HttpConnector::new())
            .capabilities(capabilities(&profile)?)
            .connect(&format!("http://127.0.0.1:{port}"))
            .await
            .context("starting Chromium")?;
        Ok(Self { client, driver, _profile: profile })
    }

    /// The WebDriver session.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Ends the browser in order; a test that fails just kills it.
    pub async fn close(self) -> Result<()> {
        self.client.close().await?;
        drop(self.driver);
        Ok(())
    }
}

/// The port that chromedriver tells; none where it ends before, with what it `said` instead.
async fn port(stdout: ChildStdout, said: &mut String) -> Result<Option<u16>> {
    let mut lines = BufReader::new(stdout).lines();
    while let Some(line) = lines.next_line().await? {
        if let Some((_, rest)) = line.split_once(STARTED) {
            let port =
                rest.trim_end_matches('.').parse().with_context(|| format!("port in `{line}`"))?;
            // Whoever writes to a closed pipe is ended by it.
            tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
            return Ok(Some(port));
        }
        said.push_str(&line);
        said.push('\n');
    }
    Ok(None)
}

fn capabilities(profile: &TempDir) -> Result<fantoccini::wd::Capabilities> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let binary = std::env::split_paths(&path)
        .flat_map(|folder| BROWSERS.map(|name| folder.join(name)))
        .find(|path| path.is_file())
        .context("no Chromium on the PATH: install the package chromium")?;
    let profile = format!("--user-data-dir={}", profile.path().display());
    let capabilities = json!({
        "goog:chromeOptions": {
            "binary": binary,
            "args": [
                "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
                "--disable-background-networking", "--disable-component-update", "--disable-sync",
                "--disable-dev-shm-usage", "--window-size=1200,1000", profile,
            ],
        },
        "timeouts": { "script": 60_000 },
    });
    serde_json::from_value(capabilities).context("capabilities")
}

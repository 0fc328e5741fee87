//! A real browser with one window, driven over WebDriver. Callers need not know which browser it is.

use crate::driver::Driver;
use crate::{chromium, firefox, webkit};
use anyhow::{Context as _, Result};
use fantoccini::{Client, ClientBuilder};
use serde_json::Value;
use std::fmt;
use std::path::PathBuf;
use tempfile::TempDir;

/// Time limit of a script that does not answer, in milliseconds.
pub(crate) const SCRIPT_TIMEOUT: u32 = 60_000;

/// The browsers that tests run in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Chromium,
    Firefox,
    WebKit,
}

impl Kind {
    pub const ALL: [Kind; 3] = [Kind::Chromium, Kind::Firefox, Kind::WebKit];

    /// The engines that can run functions in this browser. Debian's WebKit has no JavaScript Promise Integration.
    pub fn engines(self) -> &'static [&'static str] {
        match self {
            Kind::Chromium | Kind::Firefox => &["asyncify", "jspi"],
            Kind::WebKit => &["asyncify"],
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Chromium => "Chromium",
            Kind::Firefox => "Firefox",
            Kind::WebKit => "WebKit",
        })
    }
}

/// The processes of a browser, before it has a session.
pub(crate) struct Started {
    pub(crate) driver: Driver,
    pub(crate) port: u16,
    pub(crate) capabilities: Value,
    /// The display that the browser draws on, if it needs one.
    pub(crate) display: Option<Driver>,
}

/// A browser with an empty profile. Dropping this value ends the browser.
#[derive(Debug)]
pub struct Browser {
    kind: Kind,
    client: Client,
    // Dropped in this order.
    driver: Driver,
    _display: Option<Driver>,
    _profile: TempDir,
}

impl Browser {
    /// Starts a headless browser. Tries again once if the browser does not start, which happens when several start at
    /// the same time on few cores.
    pub async fn start(kind: Kind) -> Result<Self> {
        match Self::try_start(kind).await {
            Ok(started) => Ok(started),
            Err(error) => {
                eprintln!("{error:#}; trying again");
                Self::try_start(kind).await
            }
        }
    }

    async fn try_start(kind: Kind) -> Result<Self> {
        let profile = tempfile::tempdir()?;
        let started = match kind {
            Kind::Chromium => chromium::start(&profile).await,
            Kind::Firefox => firefox::start(&profile).await,
            Kind::WebKit => webkit::start(&profile).await,
        };
        let Started { driver, port, capabilities, display } =
            started.with_context(|| format!("starting {kind}"))?;
        let client = ClientBuilder::new(hyper_util::client::legacy::connect::HttpConnector::new())
            .capabilities(serde_json::from_value(capabilities).context("capabilities")?)
            .connect(&format!("http://127.0.0.1:{port}"))
            .await
            .with_context(|| format!("starting {kind}"))?;
        Ok(Self { kind, client, driver, _display: display, _profile: profile })
    }

    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The WebDriver session.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Ends the session and the browser; if a test fails instead, dropping kills the browser.
    pub async fn close(self) -> Result<()> {
        self.client.close().await?;
        drop(self.driver);
        Ok(())
    }
}

/// The first of these programs that the `PATH` contains.
pub(crate) fn find(names: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    names
        .iter()
        .find_map(|name| folders.iter().map(|folder| folder.join(name)).find(|path| path.is_file()))
}

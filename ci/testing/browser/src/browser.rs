//! A real browser with one window, driven over WebDriver; which one makes no difference to whoever uses it.

use crate::driver::Driver;
use crate::{chromium, firefox, webkit};
use anyhow::{Context as _, Result};
use fantoccini::{Client, ClientBuilder};
use serde_json::Value;
use std::fmt;
use std::path::PathBuf;
use tempfile::TempDir;

/// Until a script that does not answer fails, milliseconds.
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

    /// The engines that functions can run with in it. Debian's WebKit has no JavaScript Promise Integration.
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

/// What is started for a browser, before there is a session.
pub(crate) struct Started {
    pub(crate) driver: Driver,
    pub(crate) port: u16,
    pub(crate) capabilities: Value,
    /// Where the browser draws, if it cannot do without.
    pub(crate) display: Option<Driver>,
}

/// A browser with an empty profile; it ends with this value.
#[derive(Debug)]
pub struct Browser {
    kind: Kind,
    client: Client,
    // In the order in which they have to end.
    driver: Driver,
    _display: Option<Driver>,
    _profile: TempDir,
}

impl Browser {
    /// Starts a browser, without a window that anybody sees. One that does not come up, as happens where several start at
    /// once on few cores, is given a second try.
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

    /// Ends the browser in order; a test that fails just kills it.
    pub async fn close(self) -> Result<()> {
        self.client.close().await?;
        drop(self.driver);
        Ok(())
    }
}

/// The first of these programs that is on the `PATH`.
pub(crate) fn find(names: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    names
        .iter()
        .find_map(|name| folders.iter().map(|folder| folder.join(name)).find(|path| path.is_file()))
}

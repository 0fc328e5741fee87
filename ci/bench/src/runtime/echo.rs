//! The server that pages compare the relay with: an example of the relay's own crate.

use anyhow::{Context as _, Result};
use faasm_browser_tests::program;
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

/// A running server; it ends with this value.
pub(crate) struct Echo {
    _child: Child,
    url: String,
}

impl Echo {
    pub(crate) async fn start() -> Result<Echo> {
        let program = program("FAASM_ECHO_BIN", "examples/echo")?;
        let mut child = Command::new(&program)
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("starting {}", program.display()))?;
        let stdout = child.stdout.take().context("its output is piped")?;
        let line = BufReader::new(stdout).lines().next_line().await?;
        Ok(Echo { _child: child, url: line.context("the echo server ended at once")? })
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }
}

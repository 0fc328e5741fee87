//! Servers as separate processes, and their memory.

use anyhow::{Context as _, Result};
use std::path::Path;
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

/// A server that prints its address. Dropping this value ends it.
pub(crate) struct Server {
    _child: Child,
    url: String,
}

impl Server {
    pub(crate) async fn start(program: &Path) -> Result<Server> {
        let mut child = Command::new(program)
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("starting {}", program.display()))?;
        let stdout = child.stdout.take().context("its output is piped")?;
        let line = BufReader::new(stdout).lines().next_line().await?;
        let url = line.with_context(|| format!("{} exited at once", program.display()))?;
        Ok(Server { _child: child, url })
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }
}

/// Resident memory of a process, in bytes.
pub(crate) fn resident(process: u32) -> Result<u64> {
    let path = format!("/proc/{process}/status");
    let status = std::fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    Ok(kibibytes.with_context(|| format!("no VmRSS in {path}"))? * 1024)
}

//! A relay that runs while a subcommand needs it.

use std::io::{BufRead as _, BufReader, Lines};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::process::{show, succeeds};
use crate::workspace::{Workspace, remove_folder};

/// Time that a relay gets to shut down.
const GRACE_PERIOD: Duration = Duration::from_secs(5);

/// A running relay with its own embedded cluster. Dropping this value ends it.
pub(crate) struct Relay {
    child: Child,
    url: String,
}

impl Relay {
    /// Starts a relay with an empty cluster on a port of 127.0.0.1 (0: any free one) that serves `dist/web`, and waits
    /// until it listens.
    pub(crate) fn start(workspace: &Workspace, port: u16) -> Result<Relay> {
        let data = workspace.data();
        remove_folder(&data)?;
        Relay::spawn(&workspace.binary("faasm-relay"), port, &data, &workspace.web())
    }

    fn spawn(program: &Path, port: u16, data: &Path, web: &Path) -> Result<Relay> {
        let mut command = Command::new(program);
        command.arg("serve").arg("--listen").arg(format!("127.0.0.1:{port}"));
        command.arg("--data").arg(data).arg("--web").arg(web).stdout(Stdio::piped());
        show(&command);
        let mut child =
            command.spawn().with_context(|| format!("starting {}", program.display()))?;
        let stdout = child.stdout.take().context("the relay has no standard output")?;
        let mut relay = Relay { child, url: String::new() };
        let mut lines = BufReader::new(stdout).lines();
        relay.url = match wait_for_url(&mut lines)? {
            Some(url) => url,
            None => bail!(
                "the relay ended before it listened ({}); if port {port} is taken, choose another \
                 with --port",
                relay.child.wait().context("waiting for the relay")?
            ),
        };
        // Keeps reading, because the relay would block on a full pipe.
        thread::spawn(move || lines.map_while(Result::ok).for_each(|line| println!("{line}")));
        Ok(relay)
    }

    /// The relay's URL, without a trailing slash.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The exit status, if the relay has ended.
    pub(crate) fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.child.try_wait().context("checking whether the relay runs")
    }

    fn ends_within(&mut self, time: Duration) -> bool {
        let deadline = Instant::now() + time;
        while Instant::now() < deadline {
            if !matches!(self.ended(), Ok(None)) {
                return true;
            }
            thread::sleep(Duration::from_millis(20));
        }
        false
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        if !matches!(self.ended(), Ok(None)) {
            return;
        }
        // The standard library can only kill, which gives the relay no time to shut down.
        let asked = cfg!(unix)
            && succeeds(Command::new("kill").arg("-TERM").arg(self.child.id().to_string()));
        if asked && self.ends_within(GRACE_PERIOD) {
            return;
        }
        // An error here has no consequence.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn wait_for_url(lines: &mut Lines<BufReader<ChildStdout>>) -> Result<Option<String>> {
    for line in lines {
        let line = line.context("reading what the relay prints")?;
        if let Some(url) = listening_url(&line) {
            return Ok(Some(url.to_owned()));
        }
        println!("{line}");
    }
    Ok(None)
}

/// The URL in the line that a relay prints once it listens.
fn listening_url(line: &str) -> Option<&str> {
    line.trim().strip_prefix("listening on ").map(|url| url.trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_is_read_from_the_line() {
        let line = "listening on http://127.0.0.1:8080/\n";
        assert_eq!(listening_url(line), Some("http://127.0.0.1:8080"));
        assert_eq!(listening_url("loading"), None);
    }
}

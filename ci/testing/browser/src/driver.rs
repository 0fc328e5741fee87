//! A WebDriver server: a process that starts browsers, in a process group of its own with all its children.

use anyhow::{Context as _, Result, bail};
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, ChildStdout, Command};

/// How often a program is started before the search for a free port or display fails.
const ATTEMPTS: u32 = 5;

/// A running program and all its child processes. Dropping this value ends them.
#[derive(Debug)]
pub(crate) struct Driver(Child);

impl Drop for Driver {
    fn drop(&mut self) {
        if let Some(group) = self.0.id() {
            // Fails if all of them have ended already.
            let _ = std::process::Command::new("kill")
                .args(["-KILL", "--", &format!("-{group}")])
                .stderr(Stdio::null())
                .status();
        }
    }
}

impl Driver {
    /// Starts a program and waits until `found` matches a line of its output; returns the match, which says where it
    /// listens.
    ///
    /// A driver that is started with port 0 binds a free port of one address family and then the same port of the
    /// other, where another process may have it. The driver then reports that and exits, and is started again.
    pub(crate) async fn start<T>(
        mut command: impl FnMut() -> Result<Command>,
        found: impl Fn(&str) -> Option<T>,
    ) -> Result<(Self, T)> {
        let mut said = String::new();
        for _ in 0..ATTEMPTS {
            let (mut driver, program) = Self::spawn(command()?)?;
            let stdout = driver.0.stdout.take().context("its output is piped")?;
            said = format!("{program} said:\n");
            if let Some(found) = listen(stdout, &found, &mut said).await? {
                return Ok((driver, found));
            }
        }
        bail!("exited {ATTEMPTS} times without printing where it listens; {said}")
    }

    /// Like [`Driver::start`], for a program that needs a port and prints nothing: it listens once a connection
    /// succeeds.
    pub(crate) async fn start_at(
        mut command: impl FnMut(u16) -> Result<Command>,
    ) -> Result<(Self, u16)> {
        let mut program = String::new();
        for _ in 0..ATTEMPTS {
            // If another process binds the port first, the program exits.
            let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
            let mut driver;
            (driver, program) = Self::spawn(command(port)?)?;
            while driver.0.try_wait()?.is_none() {
                if tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
                    return Ok((driver, port));
                }
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        }
        bail!("{program} exited {ATTEMPTS} times, each time with a different port")
    }

    fn spawn(mut command: Command) -> Result<(Self, String)> {
        let program = command.as_std().get_program().to_string_lossy().into_owned();
        let child =
            command
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .process_group(0)
                .spawn()
                .with_context(|| format!("starting {program}; `cargo xtask test` installs it"))?;
        Ok((Self(child), program))
    }
}

/// Returns what `found` matches in the output; `None` if the program ends first, and then its output is in `said`.
async fn listen<T>(
    stdout: ChildStdout,
    found: &impl Fn(&str) -> Option<T>,
    said: &mut String,
) -> Result<Option<T>> {
    let mut lines = BufReader::new(stdout).lines();
    while let Some(line) = lines.next_line().await? {
        if let Some(found) = found(&line) {
            // Keep reading: a program that writes to a closed pipe is killed by SIGPIPE.
            tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
            return Ok(Some(found));
        }
        said.push_str(&line);
        said.push('\n');
    }
    Ok(None)
}

//! A WebDriver server: a process that starts browsers, in a process group of its own with all that it starts.

use anyhow::{Context as _, Result, bail};
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, ChildStdout, Command};

/// How often a program is started until one finds a port, or a display.
const ATTEMPTS: u32 = 5;

/// A running program, with all the processes it starts; they end with this value.
#[derive(Debug)]
pub(crate) struct Driver(Child);

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
    /// Starts a program until one says what `found` looks for in a line of its output, and gives that: where it listens.
    ///
    /// A driver that is asked for any port takes a free one on one address family and then asks for the same on the other,
    /// where another process may have it: it then says so and ends, and is started again.
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
        bail!("ended {ATTEMPTS} times without telling where it listens; {said}")
    }

    /// The same for a program that has to be told its port, and says nothing: it listens when a connection succeeds.
    pub(crate) async fn start_at(
        mut command: impl FnMut(u16) -> Result<Command>,
    ) -> Result<(Self, u16)> {
        let mut program = String::new();
        for _ in 0..ATTEMPTS {
            // Another process may take it meanwhile; the program then ends.
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
        bail!("{program} ended {ATTEMPTS} times, with another port each time")
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

/// What is found in the output; none where it ends before, with what it `said` instead.
async fn listen<T>(
    stdout: ChildStdout,
    found: &impl Fn(&str) -> Option<T>,
    said: &mut String,
) -> Result<Option<T>> {
    let mut lines = BufReader::new(stdout).lines();
    while let Some(line) = lines.next_line().await? {
        if let Some(found) = found(&line) {
            // Whoever writes to a closed pipe is ended by it.
            tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
            return Ok(Some(found));
        }
        said.push_str(&line);
        said.push('\n');
    }
    Ok(None)
}

//! A private Redis for tests: `redis-server` from the PATH on a free loopback port, with a folder of its own. Dropping
//! the handle ends it. Tests can kill it, restart it with its data, and pause it.

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

/// URL of a Redis that tests use instead of starting one, if they do not have to kill it.
pub const REDIS_URL: &str = "FAASM_REDIS_URL";

/// Looked up in `PATH`; Debian's package has the same name.
const PROGRAM: &str = "redis-server";

/// Ports of servers that are restarted: below Linux's range of ephemeral ports, so that no connection takes one meanwhile.
const LASTING_PORTS: std::ops::Range<u32> = 10_000..32_000;

/// How often another port is tried: another process may bind a port after it was found free.
const ATTEMPTS: usize = 10;

/// Time limit of a start, which includes loading the data.
const STARTS_WITHIN: Duration = Duration::from_secs(30);

/// Redis logs this once it accepts connections.
const READY: &str = "Ready to accept connections";

/// A port that is free, and stays free while its server is restarted.
///
/// # Errors
/// When all ports of the range are in use.
pub fn lasting_port() -> Result<u16> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let count = LASTING_PORTS.end - LASTING_PORTS.start;
    // Concurrent test programs start at different ports.
    let first = std::process::id().wrapping_mul(127);
    for _ in 0..count {
        let offset = first.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % count;
        let port = u16::try_from(LASTING_PORTS.start + offset)?;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("every port from {} to {} is in use", LASTING_PORTS.start, LASTING_PORTS.end)
}

/// A running Redis.
#[derive(Debug)]
pub struct RedisServer {
    process: Child,
    port: u16,
    folder: tempfile::TempDir,
    is_durable: bool,
}

impl RedisServer {
    /// Starts a Redis without persistence.
    ///
    /// # Errors
    /// When `redis-server` is not installed, or does not start.
    pub fn start() -> Result<Self> {
        Self::start_with(false)
    }

    /// Starts a Redis that persists every write before it answers, in an append-only file that it syncs after each
    /// change.
    ///
    /// # Errors
    /// As [`RedisServer::start`].
    pub fn start_durable() -> Result<Self> {
        Self::start_with(true)
    }

    fn start_with(is_durable: bool) -> Result<Self> {
        let folder = tempfile::tempdir().context("creating a folder for Redis")?;
        for _ in 0..ATTEMPTS {
            let port = lasting_port()?;
            if let Some(process) = spawn(port, folder.path(), is_durable)? {
                return Ok(Self { process, port, folder, is_durable });
            }
        }
        bail!("{PROGRAM} did not start on any of {ATTEMPTS} ports")
    }

    /// Its address, in the form that the relay's settings take.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Kills it with SIGKILL.
    ///
    /// # Errors
    /// When waiting for the process fails.
    pub fn kill(&mut self) -> Result<()> {
        self.process.kill().context("killing Redis")?;
        self.process.wait().context("waiting for Redis to end")?;
        Ok(())
    }

    /// Starts it again on the same port, with the data it persisted.
    ///
    /// # Errors
    /// When it does not start, for example because it still runs.
    pub fn start_again(&mut self) -> Result<()> {
        let started = spawn(self.port, self.folder.path(), self.is_durable)?;
        self.process = started.context("restarting Redis on its port")?;
        Ok(())
    }

    /// Stops the process until [`RedisServer::go_on`]; connections stay open.
    ///
    /// # Errors
    /// When the process has ended.
    pub fn pause(&self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// # Errors
    /// When the process has ended.
    pub fn go_on(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    /// Closes every connection to it; commands in flight may or may not be executed, and get no reply.
    ///
    /// # Errors
    /// When Redis rejects the command.
    pub fn cut_connections(&self) -> Result<()> {
        let mut connection = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
        connection.set_read_timeout(Some(STARTS_WITHIN))?;
        connection.write_all(b"CLIENT KILL TYPE normal SKIPME yes\r\n")?;
        let mut answer = String::new();
        BufReader::new(connection).read_line(&mut answer)?;
        ensure!(answer.starts_with(':'), "Redis answered {answer}");
        Ok(())
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let process = i32::try_from(self.process.id()).ok().and_then(Pid::from_raw);
        kill_process(process.context("Redis has no process")?, signal).context("signalling Redis")
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A process that accepts connections; `None` if it ended before that.
fn spawn(port: u16, folder: &Path, is_durable: bool) -> Result<Option<Child>> {
    let append_only = if is_durable { "yes" } else { "no" };
    let mut process = Command::new(PROGRAM)
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""])
        .args(["--appendonly", append_only, "--appendfsync", "always"])
        .arg("--dir")
        .arg(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .with_context(|| format!("starting {PROGRAM}; Debian's package has this name"))?;
    let log = process.stdout.take().context("Redis has no output")?;
    let (is_ready, ready) = mpsc::channel();
    // Read the log to its end, so that Redis never blocks on a full pipe.
    std::thread::spawn(move || {
        for line in BufReader::new(log).lines().map_while(Result::ok) {
            if line.contains(READY) {
                let _ = is_ready.send(());
            }
        }
    });
    match ready.recv_timeout(STARTS_WITHIN) {
        Ok(()) => Ok(Some(process)),
        Err(RecvTimeoutError::Disconnected) => {
            process.wait().context("waiting for Redis to end")?;
            Ok(None)
        }
        Err(RecvTimeoutError::Timeout) => {
            process.kill().context("killing Redis")?;
            process.wait().context("waiting for Redis to end")?;
            bail!("{PROGRAM} does not accept connections after {} s", STARTS_WITHIN.as_secs())
        }
    }
}

//! A Redis of one's own: `redis-server` of the PATH on a free port of the loopback interface, with a folder of its own, which
//! ends with its handle. It can be killed, started again with what it wrote, and stopped for a while.

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

/// Names a Redis that tests use instead of their own, where they do not have to kill it.
pub const REDIS_URL: &str = "FAASM_REDIS_URL";

/// What is in `PATH`; Debian's package has the same name.
const PROGRAM: &str = "redis-server";

/// Ports of servers that are started again: none of them goes to a connection meanwhile, for which Linux has those from 32768 on.
const LASTING_PORTS: std::ops::Range<u32> = 10_000..32_000;

/// How often another port is tried: between finding a free one and taking it, somebody else may.
const ATTEMPTS: usize = 10;

/// Longest it may take to start: it reads what it wrote.
const STARTS_WITHIN: Duration = Duration::from_secs(30);

/// What it logs when it takes connections.
const READY: &str = "Ready to accept connections";

/// A port that is free, and stays so while the server that had it is started again.
///
/// # Errors
/// When all of them are taken.
pub fn lasting_port() -> Result<u16> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let count = LASTING_PORTS.end - LASTING_PORTS.start;
    // Test programs that run at the same time begin at different ones.
    let first = std::process::id().wrapping_mul(127);
    for _ in 0..count {
        let offset = first.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % count;
        let port = u16::try_from(LASTING_PORTS.start + offset)?;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("every port from {} to {} is taken", LASTING_PORTS.start, LASTING_PORTS.end)
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
    /// Starts one that forgets everything when it ends.
    ///
    /// # Errors
    /// When there is no `redis-server`, or it does not start.
    pub fn start() -> Result<Self> {
        Self::start_with(false)
    }

    /// Starts one that has on disk what it answered: an append-only file, synchronised at each change.
    ///
    /// # Errors
    /// As [`RedisServer::start`].
    pub fn start_durable() -> Result<Self> {
        Self::start_with(true)
    }

    fn start_with(is_durable: bool) -> Result<Self> {
        let folder = tempfile::tempdir().context("making a folder for Redis")?;
        for _ in 0..ATTEMPTS {
            let port = lasting_port()?;
            if let Some(process) = spawn(port, folder.path(), is_durable)? {
                return Ok(Self { process, port, folder, is_durable });
            }
        }
        bail!("{PROGRAM} did not start on any of {ATTEMPTS} ports")
    }

    /// Its address, as relays take it.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Ends it as `kill -9` does.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub fn kill(&mut self) -> Result<()> {
        self.process.kill().context("killing Redis")?;
        self.process.wait().context("waiting for Redis to end")?;
        Ok(())
    }

    /// Starts it again, on the same port with what it wrote.
    ///
    /// # Errors
    /// When it does not start, for one because it still runs.
    pub fn start_again(&mut self) -> Result<()> {
        let started = spawn(self.port, self.folder.path(), self.is_durable)?;
        self.process = started.context("Redis does not start again on its port")?;
        Ok(())
    }

    /// Has it do nothing until [`RedisServer::go_on`]; connections stay open.
    ///
    /// # Errors
    /// When it has ended.
    pub fn pause(&self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// # Errors
    /// When it has ended.
    pub fn go_on(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    /// Cuts every connection to it; what came over them is carried out or not, and not answered.
    ///
    /// # Errors
    /// When it does not take this.
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

/// A process that takes connections; `None` where it ended before.
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
    // To its end, so that Redis never waits for somebody to read its log.
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
            bail!("{PROGRAM} takes no connections after {} s", STARTS_WITHIN.as_secs())
        }
    }
}

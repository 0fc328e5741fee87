//! A real relay: a process that can be ended and restarted on the same port with the same data, or the same Redis.

use anyhow::{Context as _, Result, bail, ensure};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

/// Time limit for a relay to listen, which includes repairing its store.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// Time limit for a relay to end on SIGTERM: longer than it lets running calls continue.
const STOP_TIMEOUT: Duration = Duration::from_secs(60);

/// Paths and settings of relay processes.
#[derive(Clone, Debug)]
pub struct Place {
    pub program: PathBuf,
    pub data: PathBuf,
    /// An empty folder.
    pub web: PathBuf,
    /// Log file to which all relays append.
    pub log: PathBuf,
    /// A host name that the relay accepts besides its own, because clients connect through a proxy.
    pub host: String,
    /// Address of the Redis that stores everything instead of the folder.
    pub redis: Option<String>,
    /// Additional environment variables.
    pub environment: Vec<(String, String)>,
}

impl Place {
    /// Uses the relay that `FAASM_RELAY_BIN` names, or the one beside this program.
    pub fn new(folder: &Path, data: &Path) -> Result<Self> {
        let named = std::env::var_os("FAASM_RELAY_BIN").map(PathBuf::from);
        let program = named
            .or_else(beside)
            .context("no relay program: run `cargo xtask chaos`, which builds it")?;
        let web = folder.join("web");
        std::fs::create_dir_all(&web).with_context(|| format!("making {}", web.display()))?;
        let (data, log) = (data.join("data"), folder.join("relay.log"));
        let (redis, environment) = (None, Vec::new());
        Ok(Self { program, data, web, log, host: "127.0.0.1".into(), redis, environment })
    }
}

/// The program in the folder of this one, or in the parent folder, because test programs are one level deeper.
fn beside() -> Option<PathBuf> {
    let program = std::env::current_exe().ok()?;
    let name = format!("faasm-relay{}", std::env::consts::EXE_SUFFIX);
    program.ancestors().skip(1).take(2).map(|folder| folder.join(&name)).find(|path| path.is_file())
}

/// A running relay. Dropping this value kills it.
#[derive(Debug)]
pub struct Relay {
    child: Child,
    pub address: SocketAddr,
}

impl Relay {
    /// Starts a relay on this port (0: any), and waits until it listens.
    pub async fn start(place: &Place, port: u16) -> Result<Self> {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(&place.log);
        let log = log.with_context(|| format!("opening {}", place.log.display()))?;
        let mut child = Command::new(&place.program)
            .args(["serve", "--listen", &format!("127.0.0.1:{port}"), "--allow-host", &place.host])
            .arg("--data")
            .arg(&place.data)
            .arg("--web")
            .arg(&place.web)
            .args(place.redis.iter().flat_map(|redis| ["--redis", redis.as_str()]))
            .envs(place.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("starting {}", place.program.display()))?;
        let stdout = child.stdout.take().context("the relay has no standard output")?;
        let mut line = String::new();
        let reading = async { BufReader::new(stdout).read_line(&mut line).await };
        tokio::time::timeout(START_TIMEOUT, reading)
            .await
            .context("the relay does not listen in time")?
            .context("reading what the relay prints")?;
        let address = line.trim().strip_prefix("listening on http://");
        let address = address.map(|address| address.trim_end_matches('/'));
        let Some(address) = address else {
            bail!("the relay ended before it listened; its log is {}", place.log.display());
        };
        let address =
            address.parse().with_context(|| format!("parsing the address `{address}`"))?;
        Ok(Self { child, address })
    }

    /// Kills the process with SIGKILL.
    pub async fn kill(&mut self) -> Result<()> {
        self.child.kill().await.context("killing the relay")
    }

    /// Sends SIGTERM, and waits until the process has ended.
    pub async fn terminate(&mut self) -> Result<ExitStatus> {
        let id = self.child.id().context("the relay has ended already")?;
        let sent = Command::new("kill").args(["-TERM", &id.to_string()]).status().await;
        ensure!(sent.context("running kill")?.success(), "kill -TERM {id} failed");
        let ended = tokio::time::timeout(STOP_TIMEOUT, self.child.wait()).await;
        ended.context("the relay does not end in time")?.context("waiting for the relay")
    }

    /// Uploads a function.
    pub async fn upload(&self, user: &str, name: &str, wasm: &[u8]) -> Result<()> {
        let mut stream = TcpStream::connect(self.address).await.context("connecting")?;
        let (address, length) = (self.address, wasm.len());
        let head = format!(
            "PUT /f/{user}/{name} HTTP/1.1\r\nHost: {address}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(wasm).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        ensure!(answer.starts_with("HTTP/1.1 200"), "uploading {name}: {answer}");
        Ok(())
    }
}

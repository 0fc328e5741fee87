//! How long other users wait while one user loads the relay maliciously: for `/healthz`, and for a call of a function
//! that does nothing.
//!
//! Each load has a relay of its own with default limits, except for the memory of users. A load is a set of tasks that
//! run until it is dropped.

use super::load::{Answers, Talk, histogram, load, open_session};
use super::{NOTHING, USER};
use crate::figure::Figure;
use crate::process::resident;
use crate::table::Table;
use anyhow::{Context as _, Result, ensure};
use faasm_bridge::wire::Request;
use faasm_browser_tests::Relay;
use futures_util::SinkExt as _;
use std::path::Path;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message;

/// For users, of a relay with 4 GiB.
const MEMORY_BYTES: u64 = (4 << 30) / 5 * 3;

/// Target of the 99th percentile in milliseconds, on two otherwise idle processors.
const SLOWEST: f64 = 250.0;

/// Whose functions load the relay.
const EVE: &str = "eve";

/// Functions of hers.
const FUNCTIONS: [(&str, &str); 5] = [
    ("hoard", include_str!("../../functions/wat/hostile/hoard.wat")),
    ("bomb", include_str!("../../functions/wat/hostile/bomb.wat")),
    ("inputs", include_str!("../../functions/wat/hostile/inputs.wat")),
    ("results", include_str!("../../functions/wat/hostile/results.wat")),
    ("flags", include_str!("../../functions/wat/hostile/flags.wat")),
];

/// A load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Load {
    None,
    /// Calls of one of [`FUNCTIONS`], this many concurrently, in a loop.
    Calls(&'static str, usize),
    /// Requests for this path whose responses are not read.
    Unread(&'static str),
    /// Message bodies without their last byte.
    Bodies,
    /// First frames of 64 MiB over WebSockets.
    Frames,
    /// Reads of values in sessions that do not read the replies.
    Replies,
    /// Functions that take long to compile.
    Uploads,
}

const LOADS: [(&str, Load); 12] = [
    ("nothing", Load::None),
    ("state that is written and not pushed", Load::Calls("hoard", 4)),
    ("trees of calls that compute", Load::Calls("bomb", 2)),
    ("inputs of calls that sleep", Load::Calls("inputs", 1)),
    ("results that nobody awaits", Load::Calls("results", 4)),
    ("mapped state that is compared", Load::Calls("flags", 8)),
    ("a shared file that is not read", Load::Unread("/files/big")),
    ("a static file that is not read", Load::Unread("/big.bin")),
    ("bodies that do not end", Load::Bodies),
    ("first frames of 64 MiB", Load::Frames),
    ("replies that are not read", Load::Replies),
    ("functions that take long to compile", Load::Uploads),
];

/// Long state values of that user with their sizes: one that fits into a reply, and one that takes several replies.
const VALUES: [(&str, usize); 2] = [("reply", 8 << 20), ("transfer", 60 << 20)];

/// A function of the maximum size, filled with calls.
static LARGE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let calls = "(call $f)".repeat(100_000);
    let module = format!(
        r#"(module (memory (export "memory") 1) (func $f) (func (export "_start") {calls}))"#
    );
    wat::parse_str(module).unwrap_or_default()
});

/// Number of the upload, which makes each upload different, so that each is compiled.
static UPLOADS: AtomicU32 = AtomicU32::new(0);

/// Measures under each load for this duration. Fails if a request of the other user fails.
pub(super) async fn measure(seconds: f64) -> Result<(Table, Vec<Figure>)> {
    under_each(Duration::from_secs_f64(seconds), MEMORY_BYTES).await
}

async fn under_each(lasting: Duration, bytes: u64) -> Result<(Table, Vec<Figure>)> {
    let mut figures = Vec::new();
    let heading = ["load", "/healthz p50 ms", "p99", "a call p50 ms", "p99", "memory MiB"];
    let mut table = Table::new(&heading);
    for (name, what) in LOADS {
        eprintln!("hostile: {name}");
        let measured = under(what, lasting, bytes).await;
        let (health, calls, memory) = measured.with_context(|| name.to_owned())?;
        let shown =
            |answers: &Answers, quantile| format!("{:.1}", answers.quantile(quantile) / 1000.0);
        for (who, answers) in [("/healthz", &health), ("a call of another user", &calls)] {
            let middle = answers.quantile(0.5) / 1000.0;
            let slowest = answers.quantile(0.99) / 1000.0;
            let figure = |quantile, value| {
                Figure::new(format!("{quantile} of {who} under {name}"), value, "ms")
            };
            figures.push(figure("p50", middle).note(load_of_machine()));
            figures.push(figure("p99", slowest).at_most(SLOWEST).note(load_of_machine()));
        }
        table.row([
            name.to_owned(),
            shown(&health, 0.5),
            shown(&health, 0.99),
            shown(&calls, 0.5),
            shown(&calls, 0.99),
            (memory >> 20).to_string(),
        ]);
    }
    Ok((table, figures))
}

/// The machine's load, because the targets apply to two otherwise idle processors.
fn load_of_machine() -> String {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    format!("load average {}", load.split(' ').next().unwrap_or("unknown"))
}

/// Times of `/healthz` and of a call, and the most memory that the relay had.
async fn under(what: Load, lasting: Duration, bytes: u64) -> Result<(Answers, Answers, u64)> {
    let web = tempfile::tempdir().context("a temporary folder")?;
    std::fs::write(web.path().join("big.bin"), vec![7; 60 << 20]).context("a static file")?;
    let memory = format!("budget.relay_bytes={bytes}");
    let relay = Relay::start_with(web.path(), &["--set", &memory]).await?;
    prepare(&relay).await?;
    let address = relay.url().strip_prefix("http://").context("the relay's address")?.to_owned();
    let process = relay.id().context("the relay has ended")?;
    let loading = begin(what, &address);
    let peak = tokio::spawn(async move {
        let (mut most, until) = (0, Instant::now() + lasting);
        while Instant::now() < until {
            most = most.max(resident(process)?);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok::<_, anyhow::Error>(most)
    });
    let health = tokio::spawn(health(address.clone(), lasting));
    let url = format!("ws://{address}/ws");
    let call = Talk::Call { user: USER.to_owned(), function: "nothing".to_owned() };
    let calls = load(&url, &call, 1, lasting).await.context("calls of another user")?;
    let health = health.await.context("asking")?.context("/healthz")?;
    let peak = peak.await.context("looking")?.context("memory of the relay")?;
    drop(loading);
    Ok((health, calls, peak))
}

async fn prepare(relay: &Relay) -> Result<()> {
    let folder = tempfile::tempdir().context("a temporary folder")?;
    upload(relay, folder.path(), USER, "nothing", NOTHING).await?;
    for (name, text) in FUNCTIONS {
        upload(relay, folder.path(), EVE, name, text).await?;
    }
    let address = relay.url().strip_prefix("http://").context("the relay's address")?;
    let put = async |path: String, length: usize| {
        let mut stream = ask(address, &format!("PUT {path}"), length).await?;
        stream.write_all(&vec![7; length]).await?;
        let status = status(&mut stream).await?;
        ensure!(status == 200, "{path} is not stored: status {status}");
        Ok(())
    };
    put("/files/big".to_owned(), 60 << 20).await?;
    for (key, length) in VALUES {
        put(format!("/s/{EVE}/{key}"), length).await?;
    }
    Ok(())
}

async fn upload(relay: &Relay, folder: &Path, user: &str, name: &str, text: &str) -> Result<()> {
    let path = folder.join(format!("{name}.wasm"));
    std::fs::write(&path, wat::parse_str(text)?).context("writing a function")?;
    relay.upload(user, &[path]).await
}

/// Loads the relay until the returned set is dropped.
fn begin(what: Load, address: &str) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    // All connections that one address may have, except those of the measurement.
    let (count, size) = match what {
        Load::None => (0, 0),
        Load::Calls(_, count) => (count, 0),
        Load::Unread(_) => (120, 0),
        Load::Bodies => (200, (16 << 20) - 1),
        Load::Frames => (80, 64 << 20),
        Load::Replies => (24, 0),
        Load::Uploads => (16, 0),
    };
    for _ in 0..count {
        let address = address.to_owned();
        tasks.spawn(async move {
            loop {
                // Retry what the relay rejects.
                let _ = once(what, &address, size).await;
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
    }
    tasks
}

async fn once(what: Load, address: &str, size: usize) -> std::io::Result<()> {
    match what {
        Load::None => {}
        Load::Calls(function, _) => {
            let message = format!(r#"{{"user":"{EVE}","function":"{function}"}}"#);
            let mut stream = ask(address, "POST /", message.len()).await?;
            stream.write_all(message.as_bytes()).await?;
            status(&mut stream).await?;
        }
        Load::Unread(path) => {
            let mut stream = ask(address, &format!("GET {path}"), 0).await?;
            status(&mut stream).await?;
            std::future::pending::<()>().await;
        }
        Load::Bodies => {
            let mut stream = ask(address, "POST /", size + 1).await?;
            send(&mut stream, size).await;
            // A response means that the message was rejected; a closed connection too.
            let _ = status(&mut stream).await;
        }
        Load::Frames => {
            let mut stream = TcpStream::connect(address).await?;
            let head = format!(
                "GET /ws HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
            );
            stream.write_all(head.as_bytes()).await?;
            status(&mut stream).await?;
            let mut frame = vec![0x82, 0xff];
            frame.extend((size as u64).to_be_bytes());
            frame.extend([0; 4]);
            stream.write_all(&frame).await?;
            send(&mut stream, size).await;
        }
        Load::Replies => {
            let opened = open_session(&format!("ws://{address}/ws"), EVE).await;
            let (mut socket, mut session) = opened.map_err(std::io::Error::other)?;
            let [(short, _), (long, _)] = VALUES.map(|(key, bytes)| (key.to_owned(), bytes));
            for read in 0..40 {
                let (key, offset, length) = (short.clone(), 0, None);
                let request = Request::ReadState { key, offset, length };
                session.request(request, &[]).map_err(std::io::Error::other)?;
                if read < 4 {
                    let request = Request::ReadWhole { key: long.clone(), offset, length, read };
                    session.request(request, &[]).map_err(std::io::Error::other)?;
                }
            }
            while let Some(message) = session.transmit_message() {
                let sent = socket.send(Message::binary(message)).await;
                sent.map_err(std::io::Error::other)?;
            }
            std::future::pending::<()>().await;
        }
        Load::Uploads => {
            let number = UPLOADS.fetch_add(1, Ordering::Relaxed).to_le_bytes();
            // A custom section that contains this number and has an empty name.
            let section = [&[0, 5, 0][..], &number].concat();
            let length = LARGE.len() + section.len();
            let mut stream = ask(address, &format!("PUT /f/{EVE}/large"), length).await?;
            stream.write_all(&LARGE).await?;
            stream.write_all(&section).await?;
            status(&mut stream).await?;
        }
    }
    Ok(())
}

/// Sends this many bytes, as far as the relay accepts them.
async fn send(stream: &mut TcpStream, size: usize) {
    let piece = [b' '; 64 << 10];
    let mut left = size;
    while left > 0 {
        let count = left.min(piece.len());
        if stream.write_all(&piece[..count]).await.is_err() {
            return;
        }
        left -= count;
    }
}

/// A request without its body.
async fn ask(address: &str, line: &str, length: usize) -> std::io::Result<TcpStream> {
    let mut stream = TcpStream::connect(address).await?;
    let head = format!("{line} HTTP/1.1\r\nHost: {address}\r\nContent-Length: {length}\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    Ok(stream)
}

/// Reads the beginning of an answer.
async fn status(stream: &mut TcpStream) -> std::io::Result<u16> {
    let mut line = [0; 12];
    stream.read_exact(&mut line).await?;
    let digits = std::str::from_utf8(&line[9..]).ok().and_then(|digits| digits.parse().ok());
    digits.ok_or_else(|| std::io::Error::other("the answer is not HTTP"))
}

/// Asks whether the relay is there, over one connection.
async fn health(address: String, lasting: Duration) -> Result<Answers> {
    let mut times = histogram()?;
    let mut stream = TcpStream::connect(&address).await?;
    stream.set_nodelay(true)?;
    let request = format!("GET /healthz HTTP/1.1\r\nHost: {address}\r\n\r\n");
    let mut answer = vec![0; 4096];
    let start = Instant::now();
    while start.elapsed() < lasting {
        let began = Instant::now();
        stream.write_all(request.as_bytes()).await?;
        let mut length = 0;
        while !answer[..length].ends_with(b"\r\n\r\nok\n") {
            let read = stream.read(&mut answer[length..]).await?;
            ensure!(read > 0, "the relay hung up");
            length += read;
        }
        ensure!(answer.starts_with(b"HTTP/1.1 200"), "it is not well");
        times.saturating_record(began.elapsed().as_nanos() as u64);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Ok(Answers { seconds: start.elapsed().as_secs_f64(), times })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `cargo xtask bench relay --hostile` measures the latencies.
    #[tokio::test(flavor = "multi_thread")]
    async fn no_request_of_others_fails_under_any_load() {
        let (_, figures) = under_each(Duration::from_secs(2), 1 << 30).await.unwrap();
        assert_eq!(figures.len(), 4 * LOADS.len());
        assert!(figures.iter().all(|figure| figure.value > 0.0), "{figures:?}");
    }
}

//! Calls through the Faasm backend, compared with the same calls sent directly to the planner; and how often the relay
//! polls the status of its calls. The cluster is the stand-in, whose functions really run.

use super::load::{histogram, open_session};
use super::{NOTHING, USER, figures, middle};
use crate::figure::Figure;
use crate::table::Table;
use anyhow::{Context as _, Result, bail, ensure};
use faasm_bridge::session::{ClientEvent, ClientSession};
use faasm_bridge::wire::{CallEntry, Reply, Request, RequestId};
use faasm_browser_tests::{Relay, program};
use futures_util::{SinkExt as _, StreamExt as _};
use hdrhistogram::Histogram;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Instant;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio_tungstenite::tungstenite::Message;

/// Sleeps for a second.
const SECOND: &str = include_str!("../../functions/wat/second.wat");

/// Calls of a column in a round.
const CALLS: usize = 1000;

/// Concurrent calls of one run.
const TOGETHER: usize = 50;

/// The stand-in, as a process of its own.
struct Standin {
    _process: Child,
    asked: ChildStdin,
    told: Lines<BufReader<ChildStdout>>,
    planner: String,
    upload: String,
}

impl Standin {
    async fn start() -> Result<Self> {
        let path = program("FAASM_STANDIN_BIN", "faasm-standin")?;
        let mut process = Command::new(&path)
            // What it measures is the relay: starting executors is not part of it.
            .args(["--as", "lenient"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("starting {}", path.display()))?;
        let asked = process.stdin.take().context("its input is piped")?;
        let stdout = process.stdout.take().context("its output is piped")?;
        let mut told = BufReader::new(stdout).lines();
        let mut line = async |name: &str| {
            let line = told.next_line().await?.context("the stand-in ended at once")?;
            let url = line.strip_prefix(name).context("what the stand-in says")?;
            anyhow::Ok(url.trim().to_owned())
        };
        let (planner, upload) = (line("planner").await?, line("upload").await?);
        Ok(Self { _process: process, asked, told, planner, upload })
    }

    /// Status requests so far.
    async fn polls(&mut self) -> Result<u64> {
        self.asked.write_all(b"\n").await?;
        let line = self.told.next_line().await?.context("the stand-in has ended")?;
        let counts: BTreeMap<String, u64> = serde_json::from_str(&line)?;
        Ok(counts.get("EXECUTE_BATCH_STATUS").copied().unwrap_or(0))
    }
}

pub(super) async fn measure(rounds: u32) -> Result<(Table, Vec<Figure>)> {
    let mut standin = Standin::start().await?;
    let web = tempfile::tempdir().context("a temporary folder")?;
    let (planner, upload) = (&standin.planner, &standin.upload);
    let settings = [format!("cluster.planner={planner}"), format!("cluster.upload={upload}")];
    let options = figures::room_for(16);
    let options = options.iter().map(String::as_str);
    let set = settings.iter().flat_map(|setting| ["--set", setting]);
    let relay = Relay::start_with(web.path(), &options.chain(set).collect::<Vec<_>>()).await?;
    for (name, wat) in [("nothing", NOTHING), ("second", SECOND)] {
        let path = web.path().join(format!("{name}.wasm"));
        std::fs::write(&path, wat::parse_str(wat)?).context("writing a function")?;
        relay.upload(USER, &[path]).await?;
    }
    let mut direct = Direct::open(&standin.planner).await?;
    let mut page = Page::open(&format!("{}/ws", relay.url().replacen("http", "ws", 1))).await?;
    let mut found: [Vec<Histogram<u64>>; 2] = Default::default();
    let mut polls = Vec::new();
    for round in 0..=rounds {
        eprintln!("Faasm cluster, {round} of {rounds}");
        let mut times = [histogram()?, histogram()?];
        for _ in 0..CALLS {
            times[0].saturating_record(direct.call("nothing").await?);
        }
        let before = standin.polls().await?;
        for _ in 0..CALLS {
            let began = Instant::now();
            page.calls("nothing", 1).await?;
            times[1].saturating_record(began.elapsed().as_nanos() as u64);
        }
        let asked = (standin.polls().await? - before) as f64 / CALLS as f64;
        // The first round is a warm-up.
        if round > 0 {
            polls.push(asked);
            found.iter_mut().zip(times).for_each(|(all, times)| all.push(times));
        }
    }
    let mut while_calling = async |count| {
        let before = standin.polls().await?;
        page.calls("second", count).await?;
        anyhow::Ok((standin.polls().await? - before) as f64)
    };
    let (alone, together) = (while_calling(1).await?, while_calling(TOGETHER).await?);
    let quantile = |times: &Histogram<u64>, at| times.value_at_quantile(at) as f64 / 1000.0;
    let mut table = Table::new(&["call of a Faasm cluster", "p50, µs", "p90, µs", "p99, µs"]);
    for (name, rounds) in ["asked of the planner", "through the relay"].into_iter().zip(&found) {
        let of = |at| format!("{:.0}", middle(rounds.iter().map(|times| quantile(times, at))));
        table.row([name.to_owned(), of(0.5), of(0.9), of(0.99)]);
    }
    let [direct, through] = &found;
    let added = through
        .iter()
        .zip(direct)
        .map(|(through, direct)| quantile(through, 0.5) - quantile(direct, 0.5));
    let mut all = vec![figures::added(middle(added))];
    all.extend(figures::polls(middle(polls.into_iter()), alone, together / TOGETHER as f64));
    Ok((table, all))
}

/// A client of the planner, with one connection that it keeps, which asks without a pause what became of its call.
struct Direct {
    stream: BufReader<TcpStream>,
    last: i32,
}

impl Direct {
    async fn open(planner: &str) -> Result<Self> {
        let address = planner.strip_prefix("http://").context("a planner's address")?;
        let stream = TcpStream::connect(address).await.context("connecting to the planner")?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: BufReader::new(stream), last: 0 })
    }

    /// Nanoseconds from the batch to its result.
    async fn call(&mut self, function: &str) -> Result<u64> {
        self.last += 2;
        let (app, id) = (self.last, self.last + 1);
        let message = json!({"id": id, "appId": app, "user": USER, "function": function});
        let batch =
            json!({"appId": app, "user": USER, "function": function, "messages": [message]});
        let began = Instant::now();
        let started = self.ask("EXECUTE_BATCH", &batch).await?;
        ensure!(started["appId"] == app, "the planner said {started}");
        loop {
            let status = self.ask("EXECUTE_BATCH_STATUS", &json!({ "appId": app })).await?;
            if status["finished"] == true {
                return Ok(began.elapsed().as_nanos() as u64);
            }
        }
    }

    /// The answer as JSON, or null if it is not JSON.
    async fn ask(&mut self, kind: &str, payload: &Value) -> Result<Value> {
        let body = json!({"http_type": kind, "payload": payload.to_string()}).to_string();
        let head = format!("POST / HTTP/1.1\r\nHost: p\r\nContent-Length: {}\r\n\r\n", body.len());
        self.stream.write_all(format!("{head}{body}").as_bytes()).await?;
        let mut length = 0;
        loop {
            let mut line = String::new();
            ensure!(self.stream.read_line(&mut line).await? > 0, "the planner hung up");
            if line.trim().is_empty() {
                break;
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().context("the length of an answer")?;
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).await?;
        Ok(serde_json::from_slice(&body).unwrap_or_default())
    }
}

/// A page.
struct Page {
    socket: super::load::Socket,
    session: ClientSession,
}

impl Page {
    async fn open(url: &str) -> Result<Self> {
        let (socket, session) = open_session(url, USER).await?;
        Ok(Self { socket, session })
    }

    /// Makes this many concurrent calls in one run, and waits for all of them.
    async fn calls(&mut self, function: &str, count: usize) -> Result<()> {
        let mut first: Option<RequestId> = None;
        for _ in 0..count {
            let request = Request::Call {
                function: function.to_owned(),
                entry: CallEntry::Main,
                args: Vec::new(),
                env: Vec::new(),
            };
            let id = self.session.request_of(first, request, &[])?;
            first.get_or_insert(id);
        }
        let mut left = count;
        while left > 0 {
            while let Some(message) = self.session.transmit_message() {
                self.socket.send(Message::binary(message)).await?;
            }
            let message = self.socket.next().await.context("the relay hung up")??;
            let Message::Binary(message) = message else { continue };
            for frame in self.session.frames_of(&message) {
                match self.session.receive(frame?)? {
                    Some(ClientEvent::Reply { reply: Reply::Call { return_value: 0 }, .. }) => {
                        left -= 1;
                    }
                    Some(event) => bail!("a call ended with {event:?}"),
                    None => {}
                }
            }
        }
        Ok(())
    }
}

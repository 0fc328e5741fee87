//! Throughput of a relay: pages that send one request after the other over stable connections.

use crate::client::{Answer, Client, USER};
use crate::random::Random;
use crate::relay::{Place, Relay};
use anyhow::{Context as _, Result, bail};
use faasm_bridge::wire::{CallEntry, Reply, Request};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// A function that does nothing.
const NOTHING: &str = r#"(module (memory 1) (func (export "_start")))"#;

/// Number of bytes of each append.
const ELEMENT_BYTES: usize = 16;

/// Calls and appends per second of this many sessions with a relay of their own.
///
/// # Errors
/// When the relay does not start, or gives an unexpected answer.
pub async fn measure(
    sessions: u64,
    time: Duration,
    folder: &Path,
    redis: Option<String>,
) -> Result<(f64, f64)> {
    let place = Place { redis, ..Place::new(folder, folder)? };
    let mut relay = Relay::start(&place, 0).await?;
    let wasm = wat::parse_str(NOTHING).context("the function")?;
    relay.upload(USER, "nothing", &wasm).await?;
    let clients: Vec<Client> =
        (0..sessions).map(|number| Client::start(relay.address, Random::of(&[number]))).collect();
    let call = |_| {
        let function = "nothing".to_owned();
        (Request::Call { function, entry: CallEntry::Main, args: vec![], env: vec![] }, vec![])
    };
    let append =
        |number| (Request::AppendState { key: format!("list-{number}") }, vec![7; ELEMENT_BYTES]);
    let calls = rate(&clients, time, call).await?;
    let appends = rate(&clients, time, append).await?;
    drop(clients);
    relay.terminate().await?;
    Ok((calls, appends))
}

async fn rate(
    clients: &[Client],
    time: Duration,
    request: impl Fn(usize) -> (Request, Vec<u8>),
) -> Result<f64> {
    let count = Arc::new(AtomicU64::new(0));
    let mut pages = JoinSet::new();
    let began = Instant::now();
    for (number, client) in clients.iter().enumerate() {
        let ((request, payload), client) = (request(number), client.clone());
        let count = Arc::clone(&count);
        pages.spawn(async move {
            while began.elapsed() < time {
                match client.request(request.clone(), payload.clone()).await? {
                    Answer::Reply(Reply::Done | Reply::Call { return_value: 0 }, _) => {}
                    answer => bail!("{request:?}: unexpected answer {answer:?}"),
                }
                count.fetch_add(1, Ordering::Relaxed);
            }
            Ok(())
        });
    }
    while let Some(ended) = pages.join_next().await {
        ended.context("a page panicked")??;
    }
    Ok(count.load(Ordering::Relaxed) as f64 / began.elapsed().as_secs_f64())
}

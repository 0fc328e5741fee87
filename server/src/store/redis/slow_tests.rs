//! Slow connections to Redis, and values that are read during writes.

use super::*;
use crate::store::StateStore;
use faasm_redis_server::RedisServer;
use redis::AsyncCommands;
use std::time::Instant;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

const MIB: usize = 1024 * 1024;

/// A proxy to a Redis that limits the throughput of answers, bytes a second.
async fn slow(redis: u16, rate: usize) -> (u16, JoinHandle<()>) {
    const PIECES: usize = 50;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let accepting = tokio::spawn(async move {
        while let Ok((relay, _)) = listener.accept().await {
            let there = TcpStream::connect(("127.0.0.1", redis)).await.unwrap();
            let (mut from_relay, mut to_relay) = relay.into_split();
            let (mut answers, mut questions) = there.into_split();
            tokio::spawn(async move { copy(&mut from_relay, &mut questions).await });
            tokio::spawn(async move {
                let mut piece = vec![0; rate / PIECES];
                let mut pace = tokio::time::interval(Duration::from_secs(1) / PIECES as u32);
                while let Ok(length @ 1..) = answers.read(&mut piece).await {
                    if to_relay.write_all(&piece[..length]).await.is_err() {
                        return;
                    }
                    pace.tick().await;
                }
            });
        }
    });
    (port, accepting)
}

#[tokio::test]
async fn a_long_value_over_a_slow_connection_delays_no_short_request() {
    let server = RedisServer::start().unwrap();
    let (port, accepting) = slow(server.port(), 3 * MIB).await;
    let config = RedisConfig::new(format!("redis://127.0.0.1:{port}"));
    let store = RedisStore::connect(&config).await.unwrap();
    // Longer than the time limit of an answer without its transfer time.
    let long = vec![7; 20 * MIB];
    let client = Client::open(server.url()).unwrap();
    let mut worker = client.get_multiplexed_async_connection().await.unwrap();
    let () = worker.set("u_long", &long).await.unwrap();
    let reading = {
        let store = store.clone();
        tokio::spawn(async move { store.read("u", "long", 0, None).await })
    };
    let mut slowest = Duration::ZERO;
    while !reading.is_finished() {
        let begun = Instant::now();
        store.append("v", "list", b"x".to_vec()).await.unwrap();
        slowest = slowest.max(begun.elapsed());
    }
    assert!(reading.await.unwrap().unwrap().chunk.bytes == long);
    assert!(slowest < Duration::from_secs(2), "an append took {slowest:?}");
    accepting.abort();
}

#[tokio::test]
async fn a_long_value_is_read_as_a_snapshot() {
    let server = RedisServer::start().unwrap();
    let store = RedisStore::connect(&RedisConfig::new(server.url())).await.unwrap();
    let client = Client::open(server.url()).unwrap();
    let mut worker = client.get_multiplexed_async_connection().await.unwrap();
    let values = [vec![b'a'; 20 * MIB], vec![b'b'; 20 * MIB]];
    let () = worker.set("u_v", &values[0]).await.unwrap();
    let writing = tokio::spawn({
        let values = values.clone();
        async move {
            for value in values.iter().cycle() {
                let () = worker.set("u_v", value).await.unwrap();
            }
        }
    });
    for _ in 0..10 {
        let read = store.read("u", "v", 0, None).await.unwrap();
        assert_eq!(read.size, Some(20 * MIB as u64));
        assert!(values.iter().any(|value| *value == read.chunk.bytes), "it is of two writes");
    }
    writing.abort();
}

#[tokio::test]
async fn an_answer_is_late_only_if_no_earlier_one_arrives() {
    let server = RedisServer::start().unwrap();
    // Each of these answers takes a second.
    let (port, accepting) = slow(server.port(), MIB).await;
    let client = Client::open(format!("redis://127.0.0.1:{port}")).unwrap();
    let link = RedisConnection::new(client.clone());
    let mut direct =
        Client::open(server.url()).unwrap().get_multiplexed_async_connection().await.unwrap();
    let () = direct.set("v", vec![0; MIB]).await.unwrap();
    let asking = (0..7).map(|_| {
        let question = Question::Command(Cmd::get("v"));
        link.ask_for::<Vec<u8>>(Duration::from_secs(3), "test", Repeat::Once, 0, question)
    });
    let begun = Instant::now();
    for answer in futures_util::future::join_all(asking).await {
        assert_eq!(answer.unwrap().len(), MIB);
    }
    assert!(begun.elapsed() > Duration::from_secs(4), "the last one was later than one may be");
    accepting.abort();
}

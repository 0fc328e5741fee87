//! The stores over a real Redis: the laws of all stores, and properties of Redis only.

use super::*;
use crate::store::laws::{self, chunk};
use crate::store::{Asked, LockStore, MAX_LIST_BYTES, Owner, StateStore, lock_laws};
use faasm_bridge::state::{MAX_VALUE_BYTES, StateError};
use faasm_bridge::wire::SessionId;
use faasm_redis_server::{REDIS_URL, RedisServer};
use redis::{AsyncCommands, Value};
use std::time::Instant;

/// A store, with its own Redis unless the environment names one.
struct TestBed {
    store: RedisStore,
    url: String,
    _server: Option<RedisServer>,
}

impl TestBed {
    async fn new() -> Self {
        let given = std::env::var(REDIS_URL).ok();
        let server = given.is_none().then(|| RedisServer::start().unwrap());
        let url = given.or_else(|| server.as_ref().map(RedisServer::url)).unwrap();
        let store = RedisStore::connect(&RedisConfig::new(&url)).await.unwrap();
        Self { store, url, _server: server }
    }

    /// Acts as a Faasm worker that shares the Redis.
    async fn worker(&self) -> redis::aio::MultiplexedConnection {
        let client = Client::open(self.url.as_str()).unwrap();
        client.get_multiplexed_async_connection().await.unwrap()
    }
}

/// A unique user, also in a Redis that is reused.
fn user() -> String {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).unwrap();
    format!("u{:016x}", u64::from_le_bytes(bytes))
}

#[tokio::test]
async fn it_keeps_the_laws_of_all_stores() {
    let bed = TestBed::new().await;
    let store = &bed.store;
    laws::state_is_zeros_where_nobody_wrote_and_keeps_its_size(store, &user(), &user()).await;
    laws::a_write_is_all_or_nothing(store, &user()).await;
    laws::a_long_value_comes_in_parts_and_leaves_as_it_came(store, &user()).await;
    laws::lists_are_bounded_and_cleared(store, &user(), &user()).await;
    laws::files_and_functions_are_replaced(store, &user(), &format!("test/{}", user())).await;
    laws::a_random_history_agrees_with_a_model(store, &user()).await;
}

#[tokio::test]
async fn it_keeps_the_laws_of_all_locks() {
    let bed = TestBed::new().await;
    let store = &bed.store;
    let expire = async |user: &str, key: &str| {
        let () = bed
            .worker()
            .await
            .del(keys::lock_keys(&format!("{user}/{key}"))[0].as_str())
            .await
            .unwrap();
    };
    let expire_k = async |user: &str| expire(user, "k").await;
    let session = || {
        let mut id = [0; 16];
        getrandom::fill(&mut id).unwrap();
        SessionKey::from(SessionId(id))
    };
    lock_laws::it_is_one_run_s_at_a_time_in_the_order_of_asking(store, &user()).await;
    lock_laws::a_session_releases_once_and_its_end_frees_the_rest(store, session(), &user()).await;
    lock_laws::what_expired_is_lost(store, session(), &user(), expire_k).await;
    lock_laws::a_lease_ends_and_a_renewed_one_does_not(store, &user()).await;
    for seed in 0..3 {
        lock_laws::a_random_history_agrees_with_a_model(store, &user(), (seed, 800), expire).await;
    }
}

#[tokio::test]
async fn a_delayed_request_does_not_take_a_released_lock() {
    let bed = TestBed::new().await;
    let (store, user) = (&bed.store, user());
    let owner = Owner::random().unwrap();
    let taker = lock_laws::taker(owner, 1, 1);
    assert_eq!(lock_laws::ask(store, &user, taker).await, Asked::Held);
    for _ in 0..2 {
        assert!(store.release(&user, "k", taker).await.unwrap(), "asked again, it says the same");
    }
    let late = store.ask(&user, "k", taker, lock_laws::LONG).await;
    assert!(matches!(late, Err(StoreError::LockLost { .. })), "{late:?}");
    let waits = lock_laws::taker(owner, 2, 2);
    assert_eq!(lock_laws::ask(store, &user, waits).await, Asked::Held);
}

#[tokio::test]
async fn a_taker_that_stops_polling_leaves_the_queue() {
    let bed = TestBed::new().await;
    let (store, user) = (&bed.store, user());
    let owner = Owner::random().unwrap();
    let [holds, left, waits] = [1, 2, 3].map(|run| lock_laws::taker(owner, run, 1));
    for (taker, expected) in [
        (holds, Asked::Held),
        (left, Asked::Waits { before: 0 }),
        (waits, Asked::Waits { before: 1 }),
    ] {
        assert_eq!(lock_laws::ask(store, &user, taker).await, expected);
    }
    assert!(store.release(&user, "k", holds).await.unwrap());
    let begun = Instant::now();
    while lock_laws::ask(store, &user, waits).await != Asked::Held {
        assert!(begun.elapsed() < 4 * crate::store::locks::QUEUE_PATIENCE, "it is its turn");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn stale_takers_further_behind_free_a_full_queue() {
    let bed = TestBed::new().await;
    let (store, user) = (&bed.store, user());
    let owner = Owner::random().unwrap();
    let taker = |run| lock_laws::taker(owner, run, 1);
    assert_eq!(lock_laws::ask(store, &user, taker(0)).await, Asked::Held);
    let most = crate::store::MAX_LOCK_WAITERS as u64;
    assert_eq!(lock_laws::ask(store, &user, taker(1)).await, Asked::Waits { before: 0 });
    // As if they had polled once, and then stopped.
    let [_, queue, seen] = keys::lock_keys(&format!("{user}/k"));
    let mut redis = bed.worker().await;
    for run in 2..=most {
        let text = locks::taker_text(taker(run));
        let () = redis.zadd(&queue, &text, run).await.unwrap();
        let () = redis.hset(&seen, &text, 1).await.unwrap();
    }
    assert_eq!(lock_laws::ask(store, &user, taker(1)).await, Asked::Waits { before: 0 });
    let asked = lock_laws::ask(store, &user, taker(most + 1)).await;
    assert_eq!(asked, Asked::Waits { before: 1 });
}

#[tokio::test]
async fn values_and_lists_are_shared_with_faasm_workers() {
    let bed = TestBed::new().await;
    let (store, user) = (&bed.store, user());
    let mut worker = bed.worker().await;
    store.write(&user, "a_b", 4, vec![chunk(1, b"xy")]).await.unwrap();
    let found: Vec<u8> = worker.get(format!("{user}_a_b")).await.unwrap();
    assert_eq!(found, b"\0xy\0");
    let () = worker.set(format!("{user}_w"), b"from a worker").await.unwrap();
    let read = store.read(&user, "w", 5, Some(3)).await.unwrap();
    assert_eq!((read.size, read.chunk), (Some(13), chunk(5, b"a w")));
    store.append(&user, "l", b"page".to_vec()).await.unwrap();
    let () = worker.rpush(format!("{user}_l"), b"worker").await.unwrap();
    let found: Vec<Vec<u8>> = worker.lrange(format!("{user}_l"), 0, -1).await.unwrap();
    assert_eq!(found, [b"page".to_vec(), b"worker".to_vec()]);
    assert_eq!(store.read_appended(&user, "l", 9).await.unwrap(), b"pageworker");
    store.clear_appended(&user, "l").await.unwrap();
    assert!(!worker.exists::<_, bool>(format!("{user}_l")).await.unwrap());
}

#[tokio::test]
async fn values_that_redis_cannot_hold_are_rejected_with_a_reason() {
    let bed = TestBed::new().await;
    let (store, user) = (&bed.store, user());
    let empty = store.write(&user, "k", 0, vec![]).await.unwrap_err();
    assert!(matches!(empty, StoreError::EmptyValue { .. }), "{empty}");
    let size = MAX_REDIS_VALUE_BYTES + 1;
    assert!(size < MAX_VALUE_BYTES);
    let long = store.write(&user, "k", size, vec![]).await.unwrap_err();
    assert!(matches!(long, StoreError::ValueTooLong { .. }), "{long}");
    assert_eq!(store.read(&user, "k", 0, None).await.unwrap().size, None);
    let name = format!("{user}_x");
    for refused in [
        store.write(&name, "k", 1, vec![]).await.unwrap_err(),
        store.append(&name, "k", vec![1]).await.unwrap_err(),
        store.clear_appended(&name, "k").await.unwrap_err(),
        store.read(&name, "k", 0, None).await.unwrap_err(),
        store.read_appended(&name, "k", 1).await.unwrap_err(),
    ] {
        assert!(matches!(refused, StoreError::UserName { .. }), "{refused}");
    }
    store.write(&user, "v", 1, vec![]).await.unwrap();
    store.append(&user, "l", vec![1]).await.unwrap();
    for refused in [
        store.append(&user, "v", vec![1]).await.unwrap_err(),
        store.clear_appended(&user, "v").await.unwrap_err(),
        store.read_appended(&user, "v", 1).await.unwrap_err(),
        store.write(&user, "l", 1, vec![]).await.unwrap_err(),
        store.read(&user, "l", 0, None).await.unwrap_err(),
    ] {
        assert!(matches!(refused, StoreError::OtherKind { .. }), "{refused}");
    }
    assert_eq!(store.read(&user, "v", 0, None).await.unwrap().size, Some(1));
    assert_eq!(store.read_appended(&user, "l", 9).await.unwrap(), [1]);
}

#[tokio::test]
async fn a_list_that_a_worker_made_too_long_is_refused_and_can_be_cleared() {
    let bed = TestBed::new().await;
    let (store, user) = (&bed.store, user());
    let mut worker = bed.worker().await;
    let mib = vec![7_u8; 1024 * 1024];
    for _ in 0..=MAX_LIST_BYTES / mib.len() as u64 {
        let () = worker.rpush(format!("{user}_l"), &mib[..]).await.unwrap();
    }
    let read = store.read_appended(&user, "l", u32::MAX).await.unwrap_err();
    assert!(matches!(read, StoreError::ListFull { .. }), "{read}");
    assert_eq!(store.read_appended(&user, "l", 2).await.unwrap().len(), 2 * mib.len());
    let full = store.append(&user, "l", vec![]).await.unwrap_err();
    assert!(matches!(full, StoreError::ListFull { .. }), "{full}");
    store.clear_appended(&user, "l").await.unwrap();
    store.append(&user, "l", vec![1]).await.unwrap();
}

#[tokio::test]
async fn many_writers_at_once_lose_nothing() {
    const WRITERS: u64 = 8;
    const EACH: u64 = 50;
    let bed = TestBed::new().await;
    let user = user();
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        let user = user.clone();
        let store = RedisStore::connect(&RedisConfig::new(&bed.url)).await.unwrap();
        writers.spawn(async move {
            for number in 0..EACH {
                store.append(&user, "l", vec![writer as u8, number as u8]).await.unwrap();
                let part = chunk(writer * EACH + number, &[writer as u8 + 1]);
                store.write(&user, "v", WRITERS * EACH, vec![part]).await.unwrap();
            }
        });
    }
    while let Some(ended) = writers.join_next().await {
        ended.unwrap();
    }
    let value = bed.store.read(&user, "v", 0, None).await.unwrap().chunk.bytes;
    let expected: Vec<u8> = (0..WRITERS * EACH).map(|at| (at / EACH) as u8 + 1).collect();
    assert_eq!(value, expected);
    let list = bed.store.read_appended(&user, "l", u32::MAX).await.unwrap();
    for writer in 0..WRITERS as u8 {
        let theirs = list.chunks(2).filter(|element| element[0] == writer).map(|e| e[1]);
        assert!(theirs.eq(0..EACH as u8), "in their order");
    }
}

#[tokio::test]
async fn an_unusable_redis_fails_in_time() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = closed.local_addr().unwrap();
    let begun = Instant::now();
    let cases = [
        ("http://127.0.0.1/".to_owned(), "redis://HOST:6379"),
        ("redis://127.0.0.1:1".to_owned(), "reach Redis"),
        (format!("redis://:secret@{silent}"), "reach Redis"),
        (format!("rediss://:secret@{silent}"), "reach Redis"),
    ];
    let connecting = cases.map(|(url, expected)| async move {
        let error = RedisStore::connect(&RedisConfig::new(&url)).await.unwrap_err().to_string();
        assert!(error.contains(expected) && !error.contains("secret"), "{url}: {error}");
    });
    futures_util::future::join_all(connecting).await;
    assert!(begun.elapsed() < 2 * START, "{:?}", begun.elapsed());
    drop(closed);
}

#[tokio::test]
async fn a_reconnected_redis_works_and_a_repeated_append_is_uncertain() {
    let mut server = RedisServer::start_durable().unwrap();
    let store = RedisStore::connect(&RedisConfig::new(server.url())).await.unwrap();
    store.append("u", "l", b"a".to_vec()).await.unwrap();
    server.kill().unwrap();
    let reading = {
        let store = store.clone();
        tokio::spawn(async move { store.read_appended("u", "l", 9).await })
    };
    server.start_again().unwrap();
    assert_eq!(reading.await.unwrap().unwrap(), b"a", "a read waits for it");
    // A stopped Redis has received the change, and executes it when it continues: until then its outcome is unknown.
    server.pause().unwrap();
    let uncertain = store.append("u", "l", b"b".to_vec()).await.unwrap_err();
    assert!(matches!(uncertain, StoreError::Uncertain { .. }), "{uncertain}");
    server.go_on().unwrap();
    store.append("u", "l", b"c".to_vec()).await.unwrap();
    let list = store.read_appended("u", "l", 9).await.unwrap();
    assert!(list == b"abc" || list == b"ac", "{list:?}");
}

#[tokio::test]
async fn a_malformed_answer_is_an_error() {
    let bed = TestBed::new().await;
    let user = user();
    let question = Question::Command(Cmd::set(format!("{user}_v"), "text"));
    let number: Result<u64, _> = bed.store.link().ask("test", Repeat::Reads, 0, question).await;
    assert!(matches!(number, Err(StoreError::Backend { .. })), "{number:?}");
    let mut refused = Cmd::new();
    refused.arg("NO-SUCH-COMMAND");
    let begun = Instant::now();
    let refused: Result<Value, _> =
        bed.store.link().ask("test", Repeat::Marked, 0, Question::Command(refused)).await;
    assert!(matches!(refused, Err(StoreError::Backend { .. })), "{refused:?}");
    assert!(begun.elapsed() < Duration::from_secs(20), "it is not asked again");
    let conflict = bed.store.write(&user, "v", 5, vec![]).await.unwrap_err();
    assert!(matches!(conflict, StoreError::State(StateError::SizeMismatch { have: 4, .. })));
}

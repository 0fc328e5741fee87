//! Values that a page watches: whoever writes them, at whichever relay, it is told.

use crate::fixtures::*;
use crate::process::Process;
use crate::support::*;
use crate::tokens::{Keys, claims};
use faasm_bridge::session::ClientEvent;
use faasm_bridge::wire::{FailureCode, MAX_WATCHED, Reply, Request};
use faasm_redis_server::RedisServer;
use faasm_relay::auth::{Claims, Right};

#[tokio::test]
async fn a_page_is_told_whoever_writes_and_not_of_what_it_writes_itself() {
    let relay = Relay::start().await.with(&[("push", PUSH)]).await;
    for kind in BOTH {
        let mut page = relay.client_over(kind).await;
        let mut other = relay.client().await;
        other.write("k", b"0").await;
        assert_eq!(page.watch("k").await, Reply::Missing, "what was before is not told");
        assert_eq!(page.watch("k").await, Reply::Done);
        // Another session, a function in the cluster, a program.
        assert_eq!(other.write("k", b"1").await, Reply::Done);
        assert_eq!(page.next_changed().await, "k", "{kind:?}");
        assert_eq!(page.call("push", b"2").await.0, 0);
        assert_eq!(page.next_changed().await, "k", "{kind:?}");
        assert_eq!(relay.http("PUT /s/ada/k", b"3").await.0, 200);
        assert_eq!(page.next_changed().await, "k", "{kind:?}");
        assert_eq!(page.read("k").await.as_deref(), Some(&b"3"[..]));
        // Itself, what is not watched, what another user has, and what is refused.
        assert_eq!(page.write("k", b"4").await, Reply::Done);
        assert_eq!(other.write("l", b"1").await, Reply::Done);
        assert_eq!(relay.http("PUT /s/eve/k", b"1").await.0, 200);
        assert_eq!(relay.http("PUT /s/ada/k", b"longer").await.0, 409);
        assert_eq!(page.changed().await, [""; 0], "{kind:?}");
        assert_eq!(page.ask(Request::Unwatch { key: "k".into() }, b"").await.0, Reply::Done);
        other.write("k", b"5").await;
        assert_eq!(page.changed().await, [""; 0], "{kind:?}");
    }
}

#[tokio::test]
async fn what_changes_often_while_the_page_is_away_is_told_once_when_it_is_back() {
    let relay = Relay::start().await;
    for kind in BOTH {
        let (mut page, mut other) = (relay.client_over(kind).await, relay.client().await);
        page.watch("k").await;
        page.watch("quiet").await;
        page.cut();
        for turn in 0..100 {
            other.write("k", &[turn]).await;
        }
        assert_eq!(page.connect(relay.address).await, ClientEvent::Open { lost: vec![] });
        assert_eq!(page.watch("k").await, Reply::Done, "the relay kept it");
        assert_eq!(page.next_changed().await, "k");
        assert_eq!(page.changed().await, [""; 0], "{kind:?}");
    }
}

#[tokio::test]
async fn a_session_watches_so_many_values() {
    let relay = Relay::start().await;
    let mut page = relay.client().await;
    for number in 0..MAX_WATCHED {
        assert_eq!(page.watch(&number.to_string()).await, Reply::Missing);
    }
    let Reply::Failed { code: FailureCode::BadRequest, message } = page.watch("k").await else {
        panic!("it is refused");
    };
    assert!(message.contains("at most 256"), "{message}");
}

#[tokio::test]
async fn a_page_that_may_not_read_a_value_any_more_is_not_told_of_it() {
    let keys = Keys::new();
    let relay = keys.relay().await;
    let token = |rights: &[Right]| {
        Some(keys.token(&Claims { rights: Some(rights.to_vec()), ..claims(USER) }))
    };
    let mut page = Client::of(USER, token(&[Right::StateRead]), Kind::WebSocket);
    page.connect(relay.address).await;
    assert_eq!(page.watch("k").await, Reply::Missing);
    let mut other = Client::of(USER, token(&[Right::StateWrite]), Kind::WebSocket);
    other.connect(relay.address).await;
    other.write("k", b"1").await;
    assert_eq!(page.next_changed().await, "k");
    // It comes back with less.
    page.cut();
    page.machine.set_token(token(&[Right::Invoke]));
    page.connect(relay.address).await;
    other.write("k", b"2").await;
    let refused = page.watch("k").await;
    let is_refused = matches!(refused, Reply::Failed { code: FailureCode::Unauthorised, .. });
    assert!(is_refused, "{refused:?}");
    page.cut();
    page.machine.set_token(token(&[Right::StateRead]));
    page.connect(relay.address).await;
    assert_eq!(page.changed().await, [""; 0]);
    assert_eq!(page.watch("k").await, Reply::Missing, "it begins anew");
}

#[tokio::test]
async fn relays_over_one_redis_tell_each_other() {
    let redis = RedisServer::start().unwrap();
    let [first, second] = [(), ()].map(|()| Process::over(redis.url()));
    second.upload("push", PUSH).await;
    let (mut page, mut other) = (first.page().await, second.page().await);
    assert_eq!(page.watch("k").await, Reply::Missing);
    assert_eq!(page.next_changed().await, "k", "from here on others are heard");
    assert_eq!(other.write("k", b"1").await, Reply::Done);
    assert_eq!(page.next_changed().await, "k");
    assert_eq!(page.read("k").await.as_deref(), Some(&b"1"[..]));
    assert_eq!(other.call("push", b"2").await.0, 0);
    assert_eq!(page.next_changed().await, "k");
    // What is written here is told once.
    let mut beside = first.page().await;
    assert_eq!(beside.write("k", b"3").await, Reply::Done);
    assert_eq!(page.next_changed().await, "k");
    assert_eq!(other.write("l", b"1").await, Reply::Done);
    assert_eq!(page.changed().await, [""; 0]);
    // A session that another relay takes up is told there what it asks for there.
    second.comes_back(&mut page).await;
    assert_eq!(page.watch("k").await, Reply::Missing);
    assert_eq!(page.next_changed().await, "k");
    assert_eq!(beside.write("k", b"4").await, Reply::Done);
    assert_eq!(page.next_changed().await, "k");
}

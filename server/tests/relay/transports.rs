//! The same over a WebSocket and over HTTP, also where the network breaks.

use crate::fixtures::*;
use crate::proxy::{Mode, Proxy};
use crate::support::*;
use faasm_bridge::session::ClientEvent;
use faasm_bridge::wire::{CallEntry, ChunkHeader, Reply, Request, RequestId, TRANSFER_BYTES};
use std::collections::BTreeMap;

/// Calls that are in flight at once.
const MANY: u32 = 1000;

/// Elements of list `ticks` by how often they are there.
pub(crate) async fn ticks(client: &mut Client) -> BTreeMap<u32, usize> {
    let read = Request::ReadAppended { key: "ticks".into(), count: u32::MAX };
    let (reply, bytes) = client.ask(read, b"").await;
    assert_eq!(reply, Reply::Bytes);
    let mut ticks = BTreeMap::new();
    for element in bytes.chunks(4) {
        *ticks.entry(u32::from_le_bytes(element.try_into().unwrap())).or_default() += 1;
    }
    ticks
}

#[tokio::test]
async fn calls_and_state_are_the_same() {
    for kind in BOTH {
        let relay = Relay::start().await;
        let functions = [("hello", HELLO), ("chain", CHAIN), ("push", PUSH), ("pull", PULL)];
        let relay = relay.with(&functions).await;
        let mut page = relay.client_over(kind).await;
        assert_eq!(page.call("hello", b"Ada").await, (0, "Hello, Ada".into()), "{kind:?}");
        assert_eq!(page.call("chain", b"").await, (42, "inner".into()));
        let slot = page.ask(enter("chain", CallEntry::Pointer(2)), b"7").await;
        assert_eq!(returned(slot), (7, "inner".into()));
        assert_eq!(failed(page.ask(main("nobody"), b"").await).0, "missing-function");
        assert_eq!(page.call("push", b"value").await.0, 0);
        assert_eq!(page.read("k").await.as_deref(), Some(&b"value"[..]));
        assert_eq!(page.write("k", b"VALUE").await, Reply::Done);
        assert_eq!(page.call("pull", b"").await, (5, "VALUE".into()));
    }
}

#[tokio::test]
async fn values_of_40_mib_go_both_ways_at_once() {
    const PARTS: u64 = 5;
    const SIZE: u64 = PARTS * TRANSFER_BYTES;
    for kind in BOTH {
        let relay = Relay::start().await;
        let mut page = relay.client_over(kind).await;
        let part = |number: u64| vec![number as u8 + 1; TRANSFER_BYTES as usize];
        let mut writes = Vec::new();
        for number in 0..PARTS {
            let chunks =
                vec![ChunkHeader { offset: number * TRANSFER_BYTES, length: TRANSFER_BYTES }];
            let write = Request::WriteState { key: "big".into(), size: SIZE, chunks };
            writes.push(page.machine.request(write, &part(number)).unwrap());
        }
        for write in writes {
            assert_eq!(page.reply(write).await.0, Reply::Done, "{kind:?}");
        }
        let mut reads = Vec::new();
        for number in 0..PARTS {
            let offset = number * TRANSFER_BYTES;
            let read = Request::ReadState { key: "big".into(), offset, length: None };
            reads.push((number, page.machine.request(read, b"").unwrap()));
        }
        for (number, read) in reads {
            let (reply, bytes) = page.reply(read).await;
            let offset = number * TRANSFER_BYTES;
            assert_eq!(reply, Reply::State { size: Some(SIZE), offset }, "{kind:?}");
            assert!(bytes == part(number), "{kind:?}: part {number}");
        }
    }
}

#[tokio::test]
async fn a_thousand_calls_are_each_performed_once_however_often_the_network_breaks() {
    for kind in BOTH {
        let relay = Relay::start_behind_proxy().await.with(&[("tick", TICK)]).await;
        let proxy = Proxy::start(relay.address).await.unwrap();
        let mut page = Client::new(kind);
        page.connect(proxy.address()).await;
        let mut open = BTreeMap::<RequestId, u32>::new();
        for number in 0..MANY {
            let id = page.machine.request(main("tick"), &number.to_le_bytes()).unwrap();
            open.insert(id, number);
        }
        while !open.is_empty() {
            let (id, reply, output) = page.persist(proxy.address()).await;
            let number = open.remove(&id).expect("each request has one reply");
            assert_eq!(reply, Reply::Call { return_value: 0 }, "{kind:?}");
            assert_eq!(output, number.to_le_bytes(), "{kind:?}");
            if open.len().is_multiple_of(150) {
                proxy.cut_and_refuse(open.len() as u32 % 4);
            }
        }
        let mut other = relay.client().await;
        let expected: BTreeMap<u32, usize> = (0..MANY).map(|number| (number, 1)).collect();
        assert_eq!(ticks(&mut other).await, expected, "{kind:?}");
    }
}

#[tokio::test]
async fn a_session_goes_on_over_the_other_transport() {
    let relay = Relay::start().await.with(&[("gate", GATE)]).await;
    let mut page = relay.client().await;
    let mut other = relay.client().await;
    let call = page.send(main("gate"), b"").await;
    while other.read("count").await.is_none() {}
    for kind in [Kind::Fetch, Kind::WebSocket, Kind::Fetch] {
        page.use_transport(kind);
        page.cut();
        assert_eq!(page.connect(relay.address).await, ClientEvent::Open { lost: vec![] });
    }
    assert_eq!(other.write("gate", &[7]).await, Reply::Done);
    assert_eq!(returned(page.reply(call).await), (7, String::new()));
    assert_eq!(other.read("count").await, Some(vec![1]), "it ran once");
}

#[tokio::test]
async fn a_relay_that_starts_again_makes_effects_unknown_and_nothing_else() {
    for kind in BOTH {
        let before = Relay::start_behind_proxy().await.with(&[("gate", GATE)]).await;
        let after = Relay::start_behind_proxy().await.with(&[("hello", HELLO)]).await;
        let proxy = Proxy::start(before.address).await.unwrap();
        let mut page = Client::new(kind);
        page.connect(proxy.address()).await;
        let mut other = before.client().await;
        let call = page.send(main("gate"), b"").await;
        while other.read("count").await.is_none() {}
        proxy.set_target(after.address);
        proxy.cut();
        page.cut();
        let late = page.machine.request(main("hello"), b"again").unwrap();
        let event = page.connect(proxy.address()).await;
        assert_eq!(event, ClientEvent::Open { lost: vec![call] }, "{kind:?}");
        assert_eq!(returned(page.reply(late).await), (0, "Hello, again".into()));
        assert_eq!(other.write("gate", &[1]).await, Reply::Done);
    }
}

#[tokio::test]
async fn http_gets_through_where_websockets_do_not() {
    let relay = Relay::start_behind_proxy().await.with(&[("hello", HELLO)]).await;
    let proxy = Proxy::start(relay.address).await.unwrap();
    proxy.set(Mode::RefuseWebSockets);
    let mut page = Client::new(Kind::WebSocket);
    assert!(page.try_connect(proxy.address()).await.is_err());
    page.use_transport(Kind::Fetch);
    assert_eq!(page.connect(proxy.address()).await, ClientEvent::Open { lost: vec![] });
    assert_eq!(page.call("hello", b"x").await, (0, "Hello, x".into()));
}

#[tokio::test]
async fn a_page_that_says_goodbye_has_no_session_and_no_calls_any_more() {
    for kind in BOTH {
        let relay = Relay::start().await.with(&[("late", LATE)]).await;
        let mut page = relay.client_over(kind).await;
        let call = page.send(main("late"), b"").await;
        page.say_goodbye().await;
        page.cut();
        assert_eq!(page.connect(relay.address).await, ClientEvent::Open { lost: vec![call] });
        assert_eq!(page.write("gate", &[1]).await, Reply::Done);
        assert_eq!(page.call("late", b"").await.0, 0);
        let read = Request::ReadAppended { key: "ticks".into(), count: u32::MAX };
        assert_eq!(page.ask(read, b"").await.1.len(), 1, "{kind:?}: the first call was cancelled");
    }
}

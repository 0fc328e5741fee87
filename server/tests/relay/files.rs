//! Files that functions share.

use crate::support::*;
use faasm_bridge::wire::{Reply, Request};

#[tokio::test]
async fn a_file_goes_in_by_http_and_out_by_http_and_session() {
    let relay = Relay::start().await;
    let (status, _, body) = relay.http("PUT /files/data/a%20b.txt", b"shared").await;
    assert_eq!((status, body.as_slice()), (200, &br#"{"bytes":6,"path":"data/a b.txt"}"#[..]));
    let (status, head, body) = relay.http("GET /files/data/a%20b.txt", b"").await;
    assert_eq!((status, body.as_slice()), (200, &b"shared"[..]));
    assert!(head.contains("content-type: application/octet-stream"), "{head}");
    assert!(head.contains("x-content-type-options: nosniff"), "{head}");
    assert_eq!(relay.stores.files.read_file("data/a b.txt").await.unwrap(), Some(b"shared".into()));

    let mut client = relay.client().await;
    let file = |path: &str| Request::ReadFile { path: path.into() };
    let there = client.ask(file("data/a b.txt"), b"").await;
    assert_eq!(there, (Reply::Bytes, b"shared".to_vec()));
    for path in ["data", "none", "../data/a b.txt", "/data/a b.txt", ""] {
        assert_eq!(client.ask(file(path), b"").await, (Reply::Missing, vec![]), "{path}");
    }
    assert_eq!(relay.http("GET /files/none", b"").await.0, 404);
}

#[tokio::test]
async fn paths_sizes_methods_and_strangers_are_checked() {
    let relay = Relay::start().await;
    for path in ["", "a//b", "..", "a/%2e%2e/b", "%2fetc", "a/", "a%5cb", "%00", "%zz", "%0a"] {
        for method in ["GET", "PUT"] {
            let (status, ..) = relay.http(&format!("{method} /files/{path}"), b"").await;
            assert_eq!(status, 400, "{method} {path}");
        }
    }
    let long = "PUT /files/a\nContent-Length: 67108865\nExpect: 100-continue";
    assert_eq!(relay.http(long, b"").await.0, 413);
    assert_eq!(relay.http("POST /files/a", b"").await.0, 405);
    relay.http("PUT /files/a", b"secret").await;
    for method in ["GET", "PUT"] {
        let (status, _, body) =
            relay.http(&format!("{method} /files/a\nOrigin: http://evil.test"), b"").await;
        assert_eq!(status, 403);
        assert!(!String::from_utf8_lossy(&body).contains("secret"));
        assert_eq!(relay.http(&format!("{method} /files/a\nHost: evil.test"), b"").await.0, 403);
    }
    assert_eq!(relay.http("GET /files/a", b"").await.2, b"secret");
}

//! `/s/USER/KEY`: state values over HTTP.

use crate::support::*;
use faasm_bridge::wire::TRANSFER_BYTES;
use faasm_relay::Config;
use faasm_relay::store::Stores;

fn error(body: &[u8]) -> String {
    let body: serde_json::Value = serde_json::from_slice(body).unwrap();
    body["error"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_value_is_written_read_and_seen_by_pages() {
    let relay = Relay::start().await;
    assert_eq!(relay.http("GET /s/ada/a", b"").await.0, 404);
    assert_eq!(relay.http("HEAD /s/ada/a", b"").await.0, 404);
    let (status, _, body) = relay.http("PUT /s/ada/a", b"from outside").await;
    assert_eq!(status, 200);
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(body, serde_json::json!({ "user": "ada", "key": "a", "bytes": 12 }));

    let mut page = relay.client().await;
    assert_eq!(page.read("a").await.as_deref(), Some(&b"from outside"[..]));
    page.write("a", b"FROM A PAGE!").await;
    let (status, head, body) = relay.http("GET /s/ada/a", b"").await;
    assert_eq!((status, body.as_slice()), (200, &b"FROM A PAGE!"[..]));
    for line in
        ["content-type: application/octet-stream", "content-length: 12", "cache-control: no-store"]
    {
        assert!(head.contains(line), "{head}");
    }
    let (status, head, body) = relay.http("HEAD /s/ada/a", b"").await;
    assert_eq!((status, body.as_slice()), (200, &b""[..]));
    assert!(head.contains("content-length: 12"), "{head}");
    assert_eq!(relay.http("GET /s/eve/a", b"").await.0, 404, "another user's");
}

#[tokio::test]
async fn a_value_keeps_its_size() {
    let relay = Relay::start().await;
    assert_eq!(relay.http("PUT /s/ada/k", b"four").await.0, 200);
    let (status, _, body) = relay.http("PUT /s/ada/k", b"longer").await;
    assert_eq!(status, 409);
    let message = error(&body);
    assert!(message.contains("4 bytes") && message.contains("says 6"), "{message}");
    assert_eq!(relay.http("GET /s/ada/k", b"").await.2, b"four");
    // A value without bytes is one, too.
    assert_eq!(relay.http("PUT /s/ada/empty", b"").await.0, 200);
    let (status, head, body) = relay.http("GET /s/ada/empty", b"").await;
    assert_eq!((status, body.len()), (200, 0));
    assert!(head.contains("content-length: 0"), "{head}");
}

#[tokio::test]
async fn a_long_value_comes_in_pieces_and_whole() {
    let relay = Relay::start().await;
    let length = 2 * TRANSFER_BYTES as usize + 17;
    let value: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
    assert_eq!(relay.http("PUT /s/ada/long", &value).await.0, 200);
    let (status, head, body) = relay.http("GET /s/ada/long", b"").await;
    assert_eq!(status, 200);
    assert!(head.contains(&format!("content-length: {length}")), "{head}");
    assert!(body == value, "{} bytes of {length}", body.len());
}

#[tokio::test]
async fn what_is_too_long_is_not_written() {
    let stores = Stores::in_memory().unwrap().with_values_up_to(8);
    let relay = Relay::start_over(Config::default(), Default::default(), stores).await;
    assert_eq!(relay.http("PUT /s/ada/k", b"12345678").await.0, 200);
    let (status, _, body) = relay.http("PUT /s/ada/long", b"123456789").await;
    assert_eq!(status, 413);
    assert!(error(&body).contains("at most 8"), "{}", error(&body));
    let head = "PUT /s/ada/long\nContent-Length: 67108865\nExpect: 100-continue";
    let (status, _, body) = relay.http(head, b"").await;
    assert_eq!(status, 413);
    assert!(error(&body).contains("67108864"), "{}", error(&body));
    assert_eq!(relay.http("GET /s/ada/long", b"").await.0, 404);
}

#[tokio::test]
async fn keys_are_any_text_and_users_are_names() {
    let relay = Relay::start().await;
    assert_eq!(relay.http("PUT /s/ada/a%2Fb%20%C3%BC", b"x").await.0, 200);
    assert_eq!(relay.client().await.read("a/b ü").await.as_deref(), Some(&b"x"[..]));
    assert_eq!(relay.http("GET /s/ada/a/b%20%c3%bc", b"").await.2, b"x");
    for path in ["/s/", "/s/ada", "/s/ada/", "/s/.ada/k", "/s/a%20b/k", "/s/ada/%ff", "/s/ada/%4"] {
        let (status, _, body) = relay.http(&format!("PUT {path}"), b"x").await;
        assert_eq!(status, 400, "{path}");
        assert!(error(&body).contains("/s/USER/KEY"), "{}", error(&body));
    }
    let (status, head, _) = relay.http("DELETE /s/ada/k", b"").await;
    assert_eq!(status, 405);
    assert!(head.contains("allow: get, head, put"), "{head}");
}

#[tokio::test]
async fn other_sites_read_and_write_no_state() {
    let config = Config { allow_origins: vec!["https://app.example".into()], ..Config::default() };
    let relay = Relay::start_with(config, Default::default()).await;
    assert_eq!(relay.http("PUT /s/ada/k", b"mine").await.0, 200);
    for method in ["GET", "HEAD", "PUT", "OPTIONS"] {
        let foreign = format!("{method} /s/ada/k\nOrigin: http://evil.test");
        let (status, head, _) = relay.http(&foreign, b"evil").await;
        assert_eq!(status, 403, "{method}");
        assert!(!head.contains("access-control"), "{head}");
        let rebound = format!("{method} /s/ada/k\nHost: evil.test");
        assert_eq!(relay.http(&rebound, b"evil").await.0, 403, "{method}");
    }
    let (status, head, _) = relay.http("OPTIONS /s/ada/k\nOrigin: https://app.example", b"").await;
    assert_eq!(status, 204);
    assert!(head.contains("access-control-allow-methods: put"), "{head}");
    assert!(head.contains("access-control-allow-origin: https://app.example"), "{head}");
    let (_, head, body) = relay.http("GET /s/ada/k\nOrigin: https://app.example", b"").await;
    assert_eq!(body, b"mine");
    assert!(head.contains("access-control-allow-origin: https://app.example"), "{head}");
}

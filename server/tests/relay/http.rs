//! Routes: uploads, static files, and who is kept out.

use crate::fixtures::HELLO;
use crate::support::*;
use faasm_relay::Config;
use faasm_relay::cluster::embedded::EmbeddedConfig;
use tokio_tungstenite::tungstenite::Error;

fn json(body: &[u8]) -> serde_json::Value {
    serde_json::from_slice(body).unwrap()
}

/// Message of an error answer.
fn error(body: &[u8]) -> String {
    json(body)["error"].as_str().unwrap().to_owned()
}

/// Status and message with which opening a WebSocket is refused.
async fn refused(relay: &Relay, headers: &[(&'static str, &str)]) -> (u16, String) {
    match open(relay.address, headers).await.map(drop).unwrap_err() {
        Error::Http(answer) => {
            (answer.status().as_u16(), error(answer.body().as_deref().unwrap_or_default()))
        }
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_page_of_another_site_cannot_hijack_a_websocket() {
    let relay = Relay::start().await;
    let (status, message) = refused(&relay, &[("Origin", "http://evil.test")]).await;
    assert_eq!(status, 403);
    assert!(message.contains("--allow-origin http://evil.test"), "{message}");
    // Another port of this machine is another site.
    let other_port = format!("http://127.0.0.1:{}", relay.address.port() ^ 1);
    assert_eq!(refused(&relay, &[("Origin", &other_port)]).await.0, 403);
    for own in ["127.0.0.1", "localhost", "[::1]"] {
        let origin = format!("http://{own}:{}", relay.address.port());
        open(relay.address, &[("Origin", &origin)]).await.unwrap();
    }
}

#[tokio::test]
async fn a_name_rebound_to_this_machine_does_not_open_it() {
    let relay = Relay::start().await;
    let host = format!("evil.test:{}", relay.address.port());
    let origin = format!("http://{host}");
    let (status, message) = refused(&relay, &[("Host", &host), ("Origin", &origin)]).await;
    assert_eq!(status, 403);
    assert!(message.contains(&format!("--allow-host {host}")), "{message}");
    let wasm = wat::parse_str(HELLO).unwrap();
    let (status, _, body) =
        relay.http(&format!("PUT /f/ada/hello\nHost: {host}\nOrigin: {origin}"), &wasm).await;
    assert_eq!(status, 403);
    assert!(error(&body).contains("--allow-host"));
}

#[tokio::test]
async fn listed_origins_and_hosts_are_let_in() {
    let config = Config {
        allow_origins: vec!["https://app.example".into()],
        allow_hosts: vec!["relay.test".into()],
        ..Config::default()
    };
    let relay = Relay::start_with(config, EmbeddedConfig::default()).await;
    let headers = [("Host", "relay.test"), ("Origin", "https://app.example")];
    open(relay.address, &headers).await.unwrap();
    assert_eq!(refused(&relay, &[("Origin", "https://other.example")]).await.0, 403);
    let wasm = wat::parse_str(HELLO).unwrap();
    let put = "PUT /f/ada/hello\nOrigin: https://app.example";
    let (status, head, _) = relay.http(put, &wasm).await;
    assert_eq!(status, 200);
    assert!(head.contains("access-control-allow-origin: https://app.example"), "{head}");
    let ask = "OPTIONS /f/ada/hello\nOrigin: https://app.example";
    assert_eq!(relay.http(ask, b"").await.0, 204);
    let (status, head, _) = relay.http("OPTIONS /f/ada/hello\nOrigin: http://evil.test", b"").await;
    assert_eq!(status, 403);
    assert!(!head.contains("access-control"), "{head}");
}

#[tokio::test]
async fn an_upload_is_checked_and_then_runs() {
    let relay = Relay::start().await;
    let wasm = wat::parse_str(HELLO).unwrap();
    let (status, _, body) = relay.http("PUT /f/ada/hello", &wasm).await;
    assert_eq!(status, 200);
    let expected = serde_json::json!({
        "user": "ada",
        "function": "hello",
        "integrity": faasm_relay::integrity(&wasm),
        "bytes": wasm.len(),
        "guarded": false,
        "warnings": [],
    });
    assert_eq!(json(&body), expected);
    assert_eq!(relay.call("hello", b"Ada").await, (0, "Hello, Ada".into()));

    let cut = &wasm[..wasm.len() - 3];
    let no_entry = wat::parse_str("(module (memory 1))").unwrap();
    let misdeclared = r#"(module (import "env" "__faasm_push_state" (func (param f32)))
        (memory 1) (func (export "_start")))"#;
    let misdeclared = wat::parse_str(misdeclared).unwrap();
    for bad in [&b""[..], b"not wasm", b"(module)", cut, &no_entry, &misdeclared] {
        let (status, _, body) = relay.http("PUT /f/ada/hello", bad).await;
        assert_eq!(status, 422);
        assert!(error(&body).starts_with("the function was rejected: "));
        assert!(error(&body).ends_with("/docs/errors/cannot-load.md"), "{}", error(&body));
    }
    let still_there = relay.call("hello", b"x").await;
    assert_eq!(still_there, (0, "Hello, x".into()), "what was there stays");
}

#[tokio::test]
async fn uploads_have_valid_names_and_a_bounded_length() {
    let relay = Relay::start().await;
    for path in ["/f/", "/f/ada", "/f/ada/", "/f/a/b/c", "/f/../etc", "/f/ada/.x", "/f/a%20b/c"] {
        let (status, _, body) = relay.http(&format!("PUT {path}"), b"").await;
        assert_eq!(status, 400, "{path}: {}", error(&body));
    }
    let long = "PUT /f/ada/f\nContent-Length: 67108865\nExpect: 100-continue";
    let (status, _, body) = relay.http(long, b"").await;
    assert_eq!(status, 413);
    assert!(error(&body).contains("67108864"));
}

#[tokio::test]
async fn what_is_not_there_and_what_is_not_taken_is_said_in_json() {
    let relay = Relay::start().await;
    assert_eq!(relay.http("GET /healthz", b"").await.0, 200);
    let (status, _, body) = relay.http("GET /nothing", b"").await;
    assert_eq!((status, error(&body).as_str()), (404, "there is nothing at /nothing"));
    for (request, allow) in
        [("POST /healthz", "get, head"), ("POST /f/ada/hello", "get, put"), ("PUT /ws", "get")]
    {
        let (status, head, body) = relay.http(request, b"").await;
        assert_eq!(status, 405, "{request}");
        assert!(head.contains(&format!("allow: {allow}")), "{head}");
        assert!(!error(&body).is_empty());
    }
    assert_eq!(relay.http("GET /ws", b"").await.0, 426);
}

#[tokio::test]
async fn static_files_come_from_one_folder_only() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("web");
    std::fs::create_dir_all(root.join("sub")).unwrap();
    std::fs::write(folder.path().join("secret.txt"), "secret").unwrap();
    std::fs::write(root.join("index.html"), "<p>top").unwrap();
    std::fs::write(root.join("sub/index.html"), "<p>sub").unwrap();
    std::fs::write(root.join("sub/f.wasm"), b"\0asm").unwrap();
    std::fs::write(root.join(".hidden"), "hidden").unwrap();
    std::os::unix::fs::symlink("../secret.txt", root.join("link.txt")).unwrap();
    let config = Config { web: Some(root), ..Config::default() };
    let relay = Relay::start_with(config, EmbeddedConfig::default()).await;

    let (status, head, body) = relay.http("GET /?query", b"").await;
    assert_eq!((status, body.as_slice()), (200, &b"<p>top"[..]));
    assert!(head.contains("content-type: text/html; charset=utf-8"), "{head}");
    assert!(head.contains("cache-control: no-cache"), "{head}");
    assert!(!head.contains("access-control"), "{head}");
    let (status, head, body) = relay.http("GET /sub/f.wasm", b"").await;
    assert_eq!((status, body.as_slice()), (200, &b"\0asm"[..]));
    assert!(head.contains("content-type: application/wasm"), "{head}");
    let tag = head.lines().find_map(|line| line.strip_prefix("etag: ")).unwrap();
    let again = format!("GET /sub/f.wasm\nIf-None-Match: \"other\", {tag}");
    let (status, _, body) = relay.http(&again, b"").await;
    assert_eq!((status, body.as_slice()), (304, &b""[..]));
    let (status, head, body) = relay.http("HEAD /sub/f.wasm", b"").await;
    assert_eq!((status, body.as_slice()), (200, &b""[..]));
    assert!(head.contains("content-length: 4"), "{head}");

    let (status, head, _) = relay.http("GET /sub", b"").await;
    assert_eq!(status, 301);
    assert!(head.contains("location: /sub/"), "{head}");
    assert_eq!(relay.http("GET /sub/", b"").await.2, b"<p>sub");

    for path in [
        "/../secret.txt",
        "/..%2fsecret.txt",
        "/%2e%2e/secret.txt",
        "/sub/..%2f..%2fsecret.txt",
        "/sub/%2e%2e/%2e%2e/secret.txt",
        "/..%5csecret.txt",
        "//secret.txt",
        "/link.txt",
        "/.hidden",
        "/sub/f.wasm/",
        "/sub/none",
        "/%00",
        "/sub%",
    ] {
        let (status, _, body) = relay.http(&format!("GET {path}"), b"").await;
        assert_eq!(status, 404, "{path}: {}", String::from_utf8_lossy(&body));
    }
}

//! `faasm-asyncify upload`, against servers of the test's own.

use super::{Bench, Outcome, WAITING};
use std::io::{Read, Write};
use std::net::TcpListener;

/// Uploads to a server that answers with this status line and body; also returns what the server received.
fn upload(bench: &Bench, more: &[&str], status: &str, body: &str) -> (Outcome, Vec<u8>) {
    let length = wat::parse_str(WAITING).unwrap().len();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = format!("http://{}/", listener.local_addr().unwrap());
    let answer = format!(
        "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = Vec::new();
        let mut byte = [0];
        while !request.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte).unwrap();
            request.push(byte[0]);
        }
        let mut wasm = vec![0; length];
        stream.read_exact(&mut wasm).unwrap();
        stream.write_all(answer.as_bytes()).unwrap();
        request.extend(wasm);
        request
    });
    let arguments = [&["--to", &to, "--user", "demo"], more].concat();
    let outcome = bench.run("upload", &bench.wat("chain.wasm", WAITING), &arguments);
    (outcome, server.join().unwrap())
}

fn stored(wasm: &[u8]) -> String {
    let integrity = faasm_asyncify::integrity(wasm);
    format!(r#"{{"user":"demo","function":"chain","integrity":"{integrity}","bytes":1}}"#)
}

#[test]
fn an_upload_puts_the_original_on_a_relay_or_an_upload_server() {
    let bench = Bench::new();
    let wasm = wat::parse_str(WAITING).unwrap();
    let (outcome, request) = upload(&bench, &["--name", "other"], "200 OK", &stored(&wasm));
    assert_eq!((outcome.status, outcome.stderr.as_str()), (0, ""));
    assert!(outcome.stdout.ends_with("/f/demo/other (relay)\n"), "{}", outcome.stdout);
    assert!(request.starts_with(b"PUT /f/demo/other HTTP/1.1\r\n"));
    assert!(request.ends_with(&wasm));

    let (outcome, request) = upload(&bench, &[], "200 OK", "Function upload complete");
    assert_eq!((outcome.status, outcome.stderr.as_str()), (0, ""));
    assert!(outcome.stdout.contains("upload server: Function upload complete"));
    assert!(request.starts_with(b"PUT /f/demo/chain HTTP/1.1\r\n") && request.ends_with(&wasm));
}

#[test]
fn a_token_is_sent_to_the_relay() {
    let bench = Bench::new();
    let wasm = wat::parse_str(WAITING).unwrap();
    let has = |request: &[u8], header: &str| {
        String::from_utf8_lossy(request).to_ascii_lowercase().contains(header)
    };
    let (outcome, request) = upload(&bench, &["--token", "a.b.c"], "200 OK", &stored(&wasm));
    assert_eq!((outcome.status, outcome.stderr.as_str()), (0, ""));
    assert!(has(&request, "\r\nauthorization: bearer a.b.c\r\n"));
    let (_, request) = upload(&bench, &[], "200 OK", &stored(&wasm));
    assert!(!has(&request, "authorization"));
}

#[test]
fn errors_of_the_server_are_shown() {
    let bench = Bench::new();
    for (status, body, parts) in [
        ("413 Too Large", "too large", ["413", "too large"]),
        ("404 Not Found", "", ["404", "8002"]),
        ("200 OK", "<!doctype html>", ["returned a web page", "--to"]),
        ("200 OK", &stored(b"other"), ["stored different bytes", "upload it again"]),
    ] {
        let (outcome, _) = upload(&bench, &[], status, body);
        assert_eq!((outcome.status, outcome.stdout.as_str()), (1, ""));
        for part in parts {
            assert!(outcome.stderr.contains(part), "no `{part}` in: {}", outcome.stderr);
        }
    }
}

#[test]
fn an_unreachable_server_is_reported() {
    let bench = Bench::new();
    let input = bench.wat("chain.wasm", WAITING);
    // Bound and closed: nothing listens on this port.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let to = format!("http://127.0.0.1:{port}/");
    let outcome = bench.run("upload", &input, &["--to", &to, "--user", "demo"]);
    assert_eq!(outcome.status, 1);
    let url = format!("http://127.0.0.1:{port}/f/demo/chain");
    assert!(outcome.stderr.contains(&url), "{}", outcome.stderr);
}

#[test]
fn uploads_that_a_cluster_would_reject_are_not_sent() {
    let bench = Bench::new();
    let input = bench.wat("chain.wasm", WAITING);
    let nowhere = ["--to", "http://127.0.0.1:1", "--user", "demo"];
    assert_eq!(bench.run("build", &input, &[]).status, 0);
    for built in ["chain.wasm", "chain.asyncify.wasm"] {
        let outcome = bench.run("upload", &bench.out().join(built), &nowhere);
        assert_eq!(outcome.status, 1);
        for part in ["already instrumented", "original"] {
            assert!(outcome.stderr.contains(part), "no `{part}` in: {}", outcome.stderr);
        }
    }
    for (more, part) in [
        (&["--name", "a/b"][..], "the function's name cannot be `a/b`"),
        (&["--user", "../x"], "--user cannot be `../x`"),
        (&["--to", "localhost:8080"], "starts with http://"),
    ] {
        let options = [("--to", "http://127.0.0.1:1"), ("--user", "demo")];
        let options = options.iter().filter(|(name, _)| !more.contains(name));
        let options: Vec<&str> = options.flat_map(|(name, value)| [*name, *value]).collect();
        let outcome = bench.run("upload", &input, &[&options, more].concat());
        assert_eq!(outcome.status, 1, "{}", outcome.stderr);
        assert!(outcome.stderr.contains(part), "no `{part}` in: {}", outcome.stderr);
    }
}

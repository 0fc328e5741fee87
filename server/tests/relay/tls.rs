//! TLS: HTTP and WebSockets over it, and certificates that change.

use crate::support::*;
use faasm_bridge::session::{ClientEvent, ClientSession};
use faasm_relay::cluster::embedded::EmbeddedConfig;
use faasm_relay::{Config, Limits, Tls};
use futures_util::{SinkExt, StreamExt};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto};
use tokio_rustls::{TlsConnector, rustls};
use tokio_tungstenite::tungstenite::Message;

/// A certificate for `localhost` in two files, and what a client that trusts it has.
pub(crate) struct Certificate {
    pub(crate) folder: TempDir,
    pub(crate) der: CertificateDer<'static>,
}

impl Certificate {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let der = write(folder.path());
        Self { folder, der }
    }

    fn load(&self) -> Tls {
        let file = |name| self.folder.path().join(name);
        Tls::load(file("certificate.pem"), file("key.pem")).unwrap()
    }
}

/// Writes a new certificate and its key.
fn write(folder: &Path) -> CertificateDer<'static> {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    std::fs::write(folder.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    std::fs::write(folder.join("certificate.pem"), made.cert.pem()).unwrap();
    made.cert.der().clone()
}

/// Shakes hands, trusting this certificate only.
pub(crate) async fn connect(
    address: SocketAddr,
    trusted: &CertificateDer<'static>,
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let provider = Arc::new(crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

/// A request and its whole answer.
pub(crate) async fn ask(stream: &mut TlsStream<TcpStream>, request: &str) -> String {
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let read = tokio::time::timeout(LONG, stream.read_to_end(&mut answer)).await;
    read.expect("an answer in time").unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

async fn relay(tls: Tls) -> Relay {
    let limits = Limits { header_time: Duration::from_secs(3), ..Limits::default() };
    let config = Config { tls: Some(tls), limits, ..Config::default() };
    Relay::start_with(config, EmbeddedConfig::default()).await
}

#[tokio::test]
async fn pages_come_by_https_and_wss() {
    let certificate = Certificate::new();
    let relay = relay(certificate.load()).await;
    let host = format!("localhost:{}", relay.address.port());
    let mut stream = connect(relay.address, &certificate.der).await.unwrap();
    let request = format!("GET /healthz HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    let answer = ask(&mut stream, &request).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");

    let open = async |origin: String| {
        use tokio_tungstenite::tungstenite::client::IntoClientRequest;
        let stream = connect(relay.address, &certificate.der).await.unwrap();
        let mut request = format!("wss://{host}/ws").into_client_request().unwrap();
        request.headers_mut().insert("origin", origin.parse().unwrap());
        tokio_tungstenite::client_async(request, stream).await
    };
    assert!(open(format!("http://{host}")).await.is_err(), "the same page in plain text");
    let (mut socket, _) = open(format!("https://{host}")).await.unwrap();
    let mut machine = ClientSession::new(USER, None);
    machine.connected().unwrap();
    let hello = machine.transmit().unwrap();
    socket.send(Message::binary(hello)).await.unwrap();
    let Some(Ok(Message::Binary(answer))) = socket.next().await else { panic!("no answer") };
    let event = machine.receive(&answer).unwrap();
    assert_eq!(event, Some(ClientEvent::Open { lost: vec![] }));
}

#[tokio::test]
async fn plain_text_and_silence_are_let_go() {
    let certificate = Certificate::new();
    let relay = relay(certificate.load()).await;
    for bytes in [&b"GET /healthz HTTP/1.1\r\n\r\n"[..], b""] {
        let mut stream = TcpStream::connect(relay.address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let mut answer = Vec::new();
        let read = tokio::time::timeout(LONG, stream.read_to_end(&mut answer)).await;
        let _ = read.expect("it is closed");
        assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    }
}

#[tokio::test]
async fn a_certificate_that_changes_is_taken_up() {
    let certificate = Certificate::new();
    let tls = certificate.load().checked_every(Duration::from_millis(20));
    let relay = relay(tls.clone()).await;
    connect(relay.address, &certificate.der).await.unwrap();
    let newer = write(certificate.folder.path());
    let began = std::time::Instant::now();
    while connect(relay.address, &newer).await.is_err() {
        assert!(began.elapsed() < LONG, "it is never taken up");
    }
    assert!(connect(relay.address, &certificate.der).await.is_err(), "the one before is gone");

    // One that is no use does no harm.
    let other = Certificate::new();
    let key = std::fs::read(other.folder.path().join("key.pem")).unwrap();
    for (bad, why) in [
        (&key[..], "are not a valid"),
        (b"", "no PEM private key"),
        (b"-----BEGIN", "no PEM private key"),
    ] {
        std::fs::write(certificate.folder.path().join("key.pem"), bad).unwrap();
        let problem = tls.reload().unwrap_err().to_string();
        assert!(problem.contains(why), "{why}: {problem}");
        connect(relay.address, &newer).await.unwrap();
    }
    let newest = write(certificate.folder.path());
    tls.reload().unwrap();
    connect(relay.address, &newest).await.unwrap();
}

#[test]
fn files_without_a_certificate_say_so() {
    let certificate = Certificate::new();
    let file = |name: &str| certificate.folder.path().join(name);
    let load = |one: &str, other: &str| Tls::load(file(one), file(other)).unwrap_err().to_string();
    assert!(load("missing.pem", "key.pem").contains("missing.pem: "));
    assert!(load("key.pem", "key.pem").contains("key.pem: the file has no PEM certificate"));
    assert!(load("certificate.pem", "certificate.pem").contains("no PEM private key"));
    let expected = rustls::Error::InconsistentKeys(rustls::InconsistentKeys::KeyMismatch);
    std::fs::copy(Certificate::new().folder.path().join("key.pem"), file("other.pem")).unwrap();
    assert!(load("certificate.pem", "other.pem").contains(&expected.to_string()));
}

//! The program: its settings for a cluster, a relay in front of one, and the doctor.

use super::*;
use crate::fixtures::HELLO;
use faasm_redis_server::RedisServer;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Output, Stdio};

fn program(arguments: &[&str]) -> Command {
    let mut relay = Command::new(env!("CARGO_BIN_EXE_faasm-relay"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("FAASM_RELAY_")) {
        relay.env_remove(name);
    }
    relay.args(arguments);
    relay
}

/// What it prints, and whether it found nothing wrong.
async fn doctor(settings: &[String]) -> (bool, String) {
    let folder = tempfile::tempdir().unwrap();
    let mut doctor = program(&["doctor", "--set"]);
    doctor.arg(format!("data={}", folder.path().join("data").display()));
    for setting in settings {
        doctor.args(["--set", setting]);
    }
    // The stand-in answers from this thread.
    let output: Output =
        tokio::task::spawn_blocking(move || doctor.output().unwrap()).await.unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(matches!(output.status.code(), Some(0 | 1)), "{shown}");
    (output.status.code() == Some(0), shown)
}

fn of(cluster: &Cluster) -> Vec<String> {
    let (planner, upload) = (cluster.planner.url(), cluster.upload.url());
    vec![format!("cluster.planner={planner}"), format!("cluster.upload={upload}")]
}

#[tokio::test]
async fn the_doctor_finds_nothing_wrong_with_a_cluster_that_is_well() {
    let cluster = Cluster::start().await;
    let (is_well, shown) = doctor(&of(&cluster)).await;
    assert!(is_well, "{shown}");
    for expected in [
        "ok     settings: ",
        "ok     data folder ",
        "ok     planner http://",
        "it is 10.77.0.1",
        "1 workers, 0 of 4 slots",
        "ok     upload server http://",
        "no problems",
    ] {
        assert!(shown.contains(expected), "{expected} in\n{shown}");
    }
    assert_eq!(cluster.count("EXECUTE_BATCH"), 0, "it only looks");
}

#[tokio::test]
async fn the_doctor_says_what_is_wrong_with_each_part() {
    let setup = Setup { workers: vec![], ..Setup::default() };
    let cluster = Cluster::start_with(setup).await;
    cluster.upload.abort();
    let (is_well, shown) = doctor(&of(&cluster)).await;
    assert!(!is_well, "{shown}");
    for expected in
        ["ok     settings", "no workers", "WRONG  upload server", "8002", "2 parts have problems"]
    {
        assert!(shown.contains(expected), "{expected} in\n{shown}");
    }
    cluster.planner.abort();
    let (_, shown) = doctor(&of(&cluster)).await;
    assert!(shown.contains("WRONG  planner") && shown.contains("8080"), "{shown}");
}

#[tokio::test]
async fn the_doctor_tells_a_planner_from_something_else_and_a_reset_one() {
    let cluster = Cluster::lenient().await.with(&[("gate", crate::fixtures::GATE)]).await;
    // The upload server is no planner.
    let upload = cluster.upload.url();
    let swapped = vec![format!("cluster.planner={upload}"), format!("cluster.upload={upload}")];
    let (is_well, shown) = doctor(&swapped).await;
    assert!(!is_well && shown.contains("is invalid"), "{shown}");
    let front = cluster.relay().await;
    let mut client = front.client().await;
    client.send(crate::support::main("gate"), b"").await;
    cluster.gate_reached(1).await;
    let planner: SocketAddr = cluster.planner.url()[7..].parse().unwrap();
    request(planner, "POST", "/", br#"{"http_type":"RESET"}"#.to_vec()).await;
    let (is_well, shown) = doctor(&of(&cluster)).await;
    assert!(!is_well && shown.contains("-1 used slots"), "{shown}");
    cluster.open_gate().await;
}

#[tokio::test]
async fn the_doctor_looks_at_the_embedded_cluster_where_there_is_no_other() {
    let (is_well, shown) = doctor(&[]).await;
    assert!(is_well && shown.contains("ok     embedded cluster"), "{shown}");
    let (is_well, shown) = doctor(&["limits.sessions=none".to_owned()]).await;
    assert!(!is_well && shown.contains("WRONG  settings: ") && shown.contains("limits.sessions"));
}

#[test]
fn the_doctor_takes_the_flags_of_serve() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let (data, web) = (data.to_str().unwrap(), folder.path().join("missing"));
    let mut flags = vec!["doctor", "--data", data, "--redis", "redis://127.0.0.1:1"];
    let output = program(&flags).output().unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(shown.contains("WRONG  Redis: ") && shown.contains("1 part has a problem"), "{shown}");

    flags.truncate(3);
    assert_eq!(program(&flags).output().unwrap().status.code(), Some(0));
    flags.extend(["--web", web.to_str().unwrap()]);
    let output = program(&flags).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(shown.contains("WRONG  settings: web is") && shown.contains("--web DIR"), "{shown}");
}

#[tokio::test]
async fn the_doctor_looks_at_redis() {
    let mut redis = RedisServer::start().unwrap();
    let cluster = Cluster::start().await;
    let planner = format!("cluster.planner={}", cluster.planner.url());
    let settings = [planner, format!("store.redis={}", redis.url())];
    let (is_well, shown) = doctor(&settings).await;
    assert!(is_well && shown.contains("ok     Redis: it responds"), "{shown}");
    redis.kill().unwrap();
    let (is_well, shown) = doctor(&settings).await;
    assert!(!is_well && shown.contains("WRONG  Redis") && shown.contains("REDIS_STATE_HOST"));
    assert!(shown.contains("1 part has a problem"), "{shown}");
}

#[test]
fn all_that_is_wrong_with_a_clusters_settings_is_told_at_once() {
    let wrong = [
        (
            vec!["cluster.planner=planner:8080", "cluster.upload=https://u"],
            "planner: `planner:8080`",
        ),
        (vec!["cluster.planner=planner:8080", "cluster.upload=https://u"], "upload: `https://u`"),
        (vec!["cluster.upload=http://u:8002"], "cluster.upload requires cluster.planner"),
        (vec!["cluster.planner=http://p:8080"], "where the cluster keeps state"),
        (vec!["cluster.polls=0"], "cluster.polls"),
        (vec!["cluster.app=session"], "`session` is not page or run"),
    ];
    for (settings, expected) in wrong {
        let mut serve = program(&["serve", "--check-config", "--data", "/nowhere"]);
        for setting in settings {
            serve.args(["--set", setting]);
        }
        let output = serve.output().unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(told.contains(expected), "{expected} in {told}");
    }
}

/// Killed when it is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn serve_puts_a_relay_in_front_of_a_cluster() {
    let cluster = Cluster::start().await;
    let folder = tempfile::tempdir().unwrap();
    let mut serve = program(&["serve", "--listen", "127.0.0.1:0", "--data"]);
    serve.arg(folder.path()).stdout(Stdio::piped()).stderr(Stdio::null());
    for setting in of(&cluster) {
        serve.args(["--set", &setting]);
    }
    let mut running = Running(serve.spawn().unwrap());
    let stdout = running.0.stdout.take().unwrap();
    let first = tokio::task::spawn_blocking(move || {
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).unwrap();
        line
    });
    let line = first.await.unwrap();
    let address = line.trim_end().strip_prefix("listening on http://").unwrap();
    let address: SocketAddr = address.strip_suffix('/').unwrap().parse().unwrap();
    let (status, body) = put(address, "/f/ada/hello", wat::parse_str(HELLO).unwrap()).await;
    assert_eq!(status, 200, "{body}");
    let mut client = Client::new(Kind::WebSocket);
    assert_eq!(client.connect(address).await, ClientEvent::Open { lost: vec![] });
    assert_eq!(client.call("hello", b"Ada").await, (0, "Hello, Ada".into()));
    assert_eq!(cluster.count("EXECUTE_BATCH"), 1);
    // Its state is the cluster's.
    assert_eq!(client.write("k", b"abc").await, Reply::Done);
    let there = cluster.stores.state.read(USER, "k", 0, None).await.unwrap();
    assert_eq!(there.chunk.bytes, b"abc"[..]);
}

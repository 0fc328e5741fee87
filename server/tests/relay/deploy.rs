//! `server/deploy`: what its files give the relay are settings that there are, and make a relay that would start.

use crate::support::*;
use std::path::Path;
use std::process::Command;

const UNIT: &str = include_str!("../../deploy/faasm-relay.service");
const SETTINGS: &str = include_str!("../../deploy/relay.toml");
const DOCKERFILE: &str = include_str!("../../deploy/Dockerfile");
const COMPOSE: &str = include_str!("../../deploy/compose.yaml");
const COMPOSE_REDIS: &str = include_str!("../../deploy/compose.redis.yaml");

/// A public key, made as the manual says.
const PUBLIC_KEY: &str = "-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=
-----END PUBLIC KEY-----
";

/// What the relay says it would do with these arguments and variables.
fn check(arguments: &[String], variables: &[(String, String)]) -> String {
    let mut relay = Command::new(env!("CARGO_BIN_EXE_faasm-relay"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("FAASM_RELAY_")) {
        relay.env_remove(name);
    }
    let output = relay.args(arguments).arg("--check-config").envs(variables.iter().cloned());
    let output = output.output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{stderr}");
    String::from_utf8(output.stdout).unwrap()
}

fn with_key(folder: &Path) -> String {
    let key = folder.join("public.pem");
    std::fs::write(&key, PUBLIC_KEY).unwrap();
    key.to_str().unwrap().to_owned()
}

#[test]
fn the_unit_starts_a_relay() {
    let folder = tempfile::tempdir().unwrap();
    let settings = folder.path().join("relay.toml");
    let key = with_key(folder.path());
    let changed = SETTINGS.replace("/etc/faasm-relay/public.pem", &key);
    assert_ne!(changed, SETTINGS, "the key is where this test put it");
    std::fs::write(&settings, changed).unwrap();
    let start = UNIT.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap();
    let mut words = start.split(' ');
    assert_eq!(words.next(), Some("/usr/local/bin/faasm-relay"));
    let arguments: Vec<String> = words
        .map(|word| word.replace("/etc/faasm-relay/relay.toml", settings.to_str().unwrap()))
        .map(|word| word.replace("%S", "/var/lib"))
        .collect();
    let shown = check(&arguments, &[]);
    assert!(shown.contains(r#"data = "/var/lib/faasm-relay""#), "{shown}");
    assert!(shown.contains("relay.example.org"), "{shown}");
    // The relay compiles functions, and lets them end before it is killed.
    assert!(UNIT.contains("\nMemoryDenyWriteExecute=no\n"));
    assert!(UNIT.contains("\nTimeoutStopSec=60\n"));
}

/// What a container of a compose file has, and the arguments of its relay; secrets are in the folder.
fn container(compose: &str, secrets: &Path) -> (Vec<String>, Vec<(String, String)>) {
    let image = DOCKERFILE.lines().filter_map(|line| line.strip_prefix("ENV ")?.split_once('='));
    let service = compose
        .lines()
        .filter(|line| line.trim_start().starts_with("FAASM_RELAY_"))
        .filter_map(|line| line.trim_start().split_once(": "));
    let variables = image.chain(service).map(|(name, value)| {
        let value = value.trim_matches('"').replace("/run/secrets", secrets.to_str().unwrap());
        (name.to_owned(), value)
    });
    let command = DOCKERFILE.lines().find_map(|line| line.strip_prefix("CMD ")).unwrap();
    (serde_json::from_str(command).unwrap(), variables.collect())
}

#[test]
fn the_container_starts_a_relay() {
    let folder = tempfile::tempdir().unwrap();
    let key = with_key(folder.path());
    let (arguments, variables) = container(COMPOSE, folder.path());
    assert_eq!(variables.len(), 6, "{variables:?}");
    let shown = check(&arguments, &variables);
    for line in [r#"listen = "0.0.0.0:8080""#, r#"data = "/var/lib/faasm-relay""#, &key] {
        assert!(shown.contains(line), "{line}: {shown}");
    }
}

#[test]
fn the_containers_of_several_relays_start_them() {
    let folder = tempfile::tempdir().unwrap();
    let key = with_key(folder.path());
    std::fs::write(folder.path().join("redis-password.txt"), "hidden\n").unwrap();
    let (arguments, variables) = container(COMPOSE_REDIS, folder.path());
    let shown = check(&arguments, &variables);
    for line in [r#"redis = "redis://redis:6379""#, "redis-password.txt", &key] {
        assert!(shown.contains(line), "{line}: {shown}");
    }
    assert!(!shown.contains("hidden"), "{shown}");
}

#[tokio::test]
async fn the_container_looks_after_its_relay() {
    let check = DOCKERFILE.lines().find_map(|line| line.trim().strip_prefix("CMD [\"bash\", "));
    let words: Vec<String> = serde_json::from_str(&format!("[{}", check.unwrap())).unwrap();
    let relay = Relay::start().await;
    let words: Vec<String> = words
        .iter()
        .map(|word| word.replace("127.0.0.1/8080", &format!("127.0.0.1/{}", relay.address.port())))
        .collect();
    let is_well = || async {
        tokio::process::Command::new("bash").args(&words).status().await.unwrap().success()
    };
    assert!(is_well().await);
    relay.stop.send(()).unwrap();
    relay.ended.await.unwrap().unwrap();
    assert!(!is_well().await, "nobody is there");
}

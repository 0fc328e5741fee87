//! The binary's settings: from a file, the environment and flags, to a relay with TLS and tokens.

use crate::support::LONG;
use crate::tls::{Certificate, ask, connect};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

fn relay() -> Command {
    let mut relay = Command::new(env!("CARGO_BIN_EXE_faasm-relay"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("FAASM_RELAY_")) {
        relay.env_remove(name);
    }
    relay
}

/// `serve` with its data in this folder.
fn serve(folder: &Path) -> Command {
    let mut serve = relay();
    serve.arg("serve").arg("--data").arg(folder.join("data"));
    serve
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// What a command that has to fail says.
fn failure(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", stdout(&output));
    String::from_utf8(output.stderr).unwrap()
}

/// A secret, made as the manual says.
fn secret(folder: &Path) -> PathBuf {
    let path = folder.join("secret.txt");
    std::fs::write(&path, "c2VjcmV0cyBhcmUgYXQgbGVhc3QgMzIgYnl0ZXMgbG9uZw==\n").unwrap();
    path
}

/// Killed when it is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A relay that runs, and what it printed first.
fn start(command: &mut Command) -> (Running, String) {
    let command = command.args(["--listen", "127.0.0.1:0"]).stdout(Stdio::piped());
    let mut running = Running(command.stderr(Stdio::null()).spawn().unwrap());
    let mut line = String::new();
    BufReader::new(running.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    (running, line.trim_end().to_owned())
}

#[test]
fn the_configuration_can_be_checked_without_serving() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("relay.toml");
    let secret = secret(folder.path());
    let text = format!(
        "listen = \"0.0.0.0:8443\"\n[tokens]\nsecret_file = {:?}\n[limits]\nsessions = 10\nconnections = 20\n",
        secret.display().to_string()
    );
    std::fs::write(&file, text).unwrap();
    let mut check = serve(folder.path());
    check.arg("--check-config").arg("--config").arg(&file);
    check.env("FAASM_RELAY_LIMITS_SESSIONS", "11").env("FAASM_RELAY_TIMINGS_GRACE", "1.5");
    check.args(["--set", "timings.grace = 2", "--call-timeout", "5", "--allow-host", "a.test"]);
    check.args(["--allow-host", "b.test", "--max-memory", "2"]);
    let checked = check.output().unwrap();
    assert_eq!(checked.status.code(), Some(0), "{checked:?}");
    let shown = stdout(&checked);
    let file = file.display();
    for line in [
        format!("listen = \"0.0.0.0:8443\" # {file}"),
        format!("connections = 20 # {file}"),
        "sessions = 11 # FAASM_RELAY_LIMITS_SESSIONS".into(),
        "grace = 2 # --set timings.grace".into(),
        "call_time = 5 # --call-timeout".into(),
        "memory_bytes = 2097152 # --max-memory".into(),
        "allow_hosts = [\"a.test\", \"b.test\"] # --allow-host".into(),
        "sessions_per_user = 256".into(),
        "# web is not set".into(),
        "[tokens]".into(),
    ] {
        assert!(shown.lines().any(|shown| shown == line), "{line} in\n{shown}");
    }
    assert!(shown.contains("secret.txt") && !shown.contains("c2VjcmV0"), "{shown}");
    assert!(!folder.path().join("data").exists(), "nothing was done");
}

#[test]
fn all_mistakes_are_told_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("relay.toml");
    let text = "listen = \"0.0.0.0:8443\"\nport = 1\n[limits]\nsessions = -1\n[tokens]\nsecret_file = \"/missing/secret\"\n[tls]\nkey_file = \"k\"\n";
    std::fs::write(&file, text).unwrap();
    let mut check = relay();
    check.args(["serve", "--check-config"]).env("FAASM_RELAY_CONFIG", &file);
    check.env("FAASM_RELAY_LISTN", "x").args(["--set", "guests.instances=none"]);
    let told = failure(&mut check);
    for expected in [
        "has 7 mistakes",
        "no setting `port`",
        "limits.sessions: -1 is not",
        "FAASM_RELAY_LISTN: no setting",
        "guests.instances: `none` is not a whole number",
        "/missing/secret: ",
        "tls.certificate_file and tls.key_file",
        "data, the folder for functions and state, is not set",
    ] {
        assert!(told.contains(expected), "{expected} in {told}");
    }
    assert!(!told.contains("without tokens"), "{told}");

    std::fs::write(&file, "listen = \n").unwrap();
    let told = failure(relay().args(["serve", "--check-config", "--config"]).arg(&file));
    assert!(told.contains("not TOML") && told.contains("line 1"), "{told}");
    let told = failure(relay().args(["serve", "--config", "/missing/relay.toml"]));
    assert!(told.contains("/missing/relay.toml: "), "{told}");
    let told = failure(relay().args(["serve", "--set", "listen"]));
    assert!(told.contains("--set listen: give it as KEY=VALUE"), "{told}");
}

#[test]
fn beyond_this_machine_it_takes_tokens_or_a_decision() {
    let folder = tempfile::tempdir().unwrap();
    let check = || {
        let mut check = serve(folder.path());
        check.args(["--check-config", "--listen", "0.0.0.0:0"]);
        check
    };
    let refused = failure(&mut check());
    assert!(refused.contains("without tokens") && refused.contains("--insecure"), "{refused}");
    assert!(check().arg("--insecure").status().unwrap().success());
    let secret = secret(folder.path()).display().to_string();
    assert!(check().env("FAASM_RELAY_TOKENS_SECRET_FILE", &secret).status().unwrap().success());
    let both = format!("tokens.jwks_file={secret}");
    let refused = failure(
        check().env("FAASM_RELAY_TOKENS_SECRET_FILE", &secret).args(["--set", both.as_str()]),
    );
    assert!(refused.contains("set only one of"), "{refused}");
    let refused = failure(check().arg("--insecure").args(["--set", "tokens.issuer=x"]));
    assert!(refused.contains("require a key to check tokens with"), "{refused}");
}

#[tokio::test]
async fn from_nothing_to_tls_with_tokens() {
    let folder = tempfile::tempdir().unwrap();
    let certificate = Certificate::new();
    let secret = secret(folder.path());
    let at = |name: &str| certificate.folder.path().join(name).display().to_string();
    let file = folder.path().join("relay.toml");
    let text = format!(
        "[tokens]\nsecret_file = {:?}\naudience = \"relay\"\n[tls]\ncertificate_file = {:?}\nkey_file = {:?}\n",
        secret.display().to_string(),
        at("certificate.pem"),
        at("key.pem")
    );
    std::fs::write(&file, text).unwrap();
    let (_running, line) = start(serve(folder.path()).arg("--config").arg(&file));
    let address = line.strip_prefix("listening on https://").expect(&line).trim_end_matches('/');
    let address: std::net::SocketAddr = address.parse().unwrap();

    let token = |arguments: &[&str]| {
        let made = relay().arg("token").arg("--key").arg(&secret).args(arguments).output().unwrap();
        assert!(made.status.success(), "{made:?}");
        stdout(&made).trim_end().to_owned()
    };
    let put = async |token: Option<&str>| {
        let wasm = wat::parse_str(r#"(module (memory 1) (func (export "_start")))"#).unwrap();
        let authorization = token.map(|token| format!("Authorization: Bearer {token}\r\n"));
        let head = format!(
            "PUT /f/ada/f HTTP/1.1\r\nHost: localhost:{}\r\n{}Content-Length: {}\r\nConnection: close\r\n\r\n",
            address.port(),
            authorization.unwrap_or_default(),
            wasm.len()
        );
        let mut stream = connect(address, &certificate.der).await.unwrap();
        use tokio::io::AsyncWriteExt;
        stream.write_all(head.as_bytes()).await.unwrap();
        let answer = ask(&mut stream, std::str::from_utf8(&wasm).unwrap());
        let answer = tokio::time::timeout(LONG, answer).await.unwrap();
        answer.split(' ').nth(1).unwrap().to_owned()
    };
    assert_eq!(put(None).await, "401");
    let upload = ["--user", "ada", "--rights", "upload,invoke", "--for", "10m"];
    assert_eq!(put(Some(&token(&upload))).await, "401", "it is not for this audience");
    let with =
        |more: &[&'static str]| token(&[&upload[..], &["--audience", "relay"], more].concat());
    assert_eq!(put(Some(&with(&[]))).await, "200");
    assert_eq!(put(Some(&with(&["--function", "g*"]))).await, "403");
    let page = token(&["--user", "ada", "--audience", "relay"]);
    assert_eq!(put(Some(&page)).await, "403", "uploads have to be asked for");
    let eve = token(&["--user", "eve", "--audience", "relay", "--rights", "upload"]);
    assert_eq!(put(Some(&eve)).await, "403");
}

#[test]
fn keys_are_read_again_on_sighup() {
    let folder = tempfile::tempdir().unwrap();
    let secret = secret(folder.path());
    let mut command = serve(folder.path());
    command.env("FAASM_RELAY_TOKENS_SECRET_FILE", &secret);
    let (running, line) = start(&mut command);
    let address = line.strip_prefix("listening on http://").expect(&line).trim_end_matches('/');
    let key = |text: &str| {
        let path = folder.path().join("new.txt");
        std::fs::write(&path, text).unwrap();
        path
    };
    let new = key("another secret that is long enough for this");
    let made =
        relay().arg("token").arg("--key").arg(&new).args(["--user", "ada"]).output().unwrap();
    let token = stdout(&made).trim_end().to_owned();
    let status = || {
        use std::io::{Read, Write};
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        write!(
            stream,
            "GET /files/a HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.split(' ').nth(1).unwrap().to_owned()
    };
    assert_eq!(status(), "401");
    std::fs::copy(&new, &secret).unwrap();
    assert_eq!(status(), "401", "it was not told to");
    let sent = Command::new("kill").args(["-HUP", &running.0.id().to_string()]).status().unwrap();
    assert!(sent.success());
    let began = std::time::Instant::now();
    while status() != "404" {
        assert!(began.elapsed() < LONG, "the key is never read");
    }
}

#[test]
fn tokens_are_made_of_what_makes_sense() {
    let folder = tempfile::tempdir().unwrap();
    let secret = secret(folder.path());
    let token = |arguments: &[&str]| {
        relay().arg("token").arg("--key").arg(&secret).args(arguments).output().unwrap()
    };
    for (arguments, why) in [
        (&["--user", "a/b"][..], "cannot name a user"),
        (&["--user", "a", "--rights", "admin"], "the rights are invoke"),
        (&["--user", "a", "--for", "1y"], "a number of s, m, h or d"),
        (&["--user", "a", "--for", "0s"], "a number of s, m, h or d"),
        (&["--user", "a", "--for", "367d"], "a number of s, m, h or d"),
        (&["--user", "a", "--for", ""], "a number of s, m, h or d"),
    ] {
        let refused = token(arguments);
        assert!(!refused.status.success());
        let told = String::from_utf8(refused.stderr).unwrap();
        assert!(told.contains(why), "{arguments:?}: {told}");
    }
    std::fs::write(&secret, "-----BEGIN PUBLIC KEY-----\n").unwrap();
    let told = String::from_utf8(token(&["--user", "a"]).stderr).unwrap();
    assert!(told.contains("a public key"), "{told}");
}

#[test]
fn the_password_of_redis_is_in_a_file_and_never_shown() {
    let folder = tempfile::tempdir().unwrap();
    let password = folder.path().join("password.txt");
    std::fs::write(&password, "hidden\n").unwrap();
    let check = |settings: &[&str]| {
        let mut check = relay();
        check.args(["serve", "--check-config"]);
        for setting in settings {
            check.args(["--set", setting]);
        }
        check
    };
    let file = format!("store.redis_password_file={}", password.display());
    let checked = check(&["store.redis=redis://host:6379/2", &file]).output().unwrap();
    let shown = stdout(&checked);
    assert_eq!(checked.status.code(), Some(0), "{checked:?}");
    assert!(shown.contains("[store]\nredis = \"redis://host:6379/2\""), "{shown}");
    assert!(shown.contains("password.txt") && !shown.contains("hidden"), "{shown}");
    for (settings, expected) in [
        (&["store.redis=redis://:hidden@host"][..], "store.redis_password_file"),
        (&["store.redis=http://:hidden@host"], "give it as redis://HOST:6379"),
        (&["store.redis=redis://host:6379/hidden"], "give it as redis://HOST:6379"),
        (&["store.redis="], "not the address of a Redis"),
        (&[&file], "requires store.redis, the address of Redis"),
        (&["store.redis=redis://host", "store.redis_password_file=/missing"], "/missing: "),
        (&[], "data, the folder for functions and state, is not set"),
    ] {
        let told = failure(&mut check(settings));
        assert!(told.contains(expected) && !told.contains("hidden"), "{settings:?}: {told}");
    }
}

//! Tokens: which keys and claims are good, and what happens when one expires.

use crate::access::every_request;
use crate::fixtures::*;
use crate::sessions::closed;
use crate::support::*;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use faasm_bridge::session::ClientEvent;
use faasm_bridge::wire::{FailureCode, RefusalCode, Reply, Request};
use faasm_relay::Config;
use faasm_relay::auth::{
    Authority, Claims, Denied, KeyFile, LEEWAY_SECONDS, Right, Signer, TokenSettings,
};
use faasm_relay::cluster::embedded::EmbeddedConfig;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};
use tempfile::TempDir;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// A key of an authority, and the authority that knows it.
pub(crate) struct Keys {
    folder: TempDir,
    pub(crate) signer: Signer,
    /// What everybody may know.
    pub(crate) public: Vec<u8>,
}

impl Keys {
    /// Of Ed25519.
    pub(crate) fn new() -> Self {
        let pair = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        Self::of(&pair.serialize_pem(), &pair.public_key_pem())
    }

    fn of(private: &str, public: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("private.pem"), private).unwrap();
        std::fs::write(folder.path().join("public.pem"), public).unwrap();
        let signer = Signer::load(&folder.path().join("private.pem"), None).unwrap();
        Self { folder, signer, public: public.as_bytes().to_vec() }
    }

    pub(crate) fn authority(&self) -> Authority {
        load(KeyFile::Public(self.folder.path().join("public.pem"))).unwrap()
    }

    pub(crate) async fn relay(&self) -> Relay {
        let config = Config { tokens: Some(self.authority()), ..Config::default() };
        Relay::start_with(config, EmbeddedConfig::default()).await
    }

    pub(crate) fn token(&self, claims: &Claims) -> String {
        self.signer.sign(claims).unwrap()
    }
}

/// For an hour.
pub(crate) fn claims(user: &str) -> Claims {
    Claims { user: user.into(), expiry: now() + 3600, ..Claims::default() }
}

fn load(key: KeyFile) -> Result<Authority, String> {
    let settings = TokenSettings { key, audience: None, issuer: None };
    Authority::load(settings).map_err(|error| error.to_string())
}

/// A token with any header and claims.
pub(crate) fn forge(header: &Value, claims: &Value, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", part(header), part(claims));
    let signature = URL_SAFE_NO_PAD.encode(sign(message.as_bytes()));
    format!("{message}.{signature}")
}

/// HS256 with these bytes as secret.
pub(crate) fn hs256(secret: &[u8]) -> impl Fn(&[u8]) -> Vec<u8> {
    use ring::hmac;
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    move |message| hmac::sign(&key, message).as_ref().to_vec()
}

const SECRET: &[u8] = b"a secret that is long enough for it";

/// An authority with a secret, and what it says of claims.
struct Secret {
    folder: TempDir,
    authority: Authority,
}

impl Secret {
    fn new(audience: Option<&str>, issuer: Option<&str>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        std::fs::write(&path, [SECRET, b"\r\n"].concat()).unwrap();
        let (audience, issuer) = (audience.map(Into::into), issuer.map(Into::into));
        let settings = TokenSettings { key: KeyFile::Secret(path), audience, issuer };
        Self { folder, authority: Authority::load(settings).unwrap() }
    }

    fn verify(&self, claims: &Value) -> Result<(), Denied> {
        let header = json!({ "alg": "HS256", "typ": "JWT" });
        self.authority.verify(&forge(&header, claims, hs256(SECRET))).map(drop)
    }
}

#[test]
fn what_a_token_says_is_critical_is_understood_or_refused() {
    let secret = Secret::new(None, None);
    let claims = json!({ "user": "ada", "exp": now() + 60 });
    for crit in [json!(["b64"]), json!(["exp"]), json!([]), json!("b64"), json!(null)] {
        let header = json!({ "alg": "HS256", "crit": crit, "b64": false });
        let token = forge(&header, &claims, hs256(SECRET));
        let denied = secret.authority.verify(&token).unwrap_err().to_string();
        assert!(denied.contains("`crit`"), "{crit}: {denied}");
    }
}

#[test]
fn a_time_that_is_none_is_told_as_it_is() {
    let secret = Secret::new(None, None);
    for exp in [json!(1e30), json!(-1), json!(1.8446744073709552e19)] {
        let denied = secret.verify(&json!({ "user": "ada", "exp": exp })).unwrap_err().to_string();
        assert!(denied.contains("its `exp` is not a time"), "{exp}: {denied}");
    }
    let denied = secret.verify(&json!({ "user": "ada", "exp": now() + 60, "nbf": 1e30 }));
    let denied = denied.unwrap_err().to_string();
    assert!(denied.contains("its `nbf` is not a time"), "{denied}");
    secret.verify(&json!({ "user": "ada", "exp": 253_402_300_799_u64 })).unwrap();
}

#[test]
fn each_kind_of_key_checks_what_it_signed_and_nothing_else() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/relay/keys");
    let rsa = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    let p256 = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let keys = [
        Keys::new(),
        Keys::new(),
        Keys::of(&p256.serialize_pem(), &p256.public_key_pem()),
        Keys::of(&rsa("rsa.pem"), &rsa("rsa.pub.pem")),
    ];
    let secret = Secret::new(None, None);
    let by_secret = Signer::load(&secret.folder.path().join("secret"), None).unwrap();
    let signers: Vec<&Signer> = keys.iter().map(|keys| &keys.signer).chain([&by_secret]).collect();
    let mut authorities: Vec<Authority> = keys.iter().map(Keys::authority).collect();
    authorities.push(secret.authority.clone());
    for (i, signer) in signers.iter().enumerate() {
        let token = signer.sign(&claims("ada")).unwrap();
        for (j, authority) in authorities.iter().enumerate() {
            let verified = authority.verify(&token);
            assert_eq!(verified.is_ok(), i == j, "{i} {j}: {verified:?}");
        }
        // Not a bit of it may be another one.
        let (message, signature) = token.rsplit_once('.').unwrap();
        let mut bytes = URL_SAFE_NO_PAD.decode(signature).unwrap();
        bytes[3] ^= 1;
        let token = format!("{message}.{}", URL_SAFE_NO_PAD.encode(bytes));
        let denied = authorities[i].verify(&token).unwrap_err();
        assert!(denied.to_string().contains("signature"), "{denied}");
    }
}

/// Coordinates of a point on P-256, and an Ed25519 key, at the end of their encodings.
fn jwk(pair: &KeyPair, kid: &str) -> Value {
    let bytes = pair.public_key_raw();
    let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    if bytes.len() == 32 {
        return json!({ "kty": "OKP", "crv": "Ed25519", "kid": kid, "x": text(bytes) });
    }
    let (x, y) = (&bytes[1..33], &bytes[33..]);
    json!({ "kty": "EC", "crv": "P-256", "kid": kid, "x": text(x), "y": text(y) })
}

#[test]
fn tokens_name_their_key_in_a_set() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jwks.json");
    let write = |keys: Value| std::fs::write(&path, json!({ "keys": keys }).to_string()).unwrap();
    let [old, new] = [&PKCS_ED25519, &PKCS_ECDSA_P256_SHA256]
        .map(|algorithm| KeyPair::generate_for(algorithm).unwrap());
    let sign = |pair: &KeyPair, kid: Option<&str>| {
        let path = folder.path().join("private.pem");
        std::fs::write(&path, pair.serialize_pem()).unwrap();
        Signer::load(&path, kid.map(Into::into)).unwrap().sign(&claims("ada")).unwrap()
    };
    // A key for something else is passed over.
    let other = json!({ "kty": "EC", "crv": "P-256", "use": "enc", "kid": "e", "x": "", "y": "" });
    write(json!([jwk(&old, "old"), other]));
    let authority = load(KeyFile::Set(path.clone())).unwrap();
    assert!(authority.verify(&sign(&old, Some("old"))).is_ok());
    assert!(authority.verify(&sign(&old, None)).is_ok(), "there is only one");
    assert!(authority.verify(&sign(&old, Some("new"))).is_err());

    write(json!([jwk(&old, "old"), jwk(&new, "new")]));
    assert!(authority.verify(&sign(&new, Some("new"))).is_err(), "it was not read yet");
    authority.reload().unwrap();
    assert!(authority.verify(&sign(&new, Some("new"))).is_ok());
    assert!(authority.verify(&sign(&old, Some("old"))).is_ok());
    for (pair, kid) in [(&new, Some("old")), (&old, Some("new")), (&new, None), (&new, Some("x"))] {
        assert!(authority.verify(&sign(pair, kid)).is_err(), "{kid:?}");
    }

    let mut short = jwk(&new, "short");
    short["x"] = json!("AAAA");
    for (keys, why) in [
        (json!([]), "none of its keys"),
        (json!([jwk(&old, "a"), jwk(&new, "a")]), "another key has the same kid"),
        (json!([short]), "not a P-256 key"),
        (json!([{ "kty": "oct", "k": "c2hvcnQ" }]), "a secret of 5 bytes"),
    ] {
        write(keys);
        let problem = authority.reload().unwrap_err().to_string();
        assert!(problem.contains(why) && problem.contains("jwks.json"), "{why}: {problem}");
    }
    assert!(authority.verify(&sign(&new, Some("new"))).is_ok(), "the keys stay what they were");
}

#[test]
fn rsa_keys_of_a_set_have_no_bytes_of_their_own() {
    let keys = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/relay/keys");
    let jwk = std::fs::read_to_string(keys.join("rsa.jwk.json")).unwrap();
    let jwk: Value = serde_json::from_str(&jwk).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jwks.json");
    std::fs::write(&path, json!({ "keys": [jwk] }).to_string()).unwrap();
    let authority = load(KeyFile::Set(path)).unwrap();
    let signer = Signer::load(&keys.join("rsa.pem"), Some("rsa".into())).unwrap();
    let token = signer.sign(&claims("ada")).unwrap();
    assert!(authority.verify(&token).is_ok());
    let (message, signature) = token.rsplit_once('.').unwrap();
    let reversed: String = signature.chars().rev().collect();
    assert!(authority.verify(&format!("{message}.{reversed}")).is_err());
}

#[test]
fn a_key_file_that_is_no_use_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let pair = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let p384 = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
    type Kind = fn(PathBuf) -> KeyFile;
    let cases: [(Kind, String, &str); 7] = [
        (KeyFile::Public, pair.serialize_pem(), "private key"),
        (KeyFile::Public, p384.public_key_pem(), "not a P-256 key"),
        (KeyFile::Public, "text".into(), "no PEM public key"),
        (
            KeyFile::Public,
            "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----".into(),
            "the public key is not an Ed25519",
        ),
        (KeyFile::Secret, pair.public_key_pem(), "not a secret"),
        (KeyFile::Secret, "short\n".into(), "a secret of 5 bytes can be guessed"),
        (KeyFile::Set, "{}".into(), "not a JSON Web Key Set"),
    ];
    for (kind, text, why) in cases {
        let path = folder.path().join("key");
        std::fs::write(&path, text).unwrap();
        let problem = load(kind(path)).unwrap_err();
        assert!(problem.contains(why), "{why}: {problem}");
    }
    let problem = load(KeyFile::Secret(folder.path().join("missing"))).unwrap_err();
    assert!(problem.contains("missing: "), "{problem}");
}

#[test]
fn claims_are_checked_and_nothing_is_taken_for_granted() {
    let open = Secret::new(None, None);
    let good = json!({ "sub": "ada", "exp": now() + 60 });
    let with = |changes: Value| {
        let mut claims = good.clone();
        for (name, value) in changes.as_object().unwrap() {
            claims[name] = value.clone();
        }
        claims
    };
    let earlier = now() - LEEWAY_SECONDS;
    for fine in [
        json!({}),
        json!({ "exp": (now() as f64) + 0.5 }),
        json!({ "exp": earlier + 10 }),
        json!({ "nbf": now() + LEEWAY_SECONDS - 10 }),
        json!({ "sub": "some@where", "user": "ada" }),
        json!({ "aud": "anybody", "iss": "whoever" }),
        json!({ "rights": [], "functions": [] }),
    ] {
        assert_eq!(open.verify(&with(fine.clone())), Ok(()), "{fine}");
    }
    for (wrong, why) in [
        (json!({ "exp": earlier - 10 }), "expired"),
        (json!({ "exp": null }), "claims"),
        (json!({ "exp": "tomorrow" }), "claims"),
        (json!({ "exp": -1 }), "is invalid"),
        (json!({ "nbf": now() + LEEWAY_SECONDS + 10 }), "nbf"),
        (json!({ "nbf": "later" }), "claims"),
        (json!({ "sub": null }), "neither"),
        (json!({ "sub": 7 }), "claims"),
        (json!({ "sub": "a/b" }), "cannot name a user"),
        (json!({ "user": "" }), "cannot name a user"),
        (json!({ "rights": ["admin"] }), "no right `admin`"),
        (json!({ "rights": "invoke" }), "claims"),
        (json!({ "functions": "f" }), "claims"),
    ] {
        let denied = open.verify(&with(wrong.clone())).unwrap_err().to_string();
        assert!(denied.contains(why), "{wrong}: {denied}");
    }
    let mut endless = good.clone();
    endless.as_object_mut().unwrap().remove("exp");
    assert!(open.verify(&endless).is_err(), "a token ends");

    let strict = Secret::new(Some("relay"), Some("issuer"));
    let right = json!({ "aud": ["x", "relay"], "iss": "issuer" });
    assert_eq!(strict.verify(&with(right)), Ok(()));
    for wrong in [
        json!({}),
        json!({ "aud": "relay" }),
        json!({ "iss": "issuer" }),
        json!({ "aud": "other", "iss": "issuer" }),
        json!({ "aud": "relay", "iss": "other" }),
        json!({ "aud": 7, "iss": "issuer" }),
    ] {
        assert!(strict.verify(&with(wrong.clone())).is_err(), "{wrong}");
    }
    for nonsense in ["", ".", "..", "...", "a.b.c", "ä", &"x".repeat(20_000)] {
        assert!(open.authority.verify(nonsense).is_err(), "{nonsense}");
    }
}

/// A page of Ada's whose handshake is done.
async fn open(relay: &Relay, kind: Kind, token: String) -> Client {
    let mut page = Client::of(USER, Some(token), kind);
    assert_eq!(page.connect(relay.address).await, ClientEvent::Open { lost: vec![] });
    page
}

fn unauthorised((reply, _): (Reply, Vec<u8>)) -> Option<String> {
    match reply {
        Reply::Failed { code: FailureCode::Unauthorised, message } => Some(message),
        _ => None,
    }
}

#[tokio::test]
async fn requests_are_refused_after_a_token_expired_until_there_is_a_fresh_one() {
    let keys = Keys::new();
    for kind in BOTH {
        let relay = keys.relay().await.with(&[("hello", HELLO)]).await;
        // It has expired, and the clocks may differ for two more seconds.
        let late = Claims { expiry: now() - LEEWAY_SECONDS + 2, ..claims(USER) };
        let mut page = open(&relay, kind, keys.token(&late)).await;
        let began = std::time::Instant::now();
        let message = loop {
            // Not a call: of these a user may make so many a second, and this loop makes more.
            let read = Request::ReadState { key: "k".into(), offset: 0, length: None };
            let answer = page.ask(read, b"").await;
            if let Some(message) = unauthorised(answer.clone()) {
                break message;
            }
            assert!(matches!(answer.0, Reply::State { .. }), "{answer:?}");
            assert!(began.elapsed() < LONG, "it is never refused");
        };
        assert!(message.contains("expired"), "{message}");
        for (request, payload) in every_request() {
            let is_free = matches!(request, Request::UnlockState { .. });
            let answer = page.ask(request, payload).await;
            assert_eq!(unauthorised(answer.clone()).is_none(), is_free, "{answer:?}");
        }
        page.cut();
        let refused = page.connect(relay.address).await;
        let expected = RefusalCode::Unauthorised;
        assert!(
            matches!(&refused, ClientEvent::Refused { code, message } if *code == expected && message.contains("expired")),
            "{refused:?}"
        );
        page.cut();
        page.machine.set_token(Some(keys.token(&claims(USER))));
        assert_eq!(page.connect(relay.address).await, ClientEvent::Open { lost: vec![] });
        assert_eq!(page.call("hello", b"again").await, (0, "Hello, again".into()));
    }
}

#[tokio::test]
async fn a_page_is_sent_for_a_fresh_token_and_goes_on_where_it_was() {
    let keys = Keys::new();
    for kind in BOTH {
        let relay = keys.relay().await.with(&[("gate", GATE)]).await;
        let mut other = open(&relay, kind, keys.token(&claims(USER))).await;
        let soon = Claims { expiry: now() + 2, ..claims(USER) };
        let mut page = open(&relay, kind, keys.token(&soon)).await;
        let call = page.send(main("gate"), b"").await;
        while other.read("count").await != Some(vec![1]) {}
        match kind {
            Kind::WebSocket => {
                let mut socket = page.take_socket();
                assert_eq!(closed(&mut socket).await, Some(CloseCode::Policy));
            }
            Kind::Fetch => drop(page.try_event().await.unwrap_err()),
        }
        page.cut();
        page.machine.set_token(Some(keys.token(&claims(USER))));
        assert_eq!(page.connect(relay.address).await, ClientEvent::Open { lost: vec![] });
        assert_eq!(other.write("gate", &[7]).await, Reply::Done);
        assert_eq!(returned(page.reply(call).await).0, 7, "it ran on");
        assert_eq!(other.read("count").await, Some(vec![1]), "once");
    }
}

#[tokio::test]
async fn a_session_acts_by_the_newest_token() {
    let keys = Keys::new();
    let relay = keys.relay().await.with(&[("hello", HELLO)]).await;
    let mut page = open(&relay, Kind::WebSocket, keys.token(&claims(USER))).await;
    assert_eq!(page.call("hello", b"x").await.0, 0);
    page.cut();
    let less = Claims { rights: Some(vec![Right::StateRead]), ..claims(USER) };
    page.machine.set_token(Some(keys.token(&less)));
    assert_eq!(page.connect(relay.address).await, ClientEvent::Open { lost: vec![] });
    let message = unauthorised(page.ask(main("hello"), b"x").await).unwrap();
    assert!(message.contains("`invoke`"), "{message}");
    assert_eq!(page.read("k").await, None);
}

#[tokio::test]
async fn a_token_can_be_for_some_functions_and_what_they_chain() {
    let keys = Keys::new();
    let relay = keys.relay().await.with(&[("hello", HELLO), ("deep", DEEP)]).await;
    let functions = Some(vec!["he*".into(), "report".into()]);
    let mut page =
        open(&relay, Kind::WebSocket, keys.token(&Claims { functions, ..claims(USER) })).await;
    assert_eq!(page.call("hello", b"x").await.0, 0);
    let message = unauthorised(page.ask(main("deep"), b"").await).unwrap();
    assert!(message.contains("function `deep`"), "{message}");

    const CALLER: &str = r#"(module
        (import "env" "__faasm_chain_name" (func $chain (param i32 i32 i32) (result i32)))
        (import "env" "__faasm_await_call" (func $await (param i32) (result i32)))
        (memory 1)
        (data (i32.const 0) "hello\00")
        (func (export "main") (result i32)
            (call $await (call $chain (i32.const 0) (i32.const 0) (i32.const 0)))))"#;
    let relay = keys.relay().await.with(&[("hello", HELLO), ("caller", CALLER)]).await;
    let functions = Some(vec!["caller".into()]);
    let token = keys.token(&Claims { functions, ..claims(USER) });
    let mut page = open(&relay, Kind::WebSocket, token).await;
    assert!(unauthorised(page.ask(main("hello"), b"").await).is_some());
    assert_eq!(page.call("caller", b"").await.0, 0, "what it chains is its own affair");
}

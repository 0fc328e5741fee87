//! Tokens and the keys that verify them. Damage never makes a token valid: an accepted token is exactly one that was
//! signed.

use super::{file, told};
use crate::random::Rng;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use faasm_relay::auth::{Authority, Claims, KeyFile, Right, Signer, TokenSettings};
use ring::hmac;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::OnceLock;

const SECRET: &[u8] = b"a secret of the fuzzer, and of nobody else";
const OTHER_SECRET: &[u8] = b"what somebody else signs tokens with: not us";
const ED25519_SEED: [u8; 32] = [42; 32];

/// The bytes before the seed in PKCS #8, and before the public key in X.509 (RFC 8410).
const PRIVATE_PREFIX: [u8; 16] =
    [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
const PUBLIC_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 3, 0x21, 0];

/// In 2100, seconds since 1970.
const LATE: u64 = 4_102_444_800;

/// Keys in their file formats.
struct Keys {
    private: String,
    public: String,
    set: String,
}

/// Keys that verify tokens, and tokens.
struct World {
    authorities: Vec<Authority>,
    good: Vec<String>,
    /// Expired, signed by another key, or unsigned.
    bad: Vec<String>,
    /// The signed part of the good tokens.
    signed: BTreeSet<String>,
}

fn pem(label: &str, prefix: &[u8], key: &[u8]) -> String {
    let text = STANDARD.encode([prefix, key].concat());
    format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n")
}

fn keys() -> Result<Keys, String> {
    let pair = Ed25519KeyPair::from_seed_unchecked(&ED25519_SEED)
        .map_err(|error| format!("the fuzzer's key: {error}"))?;
    let public = pair.public_key().as_ref();
    let set = serde_json::json!({ "keys": [
        { "kty": "OKP", "crv": "Ed25519", "kid": "ed", "alg": "EdDSA", "x": URL_SAFE_NO_PAD.encode(public) },
        { "kty": "oct", "kid": "hs", "use": "sig", "k": URL_SAFE_NO_PAD.encode(SECRET) },
        { "kty": "EC", "crv": "P-384", "x": "", "y": "" },
    ]});
    Ok(Keys {
        private: pem("PRIVATE KEY", &PRIVATE_PREFIX, &ED25519_SEED),
        public: pem("PUBLIC KEY", &PUBLIC_PREFIX, public),
        set: set.to_string(),
    })
}

fn authority(key: KeyFile) -> Result<Authority, String> {
    let settings = TokenSettings { key, audience: None, issuer: None };
    Authority::load(settings).map_err(|error| error.to_string())
}

/// Signs with HS256 regardless of the header.
fn forged(header: &str, claims: &str, key: &[u8]) -> String {
    let text = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part)).join(".");
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes());
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(tag))
}

fn world() -> Result<&'static World, String> {
    static WORLD: OnceLock<Result<World, String>> = OnceLock::new();
    WORLD.get_or_init(make_world).as_ref().map_err(Clone::clone)
}

fn make_world() -> Result<World, String> {
    let keys = keys()?;
    let secret = file("world.secret", SECRET)?;
    let private = file("world.private", keys.private.as_bytes())?;
    let authorities = [
        KeyFile::Secret(secret.clone()),
        KeyFile::Public(file("world.public", keys.public.as_bytes())?),
        KeyFile::Set(file("world.set", keys.set.as_bytes())?),
    ];
    let authorities = authorities.into_iter().map(authority).collect::<Result<Vec<_>, _>>()?;
    let signer = |path: &PathBuf, id: Option<&str>| {
        Signer::load(path, id.map(str::to_owned)).map_err(|error| error.to_string())
    };
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    for signer in [
        signer(&secret, None)?,
        signer(&secret, Some("hs"))?,
        signer(&private, None)?,
        signer(&private, Some("ed"))?,
    ] {
        let user = || "demo".to_owned();
        let all = Claims { user: user(), expiry: LATE, ..Claims::default() };
        let some = Claims {
            functions: Some(vec!["hello*".to_owned()]),
            rights: Some(vec![Right::Invoke]),
            not_before: Some(1),
            audience: Some("relay".to_owned()),
            ..all.clone()
        };
        good.push(signer.sign(&all)?);
        good.push(signer.sign(&some)?);
        bad.push(signer.sign(&Claims { expiry: 1000, ..all.clone() })?);
        bad.push(signer.sign(&Claims { not_before: Some(LATE), ..all.clone() })?);
        bad.push(signer.sign(&Claims { user: "../demo".to_owned(), ..all })?);
    }
    let claims = format!(r#"{{"sub":"demo","exp":{LATE}}}"#);
    let hs256 = r#"{"alg":"HS256","typ":"JWT"}"#;
    bad.push(forged(hs256, &claims, OTHER_SECRET));
    // Signed with the public key as a shared secret.
    bad.push(forged(hs256, &claims, keys.public.as_bytes()));
    bad.push(forged(r#"{"alg":"HS256","kid":"ed"}"#, &claims, keys.public.as_bytes()));
    bad.push(forged(r#"{"alg":"EdDSA","kid":"hs"}"#, &claims, SECRET));
    bad.push(forged(r#"{"alg":"none"}"#, &claims, b""));
    let signed = good.iter().filter_map(|token| Some(token.rsplit_once('.')?.0.to_owned()));
    Ok(World { authorities, signed: signed.collect(), good, bad })
}

/// A token; every third one is invalid.
pub(super) fn token(rng: &mut Rng) -> Vec<u8> {
    let Ok(world) = world() else { return Vec::new() };
    let from = if rng.chance(70) { &world.good } else { &world.bad };
    rng.pick(from).cloned().unwrap_or_default().into_bytes()
}

pub(super) fn verify(bytes: &[u8]) -> Result<bool, String> {
    let world = world()?;
    let token = String::from_utf8_lossy(bytes);
    let mut is_accepted = false;
    for authority in &world.authorities {
        match authority.verify(&token) {
            Ok(_) => is_accepted = true,
            Err(denied) => told(&denied.to_string())?,
        }
    }
    let was_signed =
        token.rsplit_once('.').is_some_and(|(signed, _)| world.signed.contains(signed));
    if is_accepted && !was_signed {
        return Err("an unsigned token is accepted".to_owned());
    }
    if !is_accepted && world.good.iter().any(|good| **good == *token) {
        return Err("a good token is not accepted".to_owned());
    }
    Ok(is_accepted)
}

/// A secret, a key as PEM, or a set.
pub(super) fn key_file(rng: &mut Rng) -> Vec<u8> {
    let Ok(keys) = keys() else { return Vec::new() };
    match rng.below(6) {
        0 => SECRET.to_vec(),
        1 => keys.private.into_bytes(),
        2 => keys.public.into_bytes(),
        _ => keys.set.into_bytes(),
    }
}

/// Reads bytes as every kind of key. No resulting key accepts an unsigned token.
pub(super) fn load(bytes: &[u8]) -> Result<bool, String> {
    let unsigned = world()?.bad.last().map(String::as_str).unwrap_or_default();
    let path = file("keys", bytes)?;
    let mut is_taken = match Signer::load(&path, None) {
        Ok(_) => true,
        Err(error) => told(&error.to_string()).map(|()| false)?,
    };
    for key in [KeyFile::Secret(path.clone()), KeyFile::Public(path.clone()), KeyFile::Set(path)] {
        match authority(key.clone()) {
            Ok(authority) if authority.verify(unsigned).is_ok() => {
                return Err(format!("{key:?} accepts a token that is not signed"));
            }
            Ok(_) => is_taken = true,
            Err(problem) => told(&problem)?,
        }
    }
    Ok(is_taken)
}

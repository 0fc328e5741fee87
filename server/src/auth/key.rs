//! Reads keys from files. Each key has exactly one algorithm.

use jsonwebtoken::jwk::{
    AlgorithmParameters, EllipticCurve, Jwk, JwkSet, KeyAlgorithm, PublicKeyUse,
};
use jsonwebtoken::{Algorithm, DecodingKey};
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Shortest secret, bytes: the length of an HS256 digest.
pub(super) const MIN_SECRET_BYTES: usize = 32;

/// Size limit of a key file, bytes.
const MAX_KEY_FILE_BYTES: u64 = 1024 * 1024;

/// Length of an uncompressed P-256 point, and its first byte.
const P256_POINT: (usize, u8) = (65, 4);

/// Length of an Ed25519 key.
const ED25519_BYTES: usize = 32;

/// Source of the keys that verify tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyFile {
    /// A secret shared with the issuers of tokens (HS256). Trailing line ends are ignored.
    Secret(PathBuf),
    /// A public key as PEM: Ed25519 (EdDSA), P-256 (ES256) or RSA (RS256).
    Public(PathBuf),
    /// A JSON Web Key Set (RFC 7517); tokens name their key by `kid`.
    Set(PathBuf),
}

/// Why a key file is not usable.
#[derive(Debug, Error)]
pub enum KeyError {
    #[error("{path}: {error}")]
    Unreadable { path: PathBuf, error: std::io::Error },
    #[error("{path}: {problem}")]
    Unusable { path: PathBuf, problem: String },
}

/// A key and its algorithm.
pub(super) struct Key {
    pub(super) id: Option<String>,
    pub(super) algorithm: Algorithm,
    pub(super) decoding: DecodingKey,
}

impl KeyFile {
    pub(super) fn path(&self) -> &Path {
        match self {
            KeyFile::Secret(path) | KeyFile::Public(path) | KeyFile::Set(path) => path,
        }
    }

    /// The keys of the source; at least one.
    pub(super) fn read(&self) -> Result<Vec<Key>, KeyError> {
        let bytes = read(self.path())?;
        let keys = match self {
            KeyFile::Secret(_) => secret(&bytes).map(|secret| {
                let decoding = DecodingKey::from_secret(secret);
                vec![Key { id: None, algorithm: Algorithm::HS256, decoding }]
            }),
            KeyFile::Public(_) => public(&bytes).map(|key| vec![key]),
            KeyFile::Set(_) => set(&bytes),
        };
        keys.map_err(|problem| KeyError::Unusable { path: self.path().to_owned(), problem })
    }
}

/// Reads a key file.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, KeyError> {
    let unreadable = |error| KeyError::Unreadable { path: path.to_owned(), error };
    let bytes = std::fs::metadata(path).map_err(unreadable)?.len();
    if bytes > MAX_KEY_FILE_BYTES {
        let problem = format!("{bytes} bytes; keys have at most {MAX_KEY_FILE_BYTES}");
        return Err(KeyError::Unusable { path: path.to_owned(), problem });
    }
    std::fs::read(path).map_err(unreadable)
}

/// Parses the content of a secret file.
pub(super) fn secret(bytes: &[u8]) -> Result<&[u8], String> {
    if bytes.starts_with(b"-----BEGIN") {
        // A public key must not be used as a secret: everyone who knows it could sign tokens.
        return Err("this is a PEM key, not a secret: set public_key_file instead".to_owned());
    }
    let end = bytes.iter().rposition(|byte| !b"\r\n".contains(byte)).map_or(0, |last| last + 1);
    if end < MIN_SECRET_BYTES {
        return Err(format!(
            "a secret of {end} bytes can be guessed; it needs at least {MIN_SECRET_BYTES}: create one with `openssl rand -base64 48`"
        ));
    }
    Ok(&bytes[..end])
}

fn public(pem: &[u8]) -> Result<Key, String> {
    let text = String::from_utf8_lossy(pem);
    if text.contains("PRIVATE KEY-----") {
        return Err(
            "this is a private key, which only issuers of tokens need; extract the public key with `openssl pkey -in FILE -pubout`"
                .to_owned(),
        );
    }
    if !text.contains("PUBLIC KEY-----") {
        return Err("the file has no PEM public key (BEGIN PUBLIC KEY)".to_owned());
    }
    let key = |algorithm, decoding| checked(Key { id: None, algorithm, decoding });
    if let Ok(decoding) = DecodingKey::from_ed_pem(pem) {
        return key(Algorithm::EdDSA, decoding);
    }
    if let Ok(decoding) = DecodingKey::from_ec_pem(pem) {
        return key(Algorithm::ES256, decoding);
    }
    let decoding = DecodingKey::from_rsa_pem(pem)
        .map_err(|_| "the public key is not an Ed25519, P-256 or RSA key".to_owned())?;
    key(Algorithm::RS256, decoding)
}

fn set(json: &[u8]) -> Result<Vec<Key>, String> {
    let set: JwkSet =
        serde_json::from_slice(json).map_err(|error| format!("not a JSON Web Key Set: {error}"))?;
    let mut keys: Vec<Key> = Vec::new();
    for (index, jwk) in set.keys.iter().enumerate() {
        let Some(algorithm) = algorithm(jwk) else { continue };
        let at = |problem: String| format!("key {index}: {problem}");
        let decoding = DecodingKey::from_jwk(jwk).map_err(|error| at(error.to_string()))?;
        let key = Key { id: jwk.common.key_id.clone(), algorithm, decoding };
        if keys.iter().any(|other| other.id == key.id) {
            let id = key.id.unwrap_or_default();
            return Err(at(format!(
                "another key has the same kid `{id}`, so tokens cannot name it"
            )));
        }
        keys.push(checked(key).map_err(at)?);
    }
    if keys.is_empty() {
        return Err("none of its keys verifies EdDSA, ES256, RS256 or HS256 signatures".to_owned());
    }
    if keys.len() > 1 && keys.iter().any(|key| key.id.is_none()) {
        return Err("one of its keys has no kid, so tokens cannot name it".to_owned());
    }
    Ok(keys)
}

/// The algorithm of a key of a set; `None` if it does not verify signatures that this relay supports.
fn algorithm(jwk: &Jwk) -> Option<Algorithm> {
    if matches!(jwk.common.public_key_use, Some(PublicKeyUse::Encryption)) {
        return None;
    }
    let (named, algorithm) = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => (KeyAlgorithm::RS256, Algorithm::RS256),
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => {
            (KeyAlgorithm::ES256, Algorithm::ES256)
        }
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
            (KeyAlgorithm::EdDSA, Algorithm::EdDSA)
        }
        AlgorithmParameters::OctetKey(_) => (KeyAlgorithm::HS256, Algorithm::HS256),
        _ => return None,
    };
    jwk.common.key_algorithm.is_none_or(|given| given == named).then_some(algorithm)
}

/// Checks a key's size, so that a mistake is reported now and not for every token.
fn checked(key: Key) -> Result<Key, String> {
    // RSA keys of a set have no encoded bytes to check; `ring` rejects keys below 2048 bits.
    let Ok(bytes) = key.decoding.try_get_as_bytes() else { return Ok(key) };
    match key.algorithm {
        Algorithm::ES256 if (bytes.len(), bytes.first()) != (P256_POINT.0, Some(&P256_POINT.1)) => {
            Err("this elliptic-curve key is not a P-256 key".to_owned())
        }
        Algorithm::EdDSA if bytes.len() != ED25519_BYTES => {
            Err("this Edwards key is not an Ed25519 key".to_owned())
        }
        Algorithm::HS256 if bytes.len() < MIN_SECRET_BYTES => {
            Err(format!("a secret of {} bytes; it needs {MIN_SECRET_BYTES}", bytes.len()))
        }
        _ => Ok(key),
    }
}

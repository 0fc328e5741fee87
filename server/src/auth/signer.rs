//! Makes tokens.

use super::key::{KeyError, read, secret};
use super::provider;
use super::right::Right;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde::{Serialize, Serializer};
use std::path::Path;

/// What a token says. Empty parts are left out.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Claims {
    /// Whose functions and state.
    #[serde(rename = "sub")]
    pub user: String,
    /// Names, or patterns with `*`; `None` is all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub functions: Option<Vec<String>>,
    /// `None` is all but [`Right::Upload`] and [`Right::Metrics`].
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "names")]
    pub rights: Option<Vec<Right>>,
    /// When it expires, seconds since 1970.
    #[serde(rename = "exp")]
    pub expiry: u64,
    /// When it begins to be good, seconds since 1970.
    #[serde(rename = "nbf", skip_serializing_if = "Option::is_none")]
    pub not_before: Option<u64>,
    #[serde(rename = "aud", skip_serializing_if = "Option::is_none")]
    pub audience: Option<String>,
    #[serde(rename = "iss", skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
}

fn names<S: Serializer>(rights: &Option<Vec<Right>>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(rights.iter().flatten().map(|right| right.name()))
}

/// Signs tokens.
pub struct Signer {
    algorithm: Algorithm,
    key: EncodingKey,
    /// Which key of a set it is.
    id: Option<String>,
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signer").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

impl Signer {
    /// By a secret (HS256), or a private key as PEM: Ed25519 (EdDSA), P-256 (ES256) or RSA (RS256).
    ///
    /// # Errors
    /// When the file cannot be read, or has none of these.
    pub fn load(path: &Path, id: Option<String>) -> Result<Self, KeyError> {
        provider::install();
        let bytes = read(path)?;
        let unusable = |problem| KeyError::Unusable { path: path.to_owned(), problem };
        let (algorithm, key) = of(&bytes).map_err(unusable)?;
        let signer = Self { algorithm, key, id };
        // A private key shows only now whether it is one.
        signer.sign(&Claims::default()).map_err(|problem| {
            unusable(format!("no tokens can be signed with this key: {problem}"))
        })?;
        Ok(signer)
    }

    /// A token.
    ///
    /// # Errors
    /// When the key cannot sign, which [`Signer::load`] has tried.
    pub fn sign(&self, claims: &Claims) -> Result<String, String> {
        let mut header = Header::new(self.algorithm);
        header.kid.clone_from(&self.id);
        encode(&header, claims, &self.key).map_err(|error| error.to_string())
    }
}

fn of(bytes: &[u8]) -> Result<(Algorithm, EncodingKey), String> {
    if !bytes.starts_with(b"-----BEGIN") {
        return Ok((Algorithm::HS256, EncodingKey::from_secret(secret(bytes)?)));
    }
    if String::from_utf8_lossy(bytes).contains("PUBLIC KEY-----") {
        return Err("this is a public key; tokens are signed with the private one".to_owned());
    }
    if let Ok(key) = EncodingKey::from_ed_pem(bytes) {
        return Ok((Algorithm::EdDSA, key));
    }
    if let Ok(key) = EncodingKey::from_ec_pem(bytes) {
        return Ok((Algorithm::ES256, key));
    }
    let key = EncodingKey::from_rsa_pem(bytes).map_err(|_| {
        "there is no private key as PEM (BEGIN PRIVATE KEY) of Ed25519, P-256 or RSA".to_owned()
    })?;
    Ok((Algorithm::RS256, key))
}

//! Signs tokens.

use super::key::{KeyError, read, secret};
use super::provider;
use super::right::Right;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde::{Serialize, Serializer};
use std::path::Path;

/// Claims of a token. Empty claims are omitted.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Claims {
    /// The user.
    #[serde(rename = "sub")]
    pub user: String,
    /// Function names, or patterns with `*`; `None` is all functions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub functions: Option<Vec<String>>,
    /// `None` is all but [`Right::Upload`] and [`Right::Metrics`].
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "names")]
    pub rights: Option<Vec<Right>>,
    /// When it expires, seconds since 1970.
    #[serde(rename = "exp")]
    pub expiry: u64,
    /// Start of validity, seconds since 1970.
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
    /// Name of the key in a key set.
    id: Option<String>,
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signer").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

impl Signer {
    /// Reads a secret (HS256) or a PEM private key: Ed25519 (EdDSA), P-256 (ES256) or RSA (RS256).
    ///
    /// # Errors
    /// The file cannot be read, or has no such key.
    pub fn load(path: &Path, id: Option<String>) -> Result<Self, KeyError> {
        provider::install();
        let bytes = read(path)?;
        let unusable = |problem| KeyError::Unusable { path: path.to_owned(), problem };
        let (algorithm, key) = of(&bytes).map_err(unusable)?;
        let signer = Self { algorithm, key, id };
        // Signing is the only way to validate a private key.
        signer
            .sign(&Claims::default())
            .map_err(|problem| unusable(format!("this key cannot sign tokens: {problem}")))?;
        Ok(signer)
    }

    /// Signs a token.
    ///
    /// # Errors
    /// The key cannot sign, which [`Signer::load`] has checked.
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
        return Err("this is a public key; tokens are signed with the private key".to_owned());
    }
    if let Ok(key) = EncodingKey::from_ed_pem(bytes) {
        return Ok((Algorithm::EdDSA, key));
    }
    if let Ok(key) = EncodingKey::from_ec_pem(bytes) {
        return Ok((Algorithm::ES256, key));
    }
    let key = EncodingKey::from_rsa_pem(bytes).map_err(|_| {
        "the file has no PEM private key (BEGIN PRIVATE KEY) of type Ed25519, P-256 or RSA"
            .to_owned()
    })?;
    Ok((Algorithm::RS256, key))
}

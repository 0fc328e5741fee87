//! Verifies tokens and returns their grants.

use super::grant::{Denied, Grant};
use super::key::{Key, KeyError, KeyFile};
use super::pattern::Pattern;
use super::right::{Right, Rights};
use super::{LEEWAY_SECONDS, provider};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use faasm_bridge::wire::{MAX_TOKEN_BYTES, is_valid_name};
use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::{Header, Validation, decode, decode_header};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::sync::{Arc, PoisonError, RwLock};

/// What a relay requires of tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenSettings {
    pub key: KeyFile,
    /// Required audience (`aud`), if any.
    pub audience: Option<String>,
    /// Required issuer (`iss`), if any.
    pub issuer: Option<String>,
}

/// Checks tokens; clones share the keys.
#[derive(Clone)]
pub struct Authority {
    settings: TokenSettings,
    keys: Arc<RwLock<Vec<Key>>>,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// The claims that the relay uses. A claim of another type makes the token invalid.
#[derive(Deserialize)]
struct Claims {
    sub: Option<String>,
    /// Takes precedence over `sub`, for issuers whose `sub` is not a user name.
    user: Option<String>,
    functions: Option<Vec<String>>,
    rights: Option<Vec<String>>,
    exp: f64,
    /// Checked by `jsonwebtoken`; declared to check its type.
    #[serde(rename = "nbf")]
    _nbf: Option<f64>,
}

impl Authority {
    /// Reads the keys.
    ///
    /// # Errors
    /// The file cannot be read, or has no usable key.
    pub fn load(settings: TokenSettings) -> Result<Self, KeyError> {
        provider::install();
        let keys = Arc::new(RwLock::new(settings.key.read()?));
        Ok(Self { settings, keys })
    }

    /// Reloads the keys. Sessions continue with the tokens that were verified before.
    ///
    /// # Errors
    /// As for [`Authority::load`]; the keys are unchanged.
    pub fn reload(&self) -> Result<(), KeyError> {
        let keys = self.settings.key.read()?;
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = keys;
        Ok(())
    }

    /// Verifies a token and returns its grant.
    ///
    /// # Errors
    /// The signature, the times or the claims are invalid.
    pub fn verify(&self, token: &str) -> Result<Grant, Denied> {
        let invalid = |why: &str| Denied::Invalid(why.to_owned());
        if token.len() > MAX_TOKEN_BYTES {
            return Err(invalid("it is too long"));
        }
        // RFC 7515, 4.1.11: unsupported critical extensions make a token invalid; this relay supports none.
        if part(token, 0).is_some_and(|header| header.contains_key("crit")) {
            return Err(invalid("its header has `crit`, which this relay does not support"));
        }
        let header =
            decode_header(token).map_err(|_| invalid("it is not a signed JSON Web Token"))?;
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let key = pick(&keys, &header)?;
        let mut validation = Validation::new(key.algorithm);
        validation.leeway = LEEWAY_SECONDS;
        validation.validate_nbf = true;
        let mut required = vec!["exp"];
        validation.validate_aud = self.settings.audience.is_some();
        if let Some(audience) = &self.settings.audience {
            validation.set_audience(&[audience]);
            required.push("aud");
        }
        if let Some(issuer) = &self.settings.issuer {
            validation.set_issuer(&[issuer]);
            required.push("iss");
        }
        validation.set_required_spec_claims(&required);
        let decoded = decode::<Claims>(token, &key.decoding, &validation);
        let decoded = decoded.map_err(|error| denied(&error, token, &header, key))?;
        grant(decoded.claims)
    }
}

/// The unverified header, or the unverified claims, of a token.
fn part(token: &str, number: usize) -> Option<Map<String, Value>> {
    let bytes = URL_SAFE_NO_PAD.decode(token.split('.').nth(number)?).ok()?;
    serde_json::from_slice(&bytes).ok()
}

/// The key for a token. The key determines the algorithm; the token's `alg` has to match.
fn pick<'a>(keys: &'a [Key], header: &Header) -> Result<&'a Key, Denied> {
    let found = match (keys, &header.kid) {
        ([only], None) => Some(only),
        // A single key has no `kid`.
        ([only], Some(_)) if only.id.is_none() => Some(only),
        (keys, id) => id.as_ref().and_then(|id| keys.iter().find(|k| k.id.as_ref() == Some(id))),
    };
    found.ok_or_else(|| {
        Denied::Invalid(match &header.kid {
            Some(_) => "its `kid` is not one of this relay's keys".to_owned(),
            None => {
                "it has to name by `kid` the key of this relay that it is signed with".to_owned()
            }
        })
    })
}

fn grant(claims: Claims) -> Result<Grant, Denied> {
    let user = claims.user.or(claims.sub);
    let user = user.ok_or_else(|| Denied::Invalid("it has neither `user` nor `sub`".to_owned()))?;
    if !is_valid_name(&user) {
        return Err(Denied::Invalid("its `user` or `sub` cannot name a user".to_owned()));
    }
    let right = |name: String| {
        Right::of_name(&name).ok_or_else(|| {
            let known = Right::ALL.map(Right::name).join(", ");
            let name: String = name.chars().take(40).collect();
            Denied::Invalid(format!("there is no right `{name}`, only {known}"))
        })
    };
    let rights = match claims.rights {
        Some(names) => names.into_iter().map(right).collect::<Result<Rights, Denied>>()?,
        None => Rights::of_a_page(),
    };
    let functions = claims.functions.map(|names| names.into_iter().map(Pattern::new).collect());
    // Negative times were rejected; a time out of range is clamped.
    Ok(Grant { user: Some(user), functions, rights, expiry: Some(claims.exp as u64) })
}

fn denied(error: &Error, token: &str, header: &Header, key: &Key) -> Denied {
    let has = |claim: &str| part(token, 1).is_some_and(|claims| claims.contains_key(claim));
    Denied::Invalid(match error.kind() {
        ErrorKind::ExpiredSignature => return Denied::Expired,
        ErrorKind::ImmatureSignature => {
            "it is not valid yet: its `nbf` is in the future".to_owned()
        }
        ErrorKind::InvalidSignature => "its signature is not by this relay's key".to_owned(),
        ErrorKind::InvalidAlgorithm | ErrorKind::InvalidKeyFormat => {
            format!("it is signed by {:?}, and the key is for {:?}", header.alg, key.algorithm)
        }
        ErrorKind::InvalidAudience => "its `aud` does not name this relay".to_owned(),
        ErrorKind::InvalidIssuer => "its `iss` is not the issuer that this relay trusts".to_owned(),
        ErrorKind::MissingRequiredClaim(claim) if !has(claim) => format!("it has no `{claim}`"),
        ErrorKind::MissingRequiredClaim(claim) | ErrorKind::InvalidClaimFormat(claim) => {
            match claim.as_str() {
                "exp" | "nbf" => {
                    format!("its `{claim}` is not a time: it has to be seconds since 1970")
                }
                _ => format!("its `{claim}` is not text"),
            }
        }
        ErrorKind::Json(error) => format!("its claims cannot be read: {error}"),
        _ => "it is malformed".to_owned(),
    })
}

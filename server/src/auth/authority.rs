//! From a token to what it grants.

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

/// What a relay wants of tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenSettings {
    pub key: KeyFile,
    /// What `aud` has to name, if anything.
    pub audience: Option<String>,
    /// What `iss` has to be, if anything.
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

/// The claims of a token that mean something here. A claim of another type makes the token invalid.
#[derive(Deserialize)]
struct Claims {
    sub: Option<String>,
    /// In place of `sub`, where that is something else than a name here.
    user: Option<String>,
    functions: Option<Vec<String>>,
    rights: Option<Vec<String>>,
    exp: f64,
    /// Checked by `jsonwebtoken`; here for its type.
    #[serde(rename = "nbf")]
    _nbf: Option<f64>,
}

impl Authority {
    /// Reads the keys.
    ///
    /// # Errors
    /// When the file cannot be read, or has no usable key.
    pub fn load(settings: TokenSettings) -> Result<Self, KeyError> {
        provider::install();
        let keys = Arc::new(RwLock::new(settings.key.read()?));
        Ok(Self { settings, keys })
    }

    /// Reads the keys again. Sessions go on by the tokens that were checked before.
    ///
    /// # Errors
    /// As for [`Authority::load`]; the keys stay as they were.
    pub fn reload(&self) -> Result<(), KeyError> {
        let keys = self.settings.key.read()?;
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = keys;
        Ok(())
    }

    /// What this token allows.
    ///
    /// # Errors
    /// When it is not good: its signature, its times, or what it says.
    pub fn verify(&self, token: &str) -> Result<Grant, Denied> {
        let invalid = |why: &str| Denied::Invalid(why.to_owned());
        if token.len() > MAX_TOKEN_BYTES {
            return Err(invalid("it is too long"));
        }
        // RFC 7515, 4.1.11: what is critical and not understood makes it invalid, and nothing of that kind is understood here.
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

/// The header of a token, or its claims, whoever wrote them.
fn part(token: &str, number: usize) -> Option<Map<String, Value>> {
    let bytes = URL_SAFE_NO_PAD.decode(token.split('.').nth(number)?).ok()?;
    serde_json::from_slice(&bytes).ok()
}

/// The key a token is checked with. It decides on the algorithm; the token's `alg` has to agree.
fn pick<'a>(keys: &'a [Key], header: &Header) -> Result<&'a Key, Denied> {
    let found = match (keys, &header.kid) {
        ([only], None) => Some(only),
        // A key of its own file has no name.
        ([only], Some(_)) if only.id.is_none() => Some(only),
        (keys, id) => id.as_ref().and_then(|id| keys.iter().find(|k| k.id.as_ref() == Some(id))),
    };
    found.ok_or_else(|| {
        Denied::Invalid(match &header.kid {
            Some(_) => "its `kid` is none of this relay's keys".to_owned(),
            None => {
                "it has to say by `kid` which of this relay's keys it is signed with".to_owned()
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
    // Negative ones were refused; one beyond the range is the end of time.
    Ok(Grant { user: Some(user), functions, rights, expiry: Some(claims.exp as u64) })
}

fn denied(error: &Error, token: &str, header: &Header, key: &Key) -> Denied {
    let has = |claim: &str| part(token, 1).is_some_and(|claims| claims.contains_key(claim));
    Denied::Invalid(match error.kind() {
        ErrorKind::ExpiredSignature => return Denied::Expired,
        ErrorKind::ImmatureSignature => "it is for later: its `nbf` is to come".to_owned(),
        ErrorKind::InvalidSignature => "its signature is not by this relay's key".to_owned(),
        ErrorKind::InvalidAlgorithm | ErrorKind::InvalidKeyFormat => {
            format!("it is signed by {:?}, and the key is for {:?}", header.alg, key.algorithm)
        }
        ErrorKind::InvalidAudience => "its `aud` is not this relay".to_owned(),
        ErrorKind::InvalidIssuer => "its `iss` is not whom this relay trusts".to_owned(),
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

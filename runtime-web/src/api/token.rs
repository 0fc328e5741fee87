//! Tokens: a fixed string, or a provider that is called before each expiry.

use crate::cancel::CancelToken;
use crate::error::{Code, FaasmError, describe};
use crate::global::{console_error, sleep, spawn};
use crate::shared::Shared;
use js_sys::{Date, Function, JSON, Promise, Reflect};
use std::rc::{Rc, Weak};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;

/// Renew after this fraction of the token's remaining lifetime.
const RENEWED_AFTER: f64 = 0.75;

/// The minimum delay between two attempts, in milliseconds.
const MIN_DELAY: f64 = 250.0;

const MILLISECONDS_PER_SECOND: f64 = 1000.0;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(catch)]
    fn atob(base64: &str) -> Result<String, JsValue>;
}

/// The option `token`.
pub(super) enum Token {
    Fixed(Option<String>),
    Provider(Function),
}

impl Token {
    /// The token for the handshake.
    pub(super) async fn get(&self) -> Result<Option<String>, FaasmError> {
        match self {
            Token::Fixed(token) => Ok(token.clone()),
            Token::Provider(provider) => call(provider).await.map(Some),
        }
    }

    /// Renews the token before it expires, until the runtime is disposed of. The next connection uses the new one.
    pub(super) fn renew(self, last: Option<String>, shared: &Rc<Shared>) {
        let (Token::Provider(provider), Some(last)) = (self, last) else { return };
        let cancel = CancelToken::new(None);
        shared.running.add(&cancel);
        let shared = Rc::downgrade(shared);
        spawn(async move {
            // The task ends with the runtime or at a token without expiry; neither is an error.
            let _ = cancel.race(renew(&provider, last, shared)).await;
        });
    }
}

async fn renew(
    provider: &Function,
    mut token: String,
    shared: Weak<Shared>,
) -> Result<(), FaasmError> {
    while let Some(expiry) = expiry(&token) {
        let remaining = expiry - Date::now();
        if remaining <= 0.0 {
            break;
        }
        sleep((remaining * RENEWED_AFTER).max(MIN_DELAY)).await;
        let Some(shared) = shared.upgrade() else { break };
        match call(provider).await {
            Ok(renewed) => {
                shared.set_token(&renewed);
                token = renewed;
            }
            // The next attempt follows after a fraction of the remaining time.
            Err(error) => console_error(&error.message),
        }
    }
    Ok(())
}

async fn call(provider: &Function) -> Result<String, FaasmError> {
    let failed = |thrown: JsValue| {
        let message = format!("the token provider failed: {}", describe(&thrown));
        FaasmError { cause: Some(thrown), ..FaasmError::new(Code::NoToken, message) }
    };
    let promise = provider.call0(&JsValue::UNDEFINED).map_err(failed)?;
    let token = JsFuture::from(Promise::resolve(&promise)).await.map_err(failed)?;
    token
        .as_string()
        .ok_or_else(|| FaasmError::new(Code::NoToken, "the token provider must return a string"))
}

/// The expiry of a JSON Web Token (RFC 7519), in milliseconds since 1970; `None` for one without `exp` and for other
/// tokens.
fn expiry(token: &str) -> Option<f64> {
    let claims = token.split('.').nth(1)?.replace('-', "+").replace('_', "/");
    let claims = JSON::parse(&atob(&claims).ok()?).ok()?;
    let seconds = Reflect::get(&claims, &"exp".into()).ok()?.as_f64()?;
    Some(seconds * MILLISECONDS_PER_SECOND)
}

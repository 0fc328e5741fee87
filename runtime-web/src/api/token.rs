//! Tokens: a string, or where to get one, again and again.

use crate::cancel::CancelToken;
use crate::error::{Code, FaasmError, describe};
use crate::global::{console_error, sleep, spawn};
use crate::shared::Shared;
use js_sys::{Date, Function, JSON, Promise, Reflect};
use std::rc::{Rc, Weak};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;

/// The part of a token's remaining life after which there is a new one.
const RENEWED_AFTER: f64 = 0.75;

/// How long there is between two attempts at least, milliseconds.
const SHORTEST_PAUSE: f64 = 250.0;

const MILLISECONDS_PER_SECOND: f64 = 1000.0;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(catch)]
    fn atob(base64: &str) -> Result<String, JsValue>;
}

/// Proof that a page may act for a user.
pub(super) enum Token {
    Fixed(Option<String>),
    Provider(Function),
}

impl Token {
    /// The token to shake hands with.
    pub(super) async fn get(&self) -> Result<Option<String>, FaasmError> {
        match self {
            Token::Fixed(token) => Ok(token.clone()),
            Token::Provider(provider) => ask(provider).await.map(Some),
        }
    }

    /// Gets a new token before the last one expires, for as long as the runtime is there. It is used when the page connects
    /// again.
    pub(super) fn renew(self, last: Option<String>, shared: &Rc<Shared>) {
        let (Token::Provider(provider), Some(last)) = (self, last) else { return };
        let stop = CancelToken::new(None);
        shared.running.add(&stop);
        let shared = Rc::downgrade(shared);
        spawn(async move {
            // It ends with the runtime, or with a token that does not expire; neither is an error.
            let _ = stop.race(renew(&provider, last, shared)).await;
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
        sleep((remaining * RENEWED_AFTER).max(SHORTEST_PAUSE)).await;
        let Some(shared) = shared.upgrade() else { break };
        match ask(provider).await {
            Ok(renewed) => {
                shared.set_token(&renewed);
                token = renewed;
            }
            // The next attempt comes after a part of the time that is left.
            Err(error) => console_error(&error.message),
        }
    }
    Ok(())
}

async fn ask(provider: &Function) -> Result<String, FaasmError> {
    let failed = |thrown: JsValue| {
        let message = format!("the provider of the token failed: {}", describe(&thrown));
        FaasmError { cause: Some(thrown), ..FaasmError::new(Code::NoToken, message) }
    };
    let promise = provider.call0(&JsValue::UNDEFINED).map_err(failed)?;
    let token = JsFuture::from(Promise::resolve(&promise)).await.map_err(failed)?;
    token.as_string().ok_or_else(|| {
        FaasmError::new(
            Code::NoToken,
            "the provider of the token gave something else than a string",
        )
    })
}

/// When a JSON Web Token (RFC 7519) expires, milliseconds since 1970; none for one that does not, and for other tokens.
fn expiry(token: &str) -> Option<f64> {
    let claims = token.split('.').nth(1)?.replace('-', "+").replace('_', "/");
    let claims = JSON::parse(&atob(&claims).ok()?).ok()?;
    let seconds = Reflect::get(&claims, &"exp".into()).ok()?.as_f64()?;
    Some(seconds * MILLISECONDS_PER_SECOND)
}

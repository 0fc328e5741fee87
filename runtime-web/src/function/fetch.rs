//! Fetches files other than modules.

use crate::error::{Code, FaasmError, describe};
use crate::global::fetch;
use js_sys::{Object, Promise, Reflect, Uint8Array};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{Response, Url};

pub(super) fn resolve(address: &str, base: &str) -> Result<String, FaasmError> {
    Url::new_with_base(address, base)
        .map(|url| url.href())
        .map_err(|_| FaasmError::new(Code::BadOptions, format!("`{address}` is not a URL")))
}

pub(super) async fn text(url: &str, integrity: Option<&str>) -> Result<String, FaasmError> {
    let text = body(url, integrity, Response::text).await?;
    Ok(text.as_string().unwrap_or_default())
}

pub(super) async fn bytes(url: &str) -> Result<Vec<u8>, FaasmError> {
    let buffer = body(url, None, Response::array_buffer).await?;
    Ok(Uint8Array::new(&buffer).to_vec())
}

async fn body(
    url: &str,
    integrity: Option<&str>,
    read: impl FnOnce(&Response) -> Result<Promise, JsValue>,
) -> Result<JsValue, FaasmError> {
    let failed = |thrown: JsValue| load_error(url, &describe(&thrown));
    let response = get(url, integrity).await?;
    JsFuture::from(read(&response).map_err(failed)?).await.map_err(failed)
}

/// Fetches a file; fails unless the response is a success with the given integrity.
async fn get(url: &str, integrity: Option<&str>) -> Result<Response, FaasmError> {
    let options = Object::new();
    if let Some(integrity) = integrity {
        Reflect::set(&options, &"integrity".into(), &integrity.into())
            .expect("properties of a plain object can be set");
    }
    let response = JsFuture::from(fetch(url, &options)).await.map_err(|thrown: JsValue| {
        let hint = match integrity {
            Some(_) => "; if it exists, its hash differs from the manifest's: deploy both together",
            None => "",
        };
        load_error(url, &format!("{}{hint}", describe(&thrown)))
    })?;
    let response: Response = response.unchecked_into();
    if !response.ok() {
        return Err(load_error(url, &format!("HTTP status {}", response.status())));
    }
    Ok(response)
}

pub(crate) fn load_error(url: &str, why: &str) -> FaasmError {
    FaasmError::new(Code::CannotLoad, format!("cannot load {url}: {why}"))
}

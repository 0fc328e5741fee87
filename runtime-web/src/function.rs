//! Loading of built functions: manifest, module, integrity.

use crate::error::{Code, FaasmError, describe};
use crate::global::{fetch, location};
use faasm_bridge::manifest::{Manifest, SCHEMA};
use js_sys::{Object, Promise, Reflect, WebAssembly};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{Response, Url};

/// A function ready to run any number of times.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) manifest: Manifest,
    pub(crate) module: WebAssembly::Module,
}

/// Fetches a manifest and the module it names.
pub(crate) async fn load(address: &str) -> Result<Loaded, FaasmError> {
    let url = resolve(address, &location())?;
    let text = JsFuture::from(
        get(&url, None).await?.text().map_err(|thrown| cannot(&url, &describe(&thrown)))?,
    )
    .await
    .map_err(|thrown| cannot(&url, &describe(&thrown)))?;
    let manifest = parse(&url, &text.as_string().unwrap_or_default())?;
    let artefact = &manifest.engines.asyncify.artefact;
    let module_url = resolve(&artefact.file, &url)?;
    let response = get(&module_url, Some(&artefact.integrity)).await?;
    let response: JsValue = response.into();
    let module = WebAssembly::compile_streaming(&Promise::resolve(&response));
    let module = JsFuture::from(module)
        .await
        .map_err(|thrown| cannot(&module_url, &describe(&thrown)))?
        .unchecked_into();
    Ok(Loaded { manifest, module })
}

fn parse(url: &str, text: &str) -> Result<Manifest, FaasmError> {
    let value: serde_json::Value = serde_json::from_str(text).map_err(|error| {
        cannot(
            url,
            &format!("it is not JSON ({error}); give the manifest that faasm-asyncify wrote"),
        )
    })?;
    let schema = value.get("schema").and_then(serde_json::Value::as_u64);
    if schema != Some(u64::from(SCHEMA)) {
        let found = schema.map_or_else(|| "none".to_owned(), |schema| schema.to_string());
        let problem = format!(
            "it has manifest schema {found}, this runtime reads {SCHEMA}: build the function with the faasm-asyncify of the same version"
        );
        return Err(cannot(url, &problem));
    }
    serde_json::from_value(value).map_err(|error| cannot(url, &error.to_string()))
}

fn resolve(address: &str, base: &str) -> Result<String, FaasmError> {
    Url::new_with_base(address, base)
        .map(|url| url.href())
        .map_err(|_| FaasmError::new(Code::BadOptions, format!("`{address}` is not a URL")))
}

/// Fetches, and refuses anything but success and, where it is given, the right bytes.
async fn get(url: &str, integrity: Option<&str>) -> Result<Response, FaasmError> {
    let options = Object::new();
    if let Some(integrity) = integrity {
        Reflect::set(&options, &"integrity".into(), &integrity.into())
            .expect("properties of a plain object can be set");
    }
    let response = JsFuture::from(fetch(url, &options)).await.map_err(|thrown: JsValue| {
        let hint = match integrity {
            Some(_) => {
                "; if it is there, its bytes are not those of the manifest: deploy both together"
            }
            None => "",
        };
        cannot(url, &format!("{}{hint}", describe(&thrown)))
    })?;
    let response: Response = response.unchecked_into();
    if !response.ok() {
        return Err(cannot(url, &format!("HTTP status {}", response.status())));
    }
    Ok(response)
}

fn cannot(url: &str, why: &str) -> FaasmError {
    FaasmError::new(Code::CannotLoad, format!("cannot load {url}: {why}"))
}

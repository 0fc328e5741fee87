//! Loading of built functions: manifest, module, integrity; and, for the stack of a trap, names.

use crate::error::{Code, FaasmError, describe};
use crate::global::{console_error, fetch, location};
use faasm_bridge::manifest::{Artefact, Manifest, SCHEMA};
use faasm_bridge::names::{Functions, Names};
use js_sys::{Object, Promise, Reflect, WebAssembly};
use std::cell::OnceCell;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{Response, Url};

/// A function ready to run any number of times.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) manifest: Manifest,
    pub(crate) module: WebAssembly::Module,
    /// Where the manifest came from.
    url: String,
    /// Names of the module's functions, once a stack needed them.
    names: OnceCell<Functions>,
}

impl Loaded {
    /// The names of the module's functions, where they are not in the module itself; fetched the first time.
    ///
    /// Why they cannot be had is said on the console only: a stack without names is still a stack.
    pub(crate) async fn names(&self) -> Option<&Functions> {
        let artefact = self.manifest.names.as_ref()?;
        if self.names.get().is_none() {
            let names = fetch_names(&self.url, artefact).await.inspect_err(|error| {
                console_error(&format!("a stack stays without names: {}", error.message));
            });
            // Another run may have been faster, with the same names.
            let _ = self.names.set(names.ok()?.asyncify);
        }
        self.names.get()
    }
}

/// Fetches the names that a manifest speaks of.
async fn fetch_names(base: &str, artefact: &Artefact) -> Result<Names, FaasmError> {
    let url = resolve(&artefact.file, base)?;
    let text = text(&url, Some(&artefact.integrity)).await?;
    serde_json::from_str(&text).map_err(|error| cannot(&url, &error.to_string()))
}

/// Fetches a manifest and the module it names.
pub(crate) async fn load(address: &str) -> Result<Loaded, FaasmError> {
    let url = resolve(address, &location())?;
    let manifest = parse(&url, &text(&url, None).await?)?;
    let artefact = &manifest.engines.asyncify.artefact;
    let module_url = resolve(&artefact.file, &url)?;
    let response = get(&module_url, Some(&artefact.integrity)).await?;
    let response: JsValue = response.into();
    let module = WebAssembly::compile_streaming(&Promise::resolve(&response));
    let module = JsFuture::from(module)
        .await
        .map_err(|thrown| cannot(&module_url, &describe(&thrown)))?
        .unchecked_into();
    Ok(Loaded { manifest, module, url, names: OnceCell::new() })
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

async fn text(url: &str, integrity: Option<&str>) -> Result<String, FaasmError> {
    let failed = |thrown: JsValue| cannot(url, &describe(&thrown));
    let text = get(url, integrity).await?.text().map_err(failed)?;
    Ok(JsFuture::from(text).await.map_err(failed)?.as_string().unwrap_or_default())
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

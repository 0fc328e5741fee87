//! Functions built by `faasm-asyncify`: a manifest, a module for each engine, and optional function names for the stack
//! of a trap.

use super::documents::{self, ManifestParts};
use super::fetch::{load_error, resolve, text};
use super::modules::Modules;
use super::{Loaded, Program, Source, needs_asyncify, select};
use crate::engine::{EngineRequest, Kind, choose};
use crate::error::FaasmError;
use crate::global::{console_error, location};
use faasm_bridge::manifest::{Artefact, Asyncify, Engines, UnwindBuffer};
use faasm_bridge::names::{Functions, Names};
use js_sys::WebAssembly;
use std::cell::OnceCell;
use std::rc::Rc;
use web_sys::Url;

/// A built function: its manifest, and its modules once they are fetched.
pub(super) struct Built {
    engines: Engines,
    /// The names' artefact, if the names are not in the modules themselves.
    names: Option<Artefact>,
    /// The manifest's address.
    url: String,
    /// The manifest's text.
    text: String,
    modules: Rc<Modules>,
    /// The names, fetched when a stack needs them.
    fetched: OnceCell<Names>,
}

impl Built {
    /// Address and text of the manifest.
    pub(super) fn manifest(&self) -> (&str, &str) {
        (&self.url, &self.text)
    }

    /// Why there is no module for Asyncify, if so.
    pub(super) fn without_asyncify(&self) -> Option<&str> {
        without_asyncify(&self.engines)
    }

    /// The module for an engine, fetched on first use.
    pub(super) async fn program(&self, engine: Kind, name: &str) -> Result<Program, FaasmError> {
        let (artefact, buffer) = artefact(&self.engines, engine, name)?;
        let url = resolve(&artefact.file, &self.url)?;
        let module = self.modules.get(&url, &artefact.integrity).await?;
        Ok(Program { engine, module, buffer, storage: Vec::new() })
    }

    /// The names of a module's functions if they are in a separate file, fetched on first use.
    ///
    /// An error is logged on the console only: a stack without names is still useful.
    pub(super) async fn names(&self, engine: Kind) -> Option<&Functions> {
        let artefact = self.names.as_ref()?;
        if self.fetched.get().is_none() {
            let names = fetch_names(&self.url, artefact).await.inspect_err(|error| {
                console_error(&format!("a stack has no names: {}", error.message));
            });
            // Another run may have set the same names meanwhile.
            let _ = self.fetched.set(names.ok()?);
        }
        self.fetched.get().map(|names| match engine {
            Kind::Jspi => &names.jspi,
            Kind::Asyncify => &names.asyncify,
        })
    }
}

fn without_asyncify(engines: &Engines) -> Option<&str> {
    match &engines.asyncify {
        Asyncify::Artefact(_) => None,
        Asyncify::Unsupported { unsupported } => Some(unsupported),
    }
}

fn artefact<'a>(
    engines: &'a Engines,
    engine: Kind,
    name: &str,
) -> Result<(&'a Artefact, Option<UnwindBuffer>), FaasmError> {
    match (engine, &engines.asyncify) {
        (Kind::Jspi, _) => Ok((&engines.jspi, None)),
        (Kind::Asyncify, Asyncify::Artefact(asyncify)) => Ok((&asyncify.artefact, asyncify.buffer)),
        (Kind::Asyncify, Asyncify::Unsupported { unsupported }) => {
            Err(needs_asyncify(name, unsupported))
        }
    }
}

/// Fetches the names' artefact.
async fn fetch_names(base: &str, artefact: &Artefact) -> Result<Names, FaasmError> {
    let url = resolve(&artefact.file, base)?;
    let text = text(&url, Some(&artefact.integrity)).await?;
    documents::names(&text).map_err(|problem| load_error(&url, &problem))
}

/// Fetches a manifest and, at the same time, the module that it probably names for the engine.
pub(crate) async fn load(
    address: &str,
    wanted: EngineRequest,
    modules: &Rc<Modules>,
) -> Result<Loaded, FaasmError> {
    let url = resolve(address, &location())?;
    let engine = choose(wanted).await?;
    let probable = probable_module(&url, engine);
    if let Some(module) = &probable {
        modules.guess(module);
    }
    let loaded = load_from(url, engine, wanted, modules).await;
    if let Some(module) = &probable {
        modules.forget(module);
    }
    loaded
}

async fn load_from(
    url: String,
    engine: Kind,
    wanted: EngineRequest,
    modules: &Rc<Modules>,
) -> Result<Loaded, FaasmError> {
    let text = text(&url, None).await?;
    load_given(url, text, None, engine, wanted, modules).await
}

/// Loads a function from its manifest's text and, if available, a compiled module.
pub(crate) async fn load_given(
    url: String,
    text: String,
    module: Option<WebAssembly::Module>,
    mut engine: Kind,
    wanted: EngineRequest,
    modules: &Rc<Modules>,
) -> Result<Loaded, FaasmError> {
    let ManifestParts { name, entry, cluster_only, engines, names, chained, state, versions } =
        documents::manifest(&url, &text)?;
    if let (Kind::Asyncify, Some(why)) = (engine, without_asyncify(&engines)) {
        engine = select(wanted, &name, Some(why)).await?;
    }
    let (artefact, _) = artefact(&engines, engine, &name)?;
    if let Some(module) = module {
        modules.put(&artefact.integrity, module);
    }
    modules.get(&resolve(&artefact.file, &url)?, &artefact.integrity).await?;
    let modules = Rc::clone(modules);
    let built = Built { engines, names, url, text, modules, fetched: OnceCell::new() };
    let source = Source::Built(Box::new(built));
    let facts = entry.facts();
    Ok(Loaded { name, entry, facts, cluster_only, engine, chained, state, versions, source })
}

/// The address where the rewriter puts the module of a manifest.
fn probable_module(manifest: &str, engine: Kind) -> Option<String> {
    let ending = match engine {
        Kind::Jspi => ".wasm",
        Kind::Asyncify => ".asyncify.wasm",
    };
    let url = Url::new(manifest).ok()?;
    url.set_pathname(&format!("{}{ending}", url.pathname().strip_suffix(".json")?));
    // References in a manifest are resolved against its path alone.
    url.set_search("");
    url.set_hash("");
    Some(url.href())
}

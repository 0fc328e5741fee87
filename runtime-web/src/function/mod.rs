//! Loads functions: built ones by their manifest, and originals.

mod built;
mod documents;
mod fetch;
mod modules;
mod original;

pub(crate) use built::load_given;
pub(crate) use documents::{policy, rules};
pub(crate) use fetch::load_error;
pub(crate) use modules::Modules;
pub(crate) use original::Storage;

use crate::engine::{EngineRequest, Kind, choose};
use crate::error::{Code, FaasmError};
use crate::global::location;
use built::Built;
use faasm_bridge::guest::ModuleFacts;
use faasm_bridge::manifest::{Entry, UnwindBuffer};
use faasm_bridge::names::Functions;
use faasm_bridge::placement::Policy;
use faasm_bridge::residence::Rules;
use js_sys::WebAssembly;
use original::Original;
use std::rc::Rc;
use web_sys::Url;

/// A loaded function.
pub(crate) struct Loaded {
    pub(crate) name: String,
    pub(crate) entry: Entry,
    pub(crate) facts: ModuleFacts,
    /// Imports that only a Faasm cluster supports.
    pub(crate) cluster_only: Vec<String>,
    /// The default engine of its runs.
    pub(crate) engine: Kind,
    /// The placement of the calls that it chains, unless the page decides.
    pub(crate) chained: Policy,
    /// The residence rules of its manifest, in addition to the page's.
    pub(crate) state: Rules,
    /// Content hashes of the binaries that the cluster may have, if known.
    pub(crate) versions: Vec<String>,
    source: Source,
}

enum Source {
    Built(Box<Built>),
    Original { module: WebAssembly::Module, storage: Vec<Storage> },
}

/// A module for one engine.
pub(crate) struct Program {
    pub(crate) engine: Kind,
    pub(crate) module: WebAssembly::Module,
    /// The unwind buffer, if the module is instrumented.
    pub(crate) buffer: Option<UnwindBuffer>,
    /// Memories and tables that the module imports.
    pub(crate) storage: Vec<Storage>,
}

impl Loaded {
    /// Address and text of its manifest; `None` for originals.
    pub(crate) fn manifest(&self) -> Option<(&str, &str)> {
        match &self.source {
            Source::Built(built) => Some(built.manifest()),
            Source::Original { .. } => None,
        }
    }

    /// The engine for a call chained by a run with the engine `caller`.
    pub(crate) fn engine_like(&self, caller: Kind) -> Kind {
        match &self.source {
            Source::Built(built) if caller == Kind::Jspi || built.without_asyncify().is_none() => {
                caller
            }
            _ => self.engine,
        }
    }

    /// The engine for a run: the `wanted` one, or the default.
    pub(crate) async fn engine(&self, wanted: Option<EngineRequest>) -> Result<Kind, FaasmError> {
        let Some(wanted) = wanted else { return Ok(self.engine) };
        let without = match &self.source {
            Source::Built(built) => built.without_asyncify(),
            Source::Original { .. } => Some(NOT_BUILT),
        };
        select(wanted, &self.name, without).await
    }

    /// The module for an engine, fetched on first use.
    pub(crate) async fn program(&self, engine: Kind) -> Result<Program, FaasmError> {
        match (&self.source, engine) {
            (Source::Built(built), _) => built.program(engine, &self.name).await,
            (Source::Original { module, storage }, Kind::Jspi) => {
                let (module, storage) = (module.clone(), storage.clone());
                Ok(Program { engine, module, buffer: None, storage })
            }
            (Source::Original { .. }, Kind::Asyncify) => Err(needs_asyncify(&self.name, NOT_BUILT)),
        }
    }

    /// The names of a module's functions, if they are in a separate file.
    pub(crate) async fn names(&self, engine: Kind) -> Option<&Functions> {
        match &self.source {
            Source::Built(built) => built.names(engine).await,
            Source::Original { .. } => None,
        }
    }
}

/// Why an original has no module for Asyncify.
const NOT_BUILT: &str =
    "it was not built; build it with `faasm-asyncify build`, and load the manifest";

/// Selects the engine for a function; `without_asyncify` is the reason if it has no module for Asyncify.
async fn select(
    wanted: EngineRequest,
    name: &str,
    without_asyncify: Option<&str>,
) -> Result<Kind, FaasmError> {
    let Some(why) = without_asyncify else { return choose(wanted).await };
    if wanted == EngineRequest::Only(Kind::Asyncify) {
        return Err(needs_asyncify(name, why));
    }
    choose(EngineRequest::Only(Kind::Jspi)).await.map_err(|_| {
        let message = format!(
            "this browser has no JavaScript Promise Integration, and `{name}` has no module for engine \"asyncify\": {why}"
        );
        FaasmError::new(Code::NoJspi, message)
    })
}

fn needs_asyncify(name: &str, why: &str) -> FaasmError {
    let message = format!("`{name}` has no module for engine \"asyncify\": {why}");
    FaasmError::new(Code::BadOptions, message)
}

/// Loads a function by address: an original if that ends with `.wasm`, otherwise a manifest with the engine's module.
pub(crate) async fn load(
    address: &str,
    wanted: EngineRequest,
    name: Option<String>,
    modules: &Rc<Modules>,
) -> Result<Loaded, FaasmError> {
    let url = fetch::resolve(address, &location())?;
    let path = Url::new(&url).map(|url| url.pathname()).unwrap_or_default();
    let file = path.rsplit('/').next().unwrap_or_default();
    match file.strip_suffix(".wasm") {
        Some(stem) => {
            let name = name.unwrap_or_else(|| stem.to_owned());
            select(wanted, &name, Some(NOT_BUILT)).await?;
            load_original(&fetch::bytes(&url).await?, name, file).await
        }
        None => built::load(&url, wanted, modules).await,
    }
}

/// Loads the function `name`, whose manifest is beside that of another.
pub(crate) async fn load_beside(
    manifest: &str,
    name: &str,
    wanted: EngineRequest,
    modules: &Rc<Modules>,
) -> Result<Loaded, FaasmError> {
    built::load(&fetch::resolve(&format!("{name}.json"), manifest)?, wanted, modules).await
}

/// Loads an original from its bytes.
pub(crate) async fn load_bytes(
    bytes: &[u8],
    wanted: EngineRequest,
    name: Option<String>,
) -> Result<Loaded, FaasmError> {
    let name = name.unwrap_or_else(|| "function".to_owned());
    select(wanted, &name, Some(NOT_BUILT)).await?;
    load_original(bytes, name, "these bytes").await
}

async fn load_original(bytes: &[u8], name: String, from: &str) -> Result<Loaded, FaasmError> {
    let Original { module, entry, cluster_only, storage } = original::read(bytes, from).await?;
    let facts = entry.facts();
    let source = Source::Original { module, storage };
    let chained = Policy::default();
    let (engine, state, versions) = (Kind::Jspi, Rules::default(), Vec::new());
    Ok(Loaded { name, entry, facts, cluster_only, engine, chained, state, versions, source })
}

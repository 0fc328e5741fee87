//! Loading of functions: built ones by their manifest, and originals.

mod built;
mod documents;
mod fetch;
mod modules;
mod original;

pub(crate) use built::load_given;
pub(crate) use documents::{policy, rules};
pub(crate) use fetch::cannot;
pub(crate) use modules::Modules;
pub(crate) use original::Storage;

use crate::engine::{Kind, Wanted, choose};
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

/// A function ready to run any number of times.
pub(crate) struct Loaded {
    pub(crate) name: String,
    pub(crate) entry: Entry,
    pub(crate) facts: ModuleFacts,
    /// Imports that only a cluster answers.
    pub(crate) cluster_only: Vec<String>,
    /// The engine of runs that do not ask for one.
    pub(crate) engine: Kind,
    /// Where the calls that it chains run, unless the page says otherwise.
    pub(crate) chained: Policy,
    /// Where values of state live that it works on, besides what the page says.
    pub(crate) state: Rules,
    /// Content hashes of what the cluster should have, if the page knows.
    pub(crate) versions: Vec<String>,
    source: Source,
}

enum Source {
    Built(Box<Built>),
    Original { module: WebAssembly::Module, storage: Vec<Storage> },
}

/// What one engine runs.
pub(crate) struct Program {
    pub(crate) engine: Kind,
    pub(crate) module: WebAssembly::Module,
    /// Where the module is instrumented.
    pub(crate) buffer: Option<UnwindBuffer>,
    /// What it imports besides functions.
    pub(crate) storage: Vec<Storage>,
}

impl Loaded {
    /// Address and text of its manifest, which originals do not have.
    pub(crate) fn manifest(&self) -> Option<(&str, &str)> {
        match &self.source {
            Source::Built(built) => Some(built.manifest()),
            Source::Original { .. } => None,
        }
    }

    /// The engine for a call of it by a run with this one.
    pub(crate) fn engine_like(&self, caller: Kind) -> Kind {
        match &self.source {
            Source::Built(built) if caller == Kind::Jspi || built.without_asyncify().is_none() => {
                caller
            }
            _ => self.engine,
        }
    }

    /// The engine for a run: the one that is `wanted`, or the one it was loaded for.
    pub(crate) async fn engine(&self, wanted: Option<Wanted>) -> Result<Kind, FaasmError> {
        let Some(wanted) = wanted else { return Ok(self.engine) };
        let without = match &self.source {
            Source::Built(built) => built.without_asyncify(),
            Source::Original { .. } => Some(NOT_BUILT),
        };
        select(wanted, &self.name, without).await
    }

    /// The module for an engine; fetched the first time.
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

    /// The names of a module's functions, where they are not in the module itself.
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

/// The engine for a function, which may be `without_asyncify` for a reason.
async fn select(
    wanted: Wanted,
    name: &str,
    without_asyncify: Option<&str>,
) -> Result<Kind, FaasmError> {
    let Some(why) = without_asyncify else { return choose(wanted).await };
    if wanted == Wanted::This(Kind::Asyncify) {
        return Err(needs_asyncify(name, why));
    }
    choose(Wanted::This(Kind::Jspi)).await.map_err(|_| {
        let message = format!(
            "this browser has no JavaScript Promise Integration, and `{name}` has nothing for the engine \"asyncify\": {why}"
        );
        FaasmError::new(Code::NoJspi, message)
    })
}

fn needs_asyncify(name: &str, why: &str) -> FaasmError {
    let message = format!("`{name}` has nothing for the engine \"asyncify\": {why}");
    FaasmError::new(Code::BadOptions, message)
}

/// Loads what is at an address: an original where that ends with `.wasm`, else a manifest with the module it names for the
/// engine.
pub(crate) async fn load(
    address: &str,
    wanted: Wanted,
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

/// Loads the function of that name whose manifest is beside another.
pub(crate) async fn load_beside(
    manifest: &str,
    name: &str,
    wanted: Wanted,
    modules: &Rc<Modules>,
) -> Result<Loaded, FaasmError> {
    built::load(&fetch::resolve(&format!("{name}.json"), manifest)?, wanted, modules).await
}

/// Loads an original that the page has already.
pub(crate) async fn load_bytes(
    bytes: &[u8],
    wanted: Wanted,
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

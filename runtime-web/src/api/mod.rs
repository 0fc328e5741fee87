//! The JavaScript API: `connect`, `Runtime`, `FaasmFunction`, `RuntimeState`. `types.d.ts` has its types and
//! documentation.

mod function;
mod input;
mod options;
mod promise;
mod state;
mod token;
mod triggers;

pub use function::FaasmFunction;
pub(crate) use function::run_with;
pub use state::RuntimeState;
pub(crate) use triggers::Triggers;

use crate::chain::{Chains, Library, WorkerPool, connect_options};
use crate::connection::Connection;
use crate::engine::{EngineRequest, choose};
use crate::error::{Code, FaasmError};
use crate::function::{Loaded, Modules, load, load_bytes, load_error, load_given};
use crate::global::location;
use crate::pins;
use crate::shared::{Shared, closed};
use crate::version;
use input::Input;
use js_sys::{Promise, Reflect};
pub(crate) use options::Options;
use options::{address, bytes, invalid};
pub(crate) use promise::promise;
use std::cell::RefCell;
use std::rc::Rc;
use wasm_bindgen::prelude::*;
use web_sys::{Blob, Url};

/// Connects to a relay. `pool` opens a worker pool for chained calls; undefined in workers.
#[wasm_bindgen(skip_typescript)]
pub fn connect(options: JsValue, pool: JsValue) -> Promise {
    promise(async { Ok(open(Options(options), pool).await?.into()) })
}

async fn open(options: Options, pool: JsValue) -> Result<Runtime, FaasmError> {
    let user = options
        .string("user")?
        .ok_or_else(|| FaasmError::new(Code::BadOptions, "connect needs a `user`"))?;
    let url = relay_address(options.string("url")?)?;
    let reach = options.reach()?;
    let token = options.token()?;
    let wanted = options.engine()?.unwrap_or(EngineRequest::Auto);
    // A worker of the pool delegates placement to its page.
    let (placement, delegate) = (options.placement()?, options.callback("chain")?);
    let rules = options.rules()?;
    if let EngineRequest::Only(_) = wanted {
        // Fails before connecting.
        choose(wanted).await?;
    }
    let first = token.get().await?;
    // The engine is measured while the relay answers.
    let workers = WorkerPool::new(pool, connect_options(&user, &url, first.as_deref(), &reach));
    let connecting = Connection::open(url, &user, first.clone(), reach);
    let (connection, _) = futures_util::future::try_join(connecting, choose(wanted)).await?;
    let modules: Rc<Modules> = Rc::default();
    let library = Library::new(Rc::clone(&modules), wanted);
    let shared = Shared::new(connection, Chains::new(placement, library, workers, delegate));
    token.renew(first, &shared);
    pins::apply(&shared, &rules).map_err(|problem| FaasmError::new(Code::BadOptions, problem))?;
    let state = RuntimeState::new(&shared).into();
    Ok(Runtime { shared: RefCell::new(Some(shared)), wanted, modules, state })
}

/// The relay's WebSocket address, from any address of it or from the page's own.
fn relay_address(given: Option<String>) -> Result<String, FaasmError> {
    let (address, path) = match given {
        Some(given) => (given, None),
        None => (location(), Some("/ws")),
    };
    let url = Url::new_with_base(&address, &location())
        .map_err(|_| FaasmError::new(Code::BadOptions, format!("`{address}` is not a URL")))?;
    if let Some(path) = path {
        url.set_pathname(path);
        url.set_search("");
    } else if url.pathname() == "/" {
        url.set_pathname("/ws");
    }
    url.set_hash("");
    match url.protocol().as_str() {
        "http:" => url.set_protocol("ws:"),
        "https:" => url.set_protocol("wss:"),
        _ => {}
    }
    Ok(url.href())
}

/// An original that the page passes as bytes.
fn original(source: &JsValue) -> Result<Input, FaasmError> {
    let blob = || source.dyn_ref::<Blob>().cloned().map(Input::Blob);
    let expected = "a URL, a File, a Blob, a Uint8Array or an ArrayBuffer";
    bytes(source).map(Input::Bytes).or_else(blob).ok_or_else(|| invalid("source", expected))
}

/// The function's name from a `File`'s name.
fn file_name(source: &JsValue) -> Option<String> {
    let name = Reflect::get(source, &"name".into()).ok()?.as_string()?;
    Some(name.strip_suffix(".wasm").unwrap_or(&name).to_owned())
}

/// In a worker of a pool: loads a function from the manifest's text and, if the page sent it, the compiled module.
async fn load_in_worker(
    url: String,
    text: String,
    options: &Options,
    wanted: EngineRequest,
    modules: &Rc<Modules>,
) -> Result<Loaded, FaasmError> {
    let module = options.any("module").dyn_into().ok();
    load_given(url, text, module, choose(wanted).await?, wanted, modules).await
}

/// A connection to a relay, and this page's copy of the user's state.
#[wasm_bindgen(skip_typescript)]
pub struct Runtime {
    /// `None` after `dispose`.
    shared: RefCell<Option<Rc<Shared>>>,
    /// The engine for functions loaded without the option `engine`.
    wanted: EngineRequest,
    modules: Rc<Modules>,
    state: JsValue,
}

impl std::fmt::Debug for Runtime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Runtime")
    }
}

#[wasm_bindgen]
impl Runtime {
    /// Loads a built function by its manifest's address, or an original by address or bytes.
    pub fn load(&self, source: JsValue, options: JsValue) -> Promise {
        let shared = self.shared.borrow().clone();
        let (modules, wanted) = (Rc::clone(&self.modules), self.wanted);
        promise(async move {
            let shared = shared.ok_or_else(closed)?;
            let options = Options(options);
            let wanted = options.engine()?.unwrap_or(wanted);
            let name = options.string("name")?;
            let mut is_pool_worker = false;
            let loaded = match address(&source) {
                Some(address) => match options.string("manifest")? {
                    Some(text) => {
                        is_pool_worker = true;
                        load_in_worker(address, text, &options, wanted, &modules).await?
                    }
                    None => load(&address, wanted, name, &modules).await?,
                },
                None => {
                    let name = name.or_else(|| file_name(&source));
                    load_bytes(&original(&source)?.read().await?, wanted, name).await?
                }
            };
            if shared.is_disposed() {
                return Err(closed());
            }
            let loaded = Rc::new(loaded);
            // The page of a pool has compared the version already.
            if !is_pool_worker {
                pins::apply(&shared, &loaded.state)
                    .map_err(|why| load_error(&loaded.name, &why))?;
                version::compare(&loaded, &shared);
            }
            shared.chains.library.add(&loaded);
            Ok(FaasmFunction::new(loaded, shared).into())
        })
    }

    /// Sets the token for later connections; the page calls this in the workers of its pool.
    pub fn renew(&self, token: &str) {
        if let Some(shared) = self.shared.borrow().as_ref() {
            shared.set_token(token);
        }
    }

    /// State access for the page's own code.
    #[wasm_bindgen(getter)]
    pub fn state(&self) -> JsValue {
        self.state.clone()
    }

    /// Closes the connection, aborts all runs and releases loaded functions.
    pub fn dispose(&self) {
        if let Some(shared) = self.shared.take() {
            shared.dispose();
            self.modules.clear();
        }
    }
}

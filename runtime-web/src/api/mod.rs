//! What pages see: `connect`, `Runtime`, `FaasmFunction`. Types and their documentation are in `types.d.ts`.

use crate::connection::Connection;
use crate::error::{Code, FaasmError};
use crate::function::{Loaded, load};
use crate::global::location;
use crate::host::unexpected;
use crate::run::{Listeners, Outcome, Stats, run};
use faasm_bridge::guest::Invocation;
use faasm_bridge::state::LocalTier;
use faasm_bridge::wire::{CallEntry, Reply, Request};
use js_sys::{Array, Function, Object, Reflect, Uint8Array};
use std::cell::RefCell;
use std::rc::Rc;
use wasm_bindgen::prelude::*;
use web_sys::Url;

#[wasm_bindgen(typescript_custom_section)]
const TYPES: &str = include_str!("types.d.ts");

#[wasm_bindgen]
extern "C" {
    /// Options of [`connect`].
    #[wasm_bindgen(typescript_type = "ConnectOptions")]
    pub type ConnectOptions;

    /// Options of a run.
    #[wasm_bindgen(typescript_type = "RunOptions")]
    pub type RunOptions;

    #[wasm_bindgen(typescript_type = "Promise<RunResult>")]
    pub type RunPromise;

    #[wasm_bindgen(typescript_type = "RunResult")]
    pub type RunResult;
}

/// Connects to a relay.
#[wasm_bindgen]
pub async fn connect(options: ConnectOptions) -> Result<Runtime, JsValue> {
    let options = Options(options.into());
    let user = options
        .string("user")?
        .ok_or_else(|| FaasmError::new(Code::BadOptions, "connect needs a `user`"))?;
    let url = relay_address(options.string("url")?)?;
    let connection = Connection::open(url, &user, options.string("token")?).await?;
    Ok(Runtime { connection, tier: Rc::default() })
}

/// The WebSocket address for a relay given by any address, or for the one that served this page.
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

/// A connection to a relay, and this page's copy of the user's state.
#[wasm_bindgen]
pub struct Runtime {
    connection: Rc<Connection>,
    tier: Rc<RefCell<LocalTier>>,
}

impl std::fmt::Debug for Runtime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Runtime")
    }
}

#[wasm_bindgen]
impl Runtime {
    /// Fetches a built function by the address of its manifest.
    pub async fn load(
        &self,
        #[wasm_bindgen(unchecked_param_type = "string | URL")] manifest: JsValue,
    ) -> Result<FaasmFunction, JsValue> {
        let (connection, tier) = (self.connection.clone(), self.tier.clone());
        let manifest = address(&manifest).ok_or_else(|| Options::wrong("manifest", "a URL"))?;
        let loaded = Rc::new(load(&manifest).await?);
        Ok(FaasmFunction { loaded, connection, tier })
    }

    /// Ends the connection; runs that wait for the relay end with an error.
    pub fn close(&self) {
        self.connection.close();
    }
}

/// A loaded function.
#[wasm_bindgen]
pub struct FaasmFunction {
    loaded: Rc<Loaded>,
    connection: Rc<Connection>,
    tier: Rc<RefCell<LocalTier>>,
}

impl std::fmt::Debug for FaasmFunction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "FaasmFunction({})", self.loaded.manifest.name)
    }
}

#[wasm_bindgen]
impl FaasmFunction {
    /// Its name.
    #[wasm_bindgen(getter)]
    pub fn name(&self) -> String {
        self.loaded.manifest.name.clone()
    }

    /// Runs the function, as often as you like and at the same time.
    pub fn run(&self, options: Option<RunOptions>) -> RunPromise {
        let options = Options(options.map_or(JsValue::UNDEFINED, Into::into));
        let this = Self {
            loaded: self.loaded.clone(),
            connection: self.connection.clone(),
            tier: self.tier.clone(),
        };
        let promise =
            wasm_bindgen_futures::future_to_promise(async move { this.start(options).await });
        promise.unchecked_into()
    }
}

impl FaasmFunction {
    async fn start(self, options: Options) -> Result<JsValue, JsValue> {
        let invocation = Invocation {
            function: self.name(),
            input: options.bytes("input")?,
            index: 0,
            args: options.strings("args")?,
            env: options.pairs("env")?,
        };
        let outcome = match options.string("where")?.as_deref() {
            Some("cluster") => self.run_in_cluster(invocation).await?,
            None | Some("browser") => {
                self.check_runs_here()?;
                let listeners =
                    Listeners::new(options.callback("onStdout")?, options.callback("onStderr")?)?;
                run(&self.loaded, invocation, self.connection, self.tier, listeners).await?
            }
            Some(other) => {
                let message = format!("`where` is \"browser\" or \"cluster\", not \"{other}\"");
                return Err(FaasmError::new(Code::BadOptions, message).into());
            }
        };
        Ok(to_result(&outcome))
    }

    /// Imports that only a cluster has are reported before anything runs.
    fn check_runs_here(&self) -> Result<(), FaasmError> {
        let imports = &self.loaded.manifest.imports.cluster_only;
        if imports.is_empty() {
            return Ok(());
        }
        let message = format!(
            "`{}` imports {}, which only a cluster has: run it with {{ where: \"cluster\" }}",
            self.loaded.manifest.name,
            imports.join(", ")
        );
        Err(FaasmError::new(Code::ClusterOnly, message))
    }

    async fn run_in_cluster(&self, invocation: Invocation) -> Result<Outcome, FaasmError> {
        let began = crate::global::performance_now();
        let Invocation { function, input, args, env, .. } = invocation;
        let request = Request::Call { function, entry: CallEntry::Main, args, env };
        let (reply, output) = self.connection.request(request, &input)?.answer().await?;
        let return_value = match reply {
            Reply::Call { return_value } => return_value,
            Reply::CallFailed { code } => {
                let reason = String::from_utf8_lossy(&output);
                return Err(FaasmError::new(Code::Cluster(code), reason));
            }
            reply => return Err(unexpected(reply)),
        };
        let total = crate::global::performance_now() - began;
        Ok(Outcome { return_value, output, stats: Stats { total, ..Stats::default() } })
    }
}

fn to_result(outcome: &Outcome) -> JsValue {
    let stats = object(&[
        ("suspensions", outcome.stats.suspensions.into()),
        ("chainedCalls", outcome.stats.chained_calls.into()),
        ("totalMs", outcome.stats.total.into()),
        ("suspendedMs", outcome.stats.suspended.into()),
    ]);
    object(&[
        ("returnValue", outcome.return_value.into()),
        ("output", Uint8Array::from(outcome.output.as_slice()).into()),
        ("stats", stats),
    ])
}

fn object(fields: &[(&str, JsValue)]) -> JsValue {
    let object = Object::new();
    for (name, value) in fields {
        Reflect::set(&object, &(*name).into(), value)
            .expect("properties of a plain object can be set");
    }
    object.into()
}

/// A string, or the address of a `URL`.
fn address(value: &JsValue) -> Option<String> {
    value.dyn_ref::<Url>().map(Url::href).or_else(|| value.as_string())
}

/// An options object from JavaScript.
struct Options(JsValue);

impl Options {
    fn get(&self, name: &str) -> Option<JsValue> {
        if self.0.is_null_or_undefined() {
            return None;
        }
        let value = Reflect::get(&self.0, &name.into()).ok()?;
        (!value.is_null_or_undefined()).then_some(value)
    }

    fn wrong(name: &str, expected: &str) -> FaasmError {
        FaasmError::new(Code::BadOptions, format!("`{name}` must be {expected}"))
    }

    /// A string, or a `URL`.
    fn string(&self, name: &str) -> Result<Option<String>, FaasmError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        address(&value).map(Some).ok_or_else(|| Self::wrong(name, "a string"))
    }

    fn callback(&self, name: &str) -> Result<Option<Function>, FaasmError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        value.dyn_into().map(Some).map_err(|_| Self::wrong(name, "a function"))
    }

    fn bytes(&self, name: &str) -> Result<Vec<u8>, FaasmError> {
        let Some(value) = self.get(name) else { return Ok(Vec::new()) };
        if let Some(text) = value.as_string() {
            return Ok(text.into_bytes());
        }
        if value.is_instance_of::<js_sys::ArrayBuffer>() || value.is_instance_of::<Uint8Array>() {
            return Ok(Uint8Array::new(&value).to_vec());
        }
        Err(Self::wrong(name, "a string, a Uint8Array or an ArrayBuffer"))
    }

    fn strings(&self, name: &str) -> Result<Vec<String>, FaasmError> {
        let Some(value) = self.get(name) else { return Ok(Vec::new()) };
        let expected = "an array of strings";
        let array: Array = value.dyn_into().map_err(|_| Self::wrong(name, expected))?;
        let strings: Option<Vec<String>> = array.iter().map(|item| item.as_string()).collect();
        strings.ok_or_else(|| Self::wrong(name, expected))
    }

    fn pairs(&self, name: &str) -> Result<Vec<(String, String)>, FaasmError> {
        let Some(value) = self.get(name) else { return Ok(Vec::new()) };
        let expected = "an object of strings";
        let object: Object = value.dyn_into().map_err(|_| Self::wrong(name, expected))?;
        let entries = Object::entries(&object);
        let pair = |entry: JsValue| {
            let entry: Array = entry.unchecked_into();
            Some((entry.get(0).as_string()?, entry.get(1).as_string()?))
        };
        let pairs: Option<Vec<_>> = entries.iter().map(pair).collect();
        pairs.ok_or_else(|| Self::wrong(name, expected))
    }
}

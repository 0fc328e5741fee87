//! A loaded function, and its runs.

use super::options::Options;
use super::promise::promise;
use super::triggers::Triggers;
use crate::error::{Code, FaasmError};
use crate::function::Loaded;
use crate::global::performance_now;
use crate::host::{Listeners, reply_error};
use crate::object::object;
use crate::run::{Outcome, Start, Stats, run};
use crate::shared::{Bound, Shared, closed};
use faasm_bridge::guest::Invocation;
use faasm_bridge::wire::{CallEntry, Reply, Request};
use js_sys::{Promise, Uint8Array};
use std::cell::RefCell;
use std::rc::Rc;
use wasm_bindgen::prelude::*;

/// A loaded function.
#[wasm_bindgen(skip_typescript)]
pub struct FaasmFunction {
    name: String,
    bound: Rc<Bound>,
}

impl std::fmt::Debug for FaasmFunction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "FaasmFunction({})", self.name)
    }
}

impl FaasmFunction {
    pub(super) fn new(loaded: Rc<Loaded>, shared: Rc<Shared>) -> Self {
        let name = loaded.name.clone();
        let bound = Rc::new(RefCell::new(Some((loaded, Rc::clone(&shared)))));
        shared.functions.add(&bound);
        Self { name, bound }
    }
}

#[wasm_bindgen]
impl FaasmFunction {
    /// The function's name.
    #[wasm_bindgen(getter)]
    pub fn name(&self) -> String {
        self.name.clone()
    }

    /// Runs the function. Runs may overlap.
    pub fn run(&self, options: JsValue) -> Promise {
        let bound = self.bound.borrow().clone();
        promise(async move {
            let (loaded, shared) = bound.ok_or_else(closed)?;
            let outcome = start(loaded, shared, Options(options)).await?;
            Ok(to_result(&outcome))
        })
    }
}

/// Runs a function; `options` are those of `run`, and the internal ones of a chained call.
pub(crate) fn run_with(loaded: Rc<Loaded>, shared: Rc<Shared>, options: JsValue) -> Promise {
    promise(async move { Ok(to_result(&start(loaded, shared, Options(options)).await?)) })
}

/// Where a function is run.
enum Place {
    Browser,
    Cluster,
}

impl Place {
    fn of(options: &Options) -> Result<Self, FaasmError> {
        match options.string("where")?.as_deref() {
            None | Some("browser") => Ok(Place::Browser),
            Some("cluster") => Ok(Place::Cluster),
            Some(other) => {
                let message = format!("`where` is \"browser\" or \"cluster\", not \"{other}\"");
                Err(FaasmError::new(Code::BadOptions, message))
            }
        }
    }
}

async fn start(
    loaded: Rc<Loaded>,
    shared: Rc<Shared>,
    options: Options,
) -> Result<Outcome, FaasmError> {
    let place = Place::of(&options)?;
    let input = options.input()?;
    let (args, env) = (options.strings("args")?, options.pairs("env")?);
    let listeners = Listeners::new(
        options.callback("onStdout")?,
        options.callback("onStderr")?,
        options.callback("onEvent")?,
    );
    if let Place::Browser = place {
        check_runs_here(&loaded)?;
    }
    let engine = loaded.engine(options.engine()?).await?;
    let (cancel, _triggers) = Triggers::new(&options)?;
    shared.running.add(&cancel);
    let input = cancel.race(input.read()).await?;
    let function = loaded.name.clone();
    // In a worker of the pool, `local` has the page-only keys of the page.
    let added = shared.page_only.borrow_mut().add(&options.strings("local")?);
    added.map_err(|problem| FaasmError::new(Code::BadOptions, problem))?;
    // The page passes these to workers of its pool, for chained calls.
    let (entry, call) = (options.entry()?, options.number("call")?);
    let (pointer, index) = match entry {
        CallEntry::Main => (None, 0),
        CallEntry::Pointer(pointer) => (Some(pointer), 0),
        CallEntry::Index(index) => (None, index),
    };
    let invocation = Invocation { function, input: input.into(), index, args, env };
    match place {
        Place::Browser => {
            let start = Start { loaded, engine, invocation, pointer, call };
            run(start, shared, listeners, cancel).await
        }
        Place::Cluster => cancel.race(run_in_cluster(invocation, &shared)).await,
    }
}

/// Rejects functions that import host calls only a Faasm cluster has, before anything runs.
fn check_runs_here(loaded: &Loaded) -> Result<(), FaasmError> {
    let imports = &loaded.cluster_only;
    if imports.is_empty() {
        return Ok(());
    }
    let message = format!(
        "`{}` imports {}, which only a Faasm cluster has: if the relay is in front of one, run it there with \
         {{ where: \"cluster\" }}; otherwise build it without",
        loaded.name,
        imports.join(", ")
    );
    Err(FaasmError::new(Code::ClusterOnly, message))
}

/// Runs a function in the cluster. Dropping the future cancels the call.
async fn run_in_cluster(invocation: Invocation, shared: &Shared) -> Result<Outcome, FaasmError> {
    let began = performance_now();
    let Invocation { function, input, args, env, .. } = invocation;
    let request = Request::Call { function, entry: CallEntry::Main, args, env };
    let (reply, output) = shared.connection.request(request, &input)?.answer().await?;
    let return_value = match reply {
        Reply::Call { return_value } => return_value,
        Reply::CallFailed { code } => {
            let reason = String::from_utf8_lossy(&output);
            return Err(FaasmError::new(Code::named(&code), reason));
        }
        reply => return Err(reply_error(reply)),
    };
    let total = performance_now() - began;
    Ok(Outcome { return_value, output, stats: Stats { total, ..Stats::default() } })
}

fn to_result(outcome: &Outcome) -> JsValue {
    let engine = outcome.stats.engine.map_or(JsValue::NULL, |engine| engine.as_str().into());
    let stats = object(&[
        ("engine", engine),
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

//! Which engine: the one that is asked for, or the one whose suspensions cost less in this browser.
//!
//! What a browser has is tried, and what it costs is measured, once for each page; names of browsers play no part. Both
//! are in `docs/engines.md`, with figures.

use super::Kind;
use super::microbench::{self, Microbench};
use crate::error::{Code, FaasmError};
use crate::global::performance_now;
use futures_util::future::{FutureExt, LocalBoxFuture, Shared};
use js_sys::{Reflect, global};
use std::cell::RefCell;
use wasm_bindgen::JsValue;
use wasm_bindgen_futures::JsFuture;

/// Suspensions between two looks at the clock.
const LAP: u32 = 16;

/// How long it is measured, milliseconds, where the clock is fine; one tick for each engine, and one to find the first
/// tick, where it is not.
const BUDGET: f64 = 1.0;

/// How much dearer suspensions may be for an engine that runs smaller and faster code: the guest's own.
const MARGIN: f64 = 2.5;

/// What a page asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    Auto,
    This(Kind),
}

impl Wanted {
    /// Reads the option `engine`.
    pub(crate) fn parse(option: &str) -> Result<Self, FaasmError> {
        match option {
            "auto" => Ok(Wanted::Auto),
            "asyncify" => Ok(Wanted::This(Kind::Asyncify)),
            "jspi" => Ok(Wanted::This(Kind::Jspi)),
            other => {
                let message =
                    format!("`engine` is \"auto\", \"asyncify\" or \"jspi\", not \"{other}\"");
                Err(FaasmError::new(Code::BadOptions, message))
            }
        }
    }
}

/// What was found out about this browser.
#[derive(Clone, Copy, Debug)]
struct Found {
    jspi: bool,
    best: Kind,
}

thread_local! {
    static FOUND: RefCell<Option<Shared<LocalBoxFuture<'static, Found>>>> = const { RefCell::new(None) };
}

/// The engine to use.
///
/// # Errors
/// [`Code::NoJspi`] where it is asked for and this browser does not have it.
pub(crate) async fn choose(wanted: Wanted) -> Result<Kind, FaasmError> {
    match wanted {
        Wanted::This(Kind::Asyncify) => Ok(Kind::Asyncify),
        Wanted::Auto => Ok(found().await.best),
        Wanted::This(Kind::Jspi) if found().await.jspi => Ok(Kind::Jspi),
        Wanted::This(Kind::Jspi) => {
            let message = "this browser has no JavaScript Promise Integration: leave the engine to the runtime, or ask for \"asyncify\"";
            Err(FaasmError::new(Code::NoJspi, message))
        }
    }
}

fn found() -> Shared<LocalBoxFuture<'static, Found>> {
    FOUND
        .with_borrow_mut(|found| found.get_or_insert_with(|| find().boxed_local().shared()).clone())
}

async fn find() -> Found {
    let without = Found { jspi: false, best: Kind::Asyncify };
    let Some(jspi) = working_jspi().await else { return without };
    // Where Asyncify itself could not be tried, the other one works.
    let best = match microbench::of(Kind::Asyncify) {
        Ok(asyncify) => cheaper(&jspi, &asyncify).await.unwrap_or(Kind::Jspi),
        Err(_) => Kind::Jspi,
    };
    Found { jspi: true, best }
}

/// The bench, where this browser has what the engine needs and really suspends.
async fn working_jspi() -> Option<Microbench> {
    let webassembly = Reflect::get(&global(), &"WebAssembly".into()).ok()?;
    let has = |name: &str| {
        Reflect::get(&webassembly, &name.into()).is_ok_and(|found: JsValue| found.is_function())
    };
    if !has("Suspending") || !has("promising") {
        return None;
    }
    let bench = microbench::of(Kind::Jspi).ok()?;
    lap(&bench).await.ok()?;
    (bench.suspensions() == LAP).then_some(bench)
}

async fn lap(bench: &Microbench) -> Result<(), JsValue> {
    JsFuture::from(bench.suspend(LAP)?).await.map(drop)
}

async fn cheaper(jspi: &Microbench, asyncify: &Microbench) -> Result<Kind, JsValue> {
    // Code is compiled in the first lap, and the next round begins with a tick of the clock.
    rate(asyncify).await?;
    let began = performance_now();
    let (mut jspi_best, mut asyncify_best) = (0.0_f64, 0.0_f64);
    while performance_now() - began < BUDGET {
        // Whatever else the machine does can only make it slower.
        jspi_best = jspi_best.max(rate(jspi).await?);
        asyncify_best = asyncify_best.max(rate(asyncify).await?);
    }
    Ok(if jspi_best * MARGIN >= asyncify_best { Kind::Jspi } else { Kind::Asyncify })
}

/// Suspensions for each millisecond, over one tick of the clock.
async fn rate(bench: &Microbench) -> Result<f64, JsValue> {
    let began = performance_now();
    let mut suspensions = 0;
    loop {
        lap(bench).await?;
        suspensions += LAP;
        let passed = performance_now() - began;
        if passed > 0.0 {
            return Ok(f64::from(suspensions) / passed);
        }
    }
}

//! Selects the engine: the requested one, or the one whose suspensions cost less in this browser.
//!
//! Engines are probed and measured once per page, without regard to the browser's name. `docs/engines.md` describes
//! both, with figures.

use super::Kind;
use super::microbench::{self, Microbench};
use crate::error::{Code, FaasmError};
use crate::global::performance_now;
use futures_util::future::{FutureExt, LocalBoxFuture, Shared};
use js_sys::{Reflect, global};
use std::cell::RefCell;
use wasm_bindgen::JsValue;
use wasm_bindgen_futures::JsFuture;

/// Suspensions between two readings of the clock.
const LAP: u32 = 16;

/// The duration of the measurement in milliseconds if the clock is fine; with a coarse clock, one tick for each engine
/// and one to find the first tick.
const BUDGET: f64 = 1.0;

/// JSPI is preferred if its suspensions cost at most this factor more: it runs the guest's own code, which is smaller
/// and faster.
const MARGIN: f64 = 2.5;

/// The option `engine`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EngineRequest {
    Auto,
    Only(Kind),
}

impl EngineRequest {
    /// Reads the option `engine`.
    pub(crate) fn parse(option: &str) -> Result<Self, FaasmError> {
        match option {
            "auto" => Ok(EngineRequest::Auto),
            "asyncify" => Ok(EngineRequest::Only(Kind::Asyncify)),
            "jspi" => Ok(EngineRequest::Only(Kind::Jspi)),
            other => {
                let message =
                    format!("`engine` is \"auto\", \"asyncify\" or \"jspi\", not \"{other}\"");
                Err(FaasmError::new(Code::BadOptions, message))
            }
        }
    }
}

/// The result of probing this browser.
#[derive(Clone, Copy, Debug)]
struct Probe {
    jspi: bool,
    best: Kind,
}

thread_local! {
    static PROBE: RefCell<Option<Shared<LocalBoxFuture<'static, Probe>>>> = const { RefCell::new(None) };
}

/// Selects the engine.
///
/// # Errors
/// [`Code::NoJspi`] if JSPI is requested and this browser lacks it.
pub(crate) async fn choose(wanted: EngineRequest) -> Result<Kind, FaasmError> {
    match wanted {
        EngineRequest::Only(Kind::Asyncify) => Ok(Kind::Asyncify),
        EngineRequest::Auto => Ok(probe().await.best),
        EngineRequest::Only(Kind::Jspi) if probe().await.jspi => Ok(Kind::Jspi),
        EngineRequest::Only(Kind::Jspi) => {
            let message = "this browser has no JavaScript Promise Integration: leave the engine to the runtime, or ask for \"asyncify\"";
            Err(FaasmError::new(Code::NoJspi, message))
        }
    }
}

fn probe() -> Shared<LocalBoxFuture<'static, Probe>> {
    PROBE.with_borrow_mut(|probe| {
        probe.get_or_insert_with(|| measure().boxed_local().shared()).clone()
    })
}

async fn measure() -> Probe {
    let without = Probe { jspi: false, best: Kind::Asyncify };
    let Some(jspi) = working_jspi().await else { return without };
    // JSPI works even if the probe of Asyncify failed.
    let best = match microbench::of(Kind::Asyncify) {
        Ok(asyncify) => cheaper(&jspi, &asyncify).await.unwrap_or(Kind::Jspi),
        Err(_) => Kind::Jspi,
    };
    Probe { jspi: true, best }
}

/// The microbenchmark for JSPI, if this browser has it and really suspends.
async fn working_jspi() -> Option<Microbench> {
    let webassembly = Reflect::get(&global(), &"WebAssembly".into()).ok()?;
    let has = |name: &str| {
        Reflect::get(&webassembly, &name.into()).is_ok_and(|value: JsValue| value.is_function())
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
    // The first lap compiles the code, and aligns the next one with a tick of the clock.
    rate(asyncify).await?;
    let began = performance_now();
    let (mut jspi_best, mut asyncify_best) = (0.0_f64, 0.0_f64);
    while performance_now() - began < BUDGET {
        // Other load can only slow a lap down, so the best one counts.
        jspi_best = jspi_best.max(rate(jspi).await?);
        asyncify_best = asyncify_best.max(rate(asyncify).await?);
    }
    Ok(if jspi_best * MARGIN >= asyncify_best { Kind::Jspi } else { Kind::Asyncify })
}

/// Suspensions per millisecond, over one tick of the clock.
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

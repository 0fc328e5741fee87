//! A tiny function that does nothing but suspend, in both shapes: shows whether an engine works here, and what a
//! suspension costs. Its source is `trial.wat`.

use super::{Asyncify, Engine, Interruption, Jspi, Kind};
use faasm_bridge::manifest::UnwindBuffer;
use js_sys::{Array, DataView, Function, Object, Reflect, Uint8Array, WebAssembly};
use std::rc::Rc;
use wasm_bindgen::prelude::*;

const JSPI: &[u8] = include_bytes!("trial.wasm");
const ASYNCIFY: &[u8] = include_bytes!("trial.asyncify.wasm");
/// As `trial.asyncify.wasm` was built.
const BUFFER: UnwindBuffer = UnwindBuffer { bytes: 65_536 };

/// An instance of the trial with its engine.
pub(super) struct Trial {
    engine: Rc<dyn Engine>,
    entry: Function,
    memory: WebAssembly::Memory,
    _suspend: Closure<dyn Fn() -> JsValue>,
    _halves: Closure<dyn Fn() -> i32>,
}

impl Trial {
    pub(super) fn new(kind: Kind) -> Result<Self, JsValue> {
        let wait = Box::new(|| -> futures_util::future::LocalBoxFuture<'static, ()> {
            Box::pin(std::future::ready(()))
        });
        let asyncify = Rc::new(Asyncify::new(BUFFER, wait.clone()));
        let (engine, bytes): (Rc<dyn Engine>, _) = match kind {
            Kind::Asyncify => (asyncify.clone(), ASYNCIFY),
            Kind::Jspi => (Rc::new(Jspi::new(wait)), JSPI),
        };
        let weak = Rc::downgrade(&engine);
        let suspend: Closure<dyn Fn() -> JsValue> = Closure::new(move || {
            let suspended = weak.upgrade().and_then(|engine| engine.suspend().ok());
            suspended.unwrap_or_default()
        });
        // Before: it has to wait. After: whatever the call gives.
        let halves: Closure<dyn Fn() -> i32> = Closure::new(|| 1);
        let bridge = Object::new();
        let suspending = engine.suspending(suspend.as_ref().unchecked_ref())?;
        Reflect::set(&bridge, &"suspend".into(), &suspending)?;
        for half in ["begin:env.__faasm_await_call", "finish:env.__faasm_await_call"] {
            Reflect::set(&bridge, &half.into(), halves.as_ref())?;
        }
        let imports = Object::new();
        Reflect::set(&imports, &"faasm_bridge".into(), &bridge)?;
        // Small enough to be compiled at once, on a page's main thread too.
        let module = WebAssembly::Module::new(&Uint8Array::from(bytes).into())?;
        let exports = WebAssembly::Instance::new(&module, &imports)?.exports();
        let memory: WebAssembly::Memory = Reflect::get(&exports, &"memory".into())?.dyn_into()?;
        if kind == Kind::Asyncify {
            asyncify.attach(&exports, &memory)?;
        }
        let entry = Reflect::get(&exports, &"_start".into())?.dyn_into()?;
        Ok(Self { engine, entry, memory, _suspend: suspend, _halves: halves })
    }

    /// Suspends and resumes it so many times, with nothing to wait for.
    pub(super) async fn suspend(&self, times: u32) -> Result<(), Interruption> {
        let memory = self.memory.buffer().unchecked_into();
        DataView::new(&memory, 0, 4).set_uint32_endian(0, times, true);
        self.engine.call(&self.entry, &Array::new()).await.map(drop)
    }

    /// How often it was suspended.
    pub(super) fn suspensions(&self) -> u32 {
        self.engine.suspensions()
    }
}

//! Suspension by Binaryen's Asyncify: the guest's code unwinds its own stack into linear memory, and rewinds it later.
//!
//! The instrumented module exports four functions that switch its state. To suspend, `asyncify_start_unwind` is called
//! inside the import; every function then saves its locals and returns, until the outermost call comes back here. To
//! resume, `asyncify_start_rewind` is called and the same function entered again: every function restores its locals and
//! goes on where it was, down to the import, which ends the rewinding.

use super::{Engine, Interruption, Kind, Wait};
use crate::error::{Code, FaasmError};
use faasm_bridge::manifest::UnwindBuffer;
use futures_util::future::{FutureExt, LocalBoxFuture};
use js_sys::{Array, ArrayBuffer, DataView, Function, Object, Reflect, WebAssembly};
use std::cell::{Cell, RefCell};
use wasm_bindgen::{JsCast, JsValue};

/// State of the module, as Binaryen's `asyncify_get_state` numbers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Normal,
    Unwinding,
    Rewinding,
}

struct Controls {
    memory: WebAssembly::Memory,
    start_unwind: Function,
    stop_unwind: Function,
    start_rewind: Function,
    stop_rewind: Function,
}

/// The engine for one instance.
pub(crate) struct Asyncify {
    buffer: UnwindBuffer,
    /// Address of the buffer during the last suspension: it is the end of memory, wherever that is.
    offset: Cell<u32>,
    controls: RefCell<Option<Controls>>,
    state: Cell<State>,
    suspensions: Cell<u32>,
    wait: Wait,
}

/// Bytes of Asyncify's own two pointers at the start of the buffer.
const HEADER_BYTES: u32 = 8;

impl Asyncify {
    pub(crate) fn new(buffer: UnwindBuffer, wait: Wait) -> Self {
        Self {
            buffer,
            offset: Cell::new(0),
            controls: RefCell::new(None),
            state: Cell::new(State::Normal),
            suspensions: Cell::new(0),
            wait,
        }
    }

    /// Binds the engine to the exports of its instance.
    pub(crate) fn attach(
        &self,
        exports: &Object,
        memory: &WebAssembly::Memory,
    ) -> Result<(), FaasmError> {
        let control = |name: &str| {
            let export = Reflect::get(exports, &name.into()).unwrap_or(JsValue::UNDEFINED);
            export.dyn_into::<Function>().map_err(|_| {
                let message = format!(
                    "the module does not export `{name}`: build it again with faasm-asyncify"
                );
                FaasmError::new(Code::CannotLoad, message)
            })
        };
        *self.controls.borrow_mut() = Some(Controls {
            memory: memory.clone(),
            start_unwind: control("asyncify_start_unwind")?,
            stop_unwind: control("asyncify_stop_unwind")?,
            start_rewind: control("asyncify_start_rewind")?,
            stop_rewind: control("asyncify_stop_rewind")?,
        });
        Ok(())
    }

    fn with_controls<T>(
        &self,
        act: impl FnOnce(&Controls) -> Result<T, Interruption>,
    ) -> Result<T, Interruption> {
        match &*self.controls.borrow() {
            Some(controls) => act(controls),
            // A start function would run before the exports are known; the rewriter makes it an export of its own.
            None => Err(JsValue::from_str("suspended while it was being instantiated").into()),
        }
    }

    /// The two pointers of the buffer: next free byte, and end.
    fn pointers(&self, controls: &Controls) -> DataView {
        let memory = controls.memory.buffer().unchecked_into();
        DataView::new(&memory, self.offset.get() as usize, HEADER_BYTES as usize)
    }

    fn overflowed(&self, controls: &Controls) -> bool {
        let next = self.pointers(controls).get_uint32_endian(0, true);
        next > self.offset.get() + self.buffer.bytes
    }

    fn overflow(&self) -> Interruption {
        let message = format!(
            "the function's stack did not fit in the {} bytes kept for suspending it: build it with a larger --stack-size",
            self.buffer.bytes
        );
        Interruption::Failed(FaasmError::new(Code::StackSize, message))
    }

    /// Enters the guest; `true` where it came back because it is suspended.
    fn enter(&self, function: &Function, args: &Array) -> Result<(JsValue, bool), Interruption> {
        let result = function.apply(&JsValue::UNDEFINED, args);
        if self.state.get() != State::Unwinding {
            return Ok((result?, false));
        }
        self.with_controls(|controls| {
            // The buffer ends where memory ends, so unwinding traps where it does not fit.
            if result.is_err() || self.overflowed(controls) {
                return Err(self.overflow());
            }
            controls.stop_unwind.call0(&JsValue::UNDEFINED)?;
            Ok(())
        })?;
        self.state.set(State::Normal);
        Ok((JsValue::UNDEFINED, true))
    }
}

impl Engine for Asyncify {
    fn kind(&self) -> Kind {
        Kind::Asyncify
    }

    fn suspending(&self, import: &Function) -> Result<JsValue, JsValue> {
        Ok(import.into())
    }

    fn suspend(&self) -> Result<JsValue, Interruption> {
        self.with_controls(|controls| {
            if self.state.get() == State::Rewinding {
                controls.stop_rewind.call0(&JsValue::UNDEFINED)?;
                self.state.set(State::Normal);
                return Ok(());
            }
            let memory: ArrayBuffer = controls.memory.buffer().unchecked_into();
            let offset = memory.byte_length() - self.buffer.bytes;
            self.offset.set(offset);
            let pointers = self.pointers(controls);
            pointers.set_uint32_endian(0, offset + HEADER_BYTES, true);
            pointers.set_uint32_endian(4, offset + self.buffer.bytes, true);
            controls.start_unwind.call1(&JsValue::UNDEFINED, &offset.into())?;
            self.state.set(State::Unwinding);
            self.suspensions.set(self.suspensions.get() + 1);
            Ok(())
        })?;
        Ok(JsValue::UNDEFINED)
    }

    fn call<'a>(
        &'a self,
        function: &'a Function,
        args: &'a Array,
    ) -> LocalBoxFuture<'a, Result<JsValue, Interruption>> {
        async move {
            loop {
                let (value, suspended) = self.enter(function, args)?;
                if !suspended {
                    return Ok(value);
                }
                (self.wait)().await;
                self.with_controls(|controls| {
                    controls.start_rewind.call1(&JsValue::UNDEFINED, &self.offset.get().into())?;
                    Ok(())
                })?;
                self.state.set(State::Rewinding);
            }
        }
        .boxed_local()
    }

    fn suspensions(&self) -> u32 {
        self.suspensions.get()
    }
}

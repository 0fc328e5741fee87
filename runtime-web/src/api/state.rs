//! State access for the page's own code: the same two tiers that runs of this page use.

use super::options::{bytes, invalid, strings};
use super::promise::promise;
use crate::cancel::CancelToken;
use crate::error::FaasmError;
use crate::host::{expect_bytes, expect_done, read_state, write_state};
use crate::pins;
use crate::shared::{Shared, closed};
use faasm_bridge::wire::Request;
use futures_util::future::LocalBoxFuture;
use js_sys::{Function, Promise, Uint8Array};
use std::rc::{Rc, Weak};
use wasm_bindgen::prelude::*;

/// State values of the user.
#[wasm_bindgen(skip_typescript)]
pub struct RuntimeState {
    shared: Weak<Shared>,
}

impl std::fmt::Debug for RuntimeState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RuntimeState")
    }
}

impl RuntimeState {
    pub(super) fn new(shared: &Rc<Shared>) -> Self {
        Self { shared: Rc::downgrade(shared) }
    }

    fn open(&self, key: &JsValue) -> Result<(Rc<Shared>, String), FaasmError> {
        let shared = self.shared.upgrade().filter(|shared| !shared.is_disposed());
        Ok((shared.ok_or_else(closed)?, key.as_string().ok_or_else(|| invalid("key", "a string"))?))
    }

    /// The promise of `act` on a key; rejected if the runtime is disposed of.
    fn with<F: Future<Output = Result<JsValue, FaasmError>> + 'static>(
        &self,
        key: JsValue,
        act: impl FnOnce(Rc<Shared>, String) -> F,
    ) -> Promise {
        match self.open(&key) {
            Ok((shared, key)) => {
                let cancel = CancelToken::new(None);
                shared.running.add(&cancel);
                until(cancel, Box::pin(act(shared, key)))
            }
            Err(error) => Promise::reject(&error.into()),
        }
    }
}

/// The promise of `acting`, cancelled by `cancel`. Not generic, so that it is compiled once.
fn until(
    cancel: Rc<CancelToken>,
    acting: LocalBoxFuture<'static, Result<JsValue, FaasmError>>,
) -> Promise {
    promise(async move { cancel.race(acting).await })
}

/// The local part of a value.
enum Local {
    /// The whole value.
    Complete(JsValue),
    /// Offset and length of a missing range; without a length it extends to the end.
    Missing(u64, Option<u64>),
}

#[wasm_bindgen]
impl RuntimeState {
    /// Reads the value, pulling the missing parts; undefined if neither tier has it.
    pub fn get(&self, key: JsValue) -> Promise {
        self.with(key, |shared, key| async move {
            loop {
                let (offset, length) = match local_part(&shared, &key) {
                    Local::Complete(bytes) => return Ok(bytes),
                    Local::Missing(offset, length) => (offset, length),
                };
                let (size, chunk) = read_state(&shared, &key, offset, length).await?;
                if !shared.tier.with(|tier| tier.take_in(&key, size, &chunk))? {
                    return Ok(JsValue::UNDEFINED);
                }
            }
        })
    }

    /// Writes the whole value to the local tier.
    pub fn put(&self, key: JsValue, value: JsValue) -> Promise {
        self.with(key, |shared, key| async move {
            let value = to_bytes(&value)?;
            shared.tier.with(|tier| tier.write(&key, value.len() as u64, 0, &value))?;
            Ok(JsValue::UNDEFINED)
        })
    }

    /// Replaces the local value by the global one, and returns it. Discards unpushed writes made before the call.
    pub fn pull(&self, key: JsValue) -> Promise {
        self.with(key, |shared, key| async move {
            if shared.is_page_only(&key) {
                return Ok(local_value(&shared, &key));
            }
            let run = shared.tier.with(|tier| {
                let run = tier.new_run();
                tier.ask(run, &key);
                run
            });
            let read = read_state(&shared, &key, 0, None).await;
            shared.tier.with(|tier| {
                let replaced = match &read {
                    Ok((Some(_), chunk)) => tier.replace(run, &key, &chunk.bytes),
                    _ => Ok(()),
                };
                tier.release(run);
                replaced
            })?;
            read?;
            Ok(local_value(&shared, &key))
        })
    }

    /// Pushes the value to the global tier, if it is dirty.
    pub fn push(&self, key: JsValue) -> Promise {
        self.with(key, |shared, key| async move {
            let (unsent, taken) =
                shared.tier.with(|tier| (tier.unsent(&key), tier.take_dirty(&key)));
            if let Some((size, chunks)) = taken {
                let pushed = write_state(&shared, &key, size, chunks).await;
                let is_sent = !shared.is_page_only(&key);
                shared.tier.with(|tier| match pushed {
                    Ok(()) if is_sent => tier.pushed(&key),
                    Ok(()) => {}
                    Err(_) => tier.restore_dirty(&key, &unsent),
                });
                pushed?;
            }
            Ok(JsValue::UNDEFINED)
        })
    }

    /// Appends an element to a list in the global tier.
    pub fn append(&self, key: JsValue, element: JsValue) -> Promise {
        self.with(key, |shared, key| async move {
            let element = to_bytes(&element)?;
            expect_done(shared.request(Request::AppendState { key }, &element).await)?;
            Ok(JsValue::UNDEFINED)
        })
    }

    /// The first elements of a list, concatenated.
    #[wasm_bindgen(js_name = readAppended)]
    pub fn read_appended(&self, key: JsValue, count: JsValue) -> Promise {
        self.with(key, |shared, key| async move {
            let count = count.as_f64().filter(|count| *count >= 0.0 && count.fract() == 0.0);
            let count = count.ok_or_else(|| invalid("count", "a whole number"))? as u32;
            let read = shared.request(Request::ReadAppended { key, count }, &[]).await;
            let elements = expect_bytes(read)?;
            Ok(Uint8Array::from(elements.unwrap_or_default().as_slice()).into())
        })
    }

    /// Empties a list.
    #[wasm_bindgen(js_name = clearAppended)]
    pub fn clear_appended(&self, key: JsValue) -> Promise {
        self.with(key, |shared, key| async move {
            expect_done(shared.request(Request::ClearAppended { key }, &[]).await)?;
            Ok(JsValue::UNDEFINED)
        })
    }

    /// Pins the value; resolves when the value is local or known not to exist.
    pub fn pin(&self, key: JsValue) -> Promise {
        self.with(key, |shared, key| async move {
            pins::pin(&shared, key).await?;
            Ok(JsValue::UNDEFINED)
        })
    }

    /// Unpins the value.
    pub fn unpin(&self, key: JsValue) -> Result<(), JsValue> {
        let (shared, key) = self.open(&key)?;
        pins::unpin(&shared, &key);
        Ok(())
    }

    /// Pulls the missing parts of values.
    pub fn prefetch(&self, keys: JsValue) -> Promise {
        let keys = strings(&keys, "keys").map_err(JsValue::from);
        match keys {
            // The key is unused; `with` only checks that the runtime is open.
            Ok(keys) => self.with("".into(), |shared, _| async move {
                pins::prefetch(&shared, keys, false).await?;
                Ok(JsValue::UNDEFINED)
            }),
            Err(error) => Promise::reject(&error),
        }
    }

    /// Subscribes `callback` to changes of a local value; returns the unsubscribe function.
    pub fn subscribe(&self, key: JsValue, callback: JsValue) -> Result<JsValue, JsValue> {
        let (shared, key) = self.open(&key)?;
        let callback: Function =
            callback.dyn_into().map_err(|_| invalid("callback", "a function"))?;
        let id = shared.tier.subscribe(key, callback);
        let tier = Rc::downgrade(&shared.tier);
        let end = Closure::<dyn Fn()>::new(move || {
            if let Some(tier) = tier.upgrade() {
                tier.unsubscribe(id);
            }
        });
        Ok(end.into_js_value())
    }
}

fn local_part(shared: &Shared, key: &str) -> Local {
    shared.tier.with(|tier| match tier.get(key) {
        None => Local::Missing(0, None),
        Some(value) => match value.gap(0..value.size()) {
            Some(gap) => Local::Missing(gap.start, Some(gap.end - gap.start)),
            None => Local::Complete(Uint8Array::from(value.read(0..value.size())).into()),
        },
    })
}

/// The value if it is completely local, otherwise undefined.
fn local_value(shared: &Shared, key: &str) -> JsValue {
    match local_part(shared, key) {
        Local::Complete(bytes) => bytes,
        Local::Missing(..) => JsValue::UNDEFINED,
    }
}

fn to_bytes(value: &JsValue) -> Result<Vec<u8>, FaasmError> {
    bytes(value).ok_or_else(|| invalid("value", "a string, a Uint8Array or an ArrayBuffer"))
}

//! The state for the page's own code: the same two tiers that runs of this page work on.

use super::options::{bytes, strings, wrong};
use super::promise::promise;
use crate::cancel::CancelToken;
use crate::error::FaasmError;
use crate::host::{read_state, take_bytes, take_done, write_state};
use crate::pins;
use crate::shared::{Shared, closed};
use faasm_bridge::state::Chunk;
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
        Ok((shared.ok_or_else(closed)?, key.as_string().ok_or_else(|| wrong("key", "a string"))?))
    }

    /// A promise of what is done with a value, if there is still a runtime.
    fn with<F: Future<Output = Result<JsValue, FaasmError>> + 'static>(
        &self,
        key: JsValue,
        act: impl FnOnce(Rc<Shared>, String) -> F,
    ) -> Promise {
        match self.open(&key) {
            Ok((shared, key)) => {
                let stop = CancelToken::new(None);
                shared.running.add(&stop);
                until(stop, Box::pin(act(shared, key)))
            }
            Err(error) => Promise::reject(&error.into()),
        }
    }
}

/// A promise of what is done, unless the runtime ends before. Not generic, so that it is there once.
fn until(
    stop: Rc<CancelToken>,
    acting: LocalBoxFuture<'static, Result<JsValue, FaasmError>>,
) -> Promise {
    promise(async move { stop.race(acting).await })
}

/// What is here of a value.
enum Here {
    /// All of it.
    Whole(JsValue),
    /// This part is missing, to the end where there is no length.
    Lacks(u64, Option<u64>),
}

#[wasm_bindgen]
impl RuntimeState {
    /// The value, from this page where it is here; undefined where there is none.
    pub fn get(&self, key: JsValue) -> Promise {
        self.with(key, |shared, key| async move {
            loop {
                let (offset, length) = match here(&shared, &key) {
                    Here::Whole(bytes) => return Ok(bytes),
                    Here::Lacks(offset, length) => (offset, length),
                };
                let (size, chunk) = read_state(&shared, &key, offset, length).await?;
                if !shared.tier.with(|tier| tier.take_in(&key, size, &chunk))? {
                    return Ok(JsValue::UNDEFINED);
                }
            }
        })
    }

    /// Writes the value in this page.
    pub fn put(&self, key: JsValue, value: JsValue) -> Promise {
        self.with(key, |shared, key| async move {
            let value = to_bytes(&value)?;
            shared.tier.with(|tier| tier.write(&key, value.len() as u64, 0, &value))?;
            Ok(JsValue::UNDEFINED)
        })
    }

    /// Takes the value of the cluster instead of what is here, unsent writes included, and gives it.
    pub fn pull(&self, key: JsValue) -> Promise {
        self.with(key, |shared, key| async move {
            if shared.is_page_only(&key) {
                return Ok(whole(&shared, &key));
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
            Ok(whole(&shared, &key))
        })
    }

    /// Sends what was written in this page to the cluster.
    pub fn push(&self, key: JsValue) -> Promise {
        self.with(key, |shared, key| async move {
            if let Some((size, chunks)) = shared.tier.with(|tier| tier.take_dirty(&key)) {
                let sent: Vec<_> = chunks.iter().map(Chunk::range).collect();
                let pushed = write_state(&shared, &key, size, chunks).await;
                let is_sent = !shared.is_page_only(&key);
                shared.tier.with(|tier| match pushed {
                    Ok(()) if is_sent => tier.pushed(&key),
                    Ok(()) => {}
                    Err(_) => tier.restore_dirty(&key, &sent),
                });
                pushed?;
            }
            Ok(JsValue::UNDEFINED)
        })
    }

    /// Appends an element to a list of the cluster.
    pub fn append(&self, key: JsValue, element: JsValue) -> Promise {
        self.with(key, |shared, key| async move {
            let element = to_bytes(&element)?;
            take_done(shared.ask(Request::AppendState { key }, &element).await)?;
            Ok(JsValue::UNDEFINED)
        })
    }

    /// The first elements of a list, one after the other.
    #[wasm_bindgen(js_name = readAppended)]
    pub fn read_appended(&self, key: JsValue, count: JsValue) -> Promise {
        self.with(key, |shared, key| async move {
            let count = count.as_f64().filter(|count| *count >= 0.0 && count.fract() == 0.0);
            let count = count.ok_or_else(|| wrong("count", "a whole number"))? as u32;
            let read = shared.ask(Request::ReadAppended { key, count }, &[]).await;
            let elements = take_bytes(read)?;
            Ok(Uint8Array::from(elements.unwrap_or_default().as_slice()).into())
        })
    }

    /// Empties a list.
    #[wasm_bindgen(js_name = clearAppended)]
    pub fn clear_appended(&self, key: JsValue) -> Promise {
        self.with(key, |shared, key| async move {
            take_done(shared.ask(Request::ClearAppended { key }, &[]).await)?;
            Ok(JsValue::UNDEFINED)
        })
    }

    /// Keeps the value fresh in this page; done when it is here, or there is none.
    pub fn pin(&self, key: JsValue) -> Promise {
        self.with(key, |shared, key| async move {
            pins::pin(&shared, key).await?;
            Ok(JsValue::UNDEFINED)
        })
    }

    /// Ends that.
    pub fn unpin(&self, key: JsValue) -> Result<(), JsValue> {
        let (shared, key) = self.open(&key)?;
        pins::unpin(&shared, &key);
        Ok(())
    }

    /// Pulls what is missing of values into this page.
    pub fn prefetch(&self, keys: JsValue) -> Promise {
        let keys = strings(&keys, "keys").map_err(JsValue::from);
        match keys {
            // Any key will do to see whether there is still a runtime.
            Ok(keys) => self.with("".into(), |shared, _| async move {
                pins::prefetch(&shared, keys, false).await?;
                Ok(JsValue::UNDEFINED)
            }),
            Err(error) => Promise::reject(&error),
        }
    }

    /// Has a function called with what happens to a value here, until the function that this gives is called.
    pub fn subscribe(&self, key: JsValue, callback: JsValue) -> Result<JsValue, JsValue> {
        let (shared, key) = self.open(&key)?;
        let callback: Function =
            callback.dyn_into().map_err(|_| wrong("callback", "a function"))?;
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

fn here(shared: &Shared, key: &str) -> Here {
    shared.tier.with(|tier| match tier.get(key) {
        None => Here::Lacks(0, None),
        Some(value) => match value.gap(0..value.size()) {
            Some(gap) => Here::Lacks(gap.start, Some(gap.end - gap.start)),
            None => Here::Whole(Uint8Array::from(value.read(0..value.size())).into()),
        },
    })
}

/// The value, where all of it is here.
fn whole(shared: &Shared, key: &str) -> JsValue {
    match here(shared, key) {
        Here::Whole(bytes) => bytes,
        Here::Lacks(..) => JsValue::UNDEFINED,
    }
}

fn to_bytes(value: &JsValue) -> Result<Vec<u8>, FaasmError> {
    bytes(value).ok_or_else(|| wrong("value", "a string, a Uint8Array or an ArrayBuffer"))
}

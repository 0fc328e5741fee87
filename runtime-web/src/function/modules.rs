//! Compiled modules. Each is fetched and compiled once per runtime; a module is returned only if its hash matches the
//! manifest's integrity.

use super::fetch::load_error;
use crate::error::{FaasmError, describe};
use faasm_bridge::sorted_map::SortedMap;
use futures_util::future::{FutureExt, LocalBoxFuture, Shared, ready};
use js_sys::{Function, Promise, WebAssembly};
use std::cell::RefCell;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;

#[wasm_bindgen(module = "/glue/modules.js")]
extern "C" {
    #[wasm_bindgen(js_name = loadModule)]
    fn load_module(url: &str, expected: &Promise) -> Promise;
}

type Compiling = Shared<LocalBoxFuture<'static, Result<WebAssembly::Module, FaasmError>>>;

/// The modules of a runtime, by integrity.
#[derive(Default)]
pub(crate) struct Modules {
    compiling: RefCell<SortedMap<String, Compiling>>,
    /// Speculative fetches by address, before the manifest confirms them.
    guesses: RefCell<SortedMap<String, Guess>>,
    /// Addresses of compiled modules.
    known: RefCell<SortedMap<String, ()>>,
}

impl Modules {
    /// Releases all modules.
    pub(crate) fn clear(&self) {
        self.compiling.borrow_mut().clear();
        self.guesses.borrow_mut().clear();
        self.known.borrow_mut().clear();
    }

    /// Adds a module that was compiled elsewhere.
    pub(super) fn put(&self, integrity: &str, module: WebAssembly::Module) {
        let module = ready(Ok(module)).boxed_local().shared();
        self.compiling.borrow_mut().insert(integrity.to_owned(), module);
    }

    /// Starts to fetch a module that is probably needed, unless its address is compiled or being fetched.
    pub(super) fn guess(&self, url: &str) {
        let mut guesses = self.guesses.borrow_mut();
        if self.known.borrow().get(url).is_none() && guesses.get(url).is_none() {
            guesses.insert(url.to_owned(), Guess::new(url.to_owned()));
        }
    }

    /// Drops a guess that turned out to be wrong.
    pub(super) fn forget(&self, url: &str) {
        self.guesses.borrow_mut().remove(url);
    }

    /// The module with this integrity, fetched from this address.
    pub(super) async fn get(
        &self,
        url: &str,
        integrity: &str,
    ) -> Result<WebAssembly::Module, FaasmError> {
        let compiling = self.compiling.borrow().get(integrity).cloned();
        let compiling = match compiling {
            Some(compiling) => compiling,
            None => {
                let guess = self.guesses.borrow_mut().remove(url);
                let guess = guess.unwrap_or_else(|| Guess::new(url.to_owned()));
                let compiling = guess.confirm(integrity).boxed_local().shared();
                self.compiling.borrow_mut().insert(integrity.to_owned(), compiling.clone());
                compiling
            }
        };
        let module = compiling.await;
        match &module {
            Ok(_) => drop(self.known.borrow_mut().insert(url.to_owned(), ())),
            // Not cached: another attempt may succeed.
            Err(_) => drop(self.compiling.borrow_mut().remove(integrity)),
        }
        module
    }
}

/// A speculative fetch of a module. Dropping it discards the module.
struct Guess {
    url: String,
    /// Resolves the integrity that the module must have.
    resolve: Function,
    module: Promise,
}

impl Guess {
    fn new(url: String) -> Self {
        let mut resolve = None;
        let expected = Promise::new(&mut |resolver, _| resolve = Some(resolver));
        let module = load_module(&url, &expected);
        Self { url, resolve: resolve.expect("the executor of a promise runs at once"), module }
    }

    fn confirm(
        self,
        integrity: &str,
    ) -> impl Future<Output = Result<WebAssembly::Module, FaasmError>> + use<> {
        let _ = self.resolve.call1(&JsValue::UNDEFINED, &integrity.into());
        async move {
            let module = JsFuture::from(self.module.clone()).await;
            let module = module.map_err(|thrown| load_error(&self.url, &describe(&thrown)))?;
            Ok(module.unchecked_into())
        }
    }
}

impl Drop for Guess {
    fn drop(&mut self) {
        // No effect after `confirm`.
        let _ = self.resolve.call0(&JsValue::UNDEFINED);
    }
}

//! Compiled modules: each is fetched and compiled once for all loads and runs of a runtime, and only what hashes to the
//! integrity of a manifest gets out of here.

use super::fetch::cannot;
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
    /// What is on its way before it is known whether it is needed, by address.
    guesses: RefCell<SortedMap<String, Guess>>,
    /// Addresses of modules that are here.
    known: RefCell<SortedMap<String, ()>>,
}

impl Modules {
    /// Lets go of all of them.
    pub(crate) fn clear(&self) {
        self.compiling.borrow_mut().clear();
        self.guesses.borrow_mut().clear();
        self.known.borrow_mut().clear();
    }

    /// A module of that integrity, compiled elsewhere.
    pub(super) fn put(&self, integrity: &str, module: WebAssembly::Module) {
        let module = ready(Ok(module)).boxed_local().shared();
        self.compiling.borrow_mut().insert(integrity.to_owned(), module);
    }

    /// Begins to fetch a module that is probably needed, unless one of this address is here or on its way.
    pub(super) fn guess(&self, url: &str) {
        let mut guesses = self.guesses.borrow_mut();
        if self.known.borrow().get(url).is_none() && guesses.get(url).is_none() {
            guesses.insert(url.to_owned(), Guess::new(url.to_owned()));
        }
    }

    /// Forgets a guess that nobody has needed.
    pub(super) fn forget(&self, url: &str) {
        self.guesses.borrow_mut().remove(url);
    }

    /// The module of that integrity, which is at that address.
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
            // Another attempt may succeed.
            Err(_) => drop(self.compiling.borrow_mut().remove(integrity)),
        }
        module
    }
}

/// A module on its way, before it is known whether it is the right one. Dropping it forgets it.
struct Guess {
    url: String,
    /// Takes the integrity that the module must have.
    tell: Function,
    module: Promise,
}

impl Guess {
    fn new(url: String) -> Self {
        let mut tell = None;
        let expected = Promise::new(&mut |resolve, _| tell = Some(resolve));
        let module = load_module(&url, &expected);
        Self { url, tell: tell.expect("the executor of a promise runs at once"), module }
    }

    fn confirm(
        self,
        integrity: &str,
    ) -> impl Future<Output = Result<WebAssembly::Module, FaasmError>> + use<> {
        let _ = self.tell.call1(&JsValue::UNDEFINED, &integrity.into());
        async move {
            let module = JsFuture::from(self.module.clone()).await;
            let module = module.map_err(|thrown| cannot(&self.url, &describe(&thrown)))?;
            Ok(module.unchecked_into())
        }
    }
}

impl Drop for Guess {
    fn drop(&mut self) {
        // After `confirm` this changes nothing.
        let _ = self.tell.call0(&JsValue::UNDEFINED);
    }
}

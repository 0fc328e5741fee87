//! Chained functions by name: those that the page has loaded, and those whose manifest is beside the caller's.

use crate::engine::EngineRequest;
use crate::function::{Loaded, Modules, load_beside, load_error};
use crate::global::console_error;
use crate::pins;
use crate::shared::Shared as Runtime;
use crate::version;
use faasm_bridge::sorted_map::SortedMap;
use faasm_bridge::wire::is_valid_name;
use futures_util::future::{FutureExt, LocalBoxFuture, Shared, ready};
use std::cell::RefCell;
use std::rc::Rc;

/// A function; `None` if it cannot be loaded.
type Found = Shared<LocalBoxFuture<'static, Option<Rc<Loaded>>>>;

pub(crate) struct Library {
    modules: Rc<Modules>,
    wanted: EngineRequest,
    functions: RefCell<SortedMap<String, Found>>,
}

impl Library {
    pub(crate) fn new(modules: Rc<Modules>, wanted: EngineRequest) -> Self {
        Self { modules, wanted, functions: RefCell::default() }
    }

    /// Registers a function that the page has loaded; it replaces an earlier one of that name.
    pub(crate) fn add(&self, loaded: &Rc<Loaded>) {
        let found = ready(Some(Rc::clone(loaded))).boxed_local().shared();
        self.functions.borrow_mut().insert(loaded.name.clone(), found);
    }

    /// Finds a function by name. A failed load is remembered, not retried.
    pub(super) async fn find(
        &self,
        name: &str,
        caller: &Loaded,
        runtime: &Rc<Runtime>,
    ) -> Option<Rc<Loaded>> {
        let known = self.functions.borrow().get(name).cloned();
        let found = match known {
            Some(found) => found,
            None => {
                let manifest = caller.manifest().filter(|_| is_valid_name(name))?.0.to_owned();
                let (modules, wanted) = (Rc::clone(&self.modules), self.wanted);
                let wanted_name = name.to_owned();
                let runtime = Rc::downgrade(runtime);
                let loading = async move {
                    let loaded = load_beside(&manifest, &wanted_name, wanted, &modules).await.ok();
                    let loaded = Rc::new(loaded.filter(|loaded| loaded.name == wanted_name)?);
                    let runtime = runtime.upgrade()?;
                    if let Err(why) = pins::apply(&runtime, &loaded.state) {
                        console_error(&load_error(&wanted_name, &why).message);
                        return None;
                    }
                    version::compare(&loaded, &runtime);
                    Some(loaded)
                };
                let found = loading.boxed_local().shared();
                self.functions.borrow_mut().insert(name.to_owned(), found.clone());
                found
            }
        };
        found.await
    }

    pub(super) fn clear(&self) {
        self.functions.borrow_mut().clear();
    }
}

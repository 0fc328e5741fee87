//! The page's local tier, and the subscriptions to it.

use crate::global::{console_error, spawn};
use crate::object::object;
use faasm_bridge::state::{Change, LocalTier};
use js_sys::Function;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use wasm_bindgen::JsValue;

/// One call of `subscribe`.
struct Subscription {
    id: u64,
    key: String,
    callback: Function,
}

/// A user's local tier in this page.
#[derive(Default)]
pub(crate) struct Tier {
    values: RefCell<LocalTier>,
    subscriptions: RefCell<Vec<Subscription>>,
    /// The subscribed keys have changed since the tier was last given them.
    is_stale: Cell<bool>,
    last_id: Cell<u64>,
}

impl Tier {
    /// Runs `act` on the values; subscribers are called in a microtask, once the caller's stack is gone.
    pub(crate) fn with<T>(self: &Rc<Self>, act: impl FnOnce(&mut LocalTier) -> T) -> T {
        let mut values = self.values.borrow_mut();
        if self.is_stale.replace(false) {
            let subscriptions = self.subscriptions.borrow();
            values.watch(subscriptions.iter().map(|one| one.key.clone()).collect());
        }
        let result = act(&mut values);
        let changes = values.take_changes();
        if !changes.is_empty() {
            let this = Rc::clone(self);
            spawn(async move { this.notify(&changes) });
        }
        result
    }

    /// Subscribes `callback` to changes of a value; returns the subscription's id.
    pub(crate) fn subscribe(&self, key: String, callback: Function) -> u64 {
        let id = self.last_id.get() + 1;
        self.last_id.set(id);
        self.subscriptions.borrow_mut().push(Subscription { id, key, callback });
        self.is_stale.set(true);
        id
    }

    pub(crate) fn unsubscribe(&self, id: u64) {
        self.subscriptions.borrow_mut().retain(|one| one.id != id);
        self.is_stale.set(true);
    }

    pub(crate) fn unsubscribe_all(&self) {
        self.subscriptions.borrow_mut().clear();
        self.is_stale.set(true);
    }

    fn notify(&self, changes: &[(String, Change)]) {
        for (key, change) in changes {
            for id in self.subscribed(key) {
                // A callback may end another's subscription.
                if let Some(callback) = self.callback(id) {
                    notify(&callback, key, *change);
                }
            }
        }
    }

    fn subscribed(&self, key: &str) -> Vec<u64> {
        let subscriptions = self.subscriptions.borrow();
        subscriptions.iter().filter(|one| one.key == key).map(|one| one.id).collect()
    }

    fn callback(&self, id: u64) -> Option<Function> {
        let subscriptions = self.subscriptions.borrow();
        subscriptions.iter().find(|one| one.id == id).map(|one| one.callback.clone())
    }
}

fn notify(callback: &Function, key: &str, change: Change) {
    let kind = match change {
        Change::Written => "written",
        Change::Pulled => "pulled",
        Change::Pushed => "pushed",
    };
    let event = object(&[("type", kind.into()), ("key", key.into())]);
    if let Err(thrown) = callback.call1(&JsValue::UNDEFINED, &event) {
        let why = crate::error::describe(&thrown);
        console_error(&format!("a subscriber of state `{key}` threw: {why}"));
    }
}

//! The page's local tier, and the page's own code that wants to hear what happens to its values.

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

/// The state of one user in this page.
#[derive(Default)]
pub(crate) struct Tier {
    values: RefCell<LocalTier>,
    subscriptions: RefCell<Vec<Subscription>>,
    /// The tier does not know yet which keys are subscribed to.
    is_stale: Cell<bool>,
    last_id: Cell<u64>,
}

impl Tier {
    /// Works with the values; subscribers hear afterwards, once the caller's stack is gone.
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
            spawn(async move { this.tell(&changes) });
        }
        result
    }

    /// From here on `callback` is called with what happens to a value; the number ends that.
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

    fn tell(&self, changes: &[(String, Change)]) {
        for (key, change) in changes {
            for id in self.subscribed(key) {
                // One callback may end the subscription of the next.
                if let Some(callback) = self.callback(id) {
                    tell(&callback, key, *change);
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

fn tell(callback: &Function, key: &str, change: Change) {
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

//! Runs by number: JavaScript passes the number with each host call.

use super::Bindings;
use std::cell::RefCell;
use std::rc::Rc;
use wasm_bindgen::prelude::*;

#[wasm_bindgen(module = "/glue/host.js")]
extern "C" {
    #[wasm_bindgen(js_name = closeGuest)]
    fn close_guest(run: u32);
}

thread_local! {
    static RUNS: RefCell<Vec<Option<Rc<Bindings>>>> = const { RefCell::new(Vec::new()) };
}

/// A run's number, reused after it is dropped: by then the guest is not on the stack, and its imports are not called
/// again.
#[derive(Debug)]
pub(crate) struct RunNumber(u32);

impl RunNumber {
    pub(crate) fn of(bindings: &Rc<Bindings>) -> Self {
        let number = RUNS.with_borrow_mut(|runs| {
            let free = runs.iter().position(Option::is_none).unwrap_or_else(|| {
                runs.push(None);
                runs.len() - 1
            });
            runs[free] = Some(Rc::clone(bindings));
            free as u32
        });
        bindings.number.set(number);
        Self(number)
    }

    pub(crate) fn get(&self) -> u32 {
        self.0
    }
}

impl Drop for RunNumber {
    fn drop(&mut self) {
        close_guest(self.0);
        // The bindings are dropped after the borrow.
        let _bindings = RUNS.with_borrow_mut(|runs| runs[self.0 as usize].take());
    }
}

/// The run with this number.
pub(crate) fn find_run(number: u32) -> Option<Rc<Bindings>> {
    RUNS.with_borrow(|runs| runs.get(number as usize)?.clone())
}

//! What everything of one `Runtime` shares, until it is disposed of.

use crate::cancel::{CancelToken, Members};
use crate::chain::{Chains, hand_over_state};
use crate::connection::{Answer, Connection};
use crate::error::{Code, FaasmError};
use crate::function::Loaded;
use crate::global::{sleep, spawn};
use crate::pins::{self, Pins};
use crate::tier::Tier;
use faasm_bridge::residence::PageOnly;
use faasm_bridge::wire::{Reply, Request};
use futures_util::future::{LocalBoxFuture, ready};
use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// A loaded function and where it belongs; empty once the runtime is disposed of.
pub(crate) type Bound = RefCell<Option<(Rc<Loaded>, Rc<Shared>)>>;

/// A connection, the page's state, and what uses them.
pub(crate) struct Shared {
    pub(crate) connection: Rc<Connection>,
    pub(crate) tier: Rc<Tier>,
    /// What never leaves the page.
    pub(crate) page_only: RefCell<PageOnly>,
    pub(crate) pins: Pins,
    /// What goes on: runs, what the page does with state, and the renewal of the token.
    pub(crate) running: Members<CancelToken>,
    pub(crate) functions: Members<Bound>,
    pub(crate) chains: Chains,
    disposed: Cell<bool>,
}

impl Shared {
    pub(crate) fn new(connection: Rc<Connection>, chains: Chains) -> Rc<Self> {
        let shared = Rc::new(Self {
            connection,
            tier: Rc::default(),
            page_only: RefCell::default(),
            pins: Pins::default(),
            running: Members::default(),
            functions: Members::default(),
            chains,
            disposed: Cell::new(false),
        });
        pins::listen(&shared);
        shared
    }

    /// Whether a value, or a list, is one of those that never leave the page.
    pub(crate) fn is_page_only(&self, key: &str) -> bool {
        self.page_only.borrow().has(key)
    }

    /// Has whoever has the global tier do something: the relay, or for what never leaves the page this page, or in a worker of
    /// its pool the page of that.
    pub(crate) fn ask(&self, request: Request, payload: &[u8]) -> LocalBoxFuture<'static, Answer> {
        if !request.state_key().is_some_and(|key| self.is_page_only(key)) {
            return match self.connection.request(request, payload) {
                Ok(waiting) => Box::pin(waiting.answer()),
                Err(error) => Box::pin(ready(Err(error))),
            };
        }
        if let Some(delegate) = self.chains.delegate() {
            return hand_over_state(delegate, &request, payload);
        }
        Box::pin(ready(Ok(match request {
            // What is pushed is where it should be.
            Request::WriteState { .. } => (Reply::Done, Vec::new()),
            _ => self.perform_here(&request, payload),
        })))
    }

    /// Does with what never leaves the page what a relay does with other values.
    pub(crate) fn perform_here(&self, request: &Request, payload: &[u8]) -> (Reply, Vec<u8>) {
        self.tier.with(|tier| self.page_only.borrow_mut().perform(tier, request, payload))
    }

    /// The token to connect with from here on.
    pub(crate) fn set_token(&self, token: &str) {
        self.connection.set_token(token.to_owned());
        self.chains.workers.set_token(token);
    }

    pub(crate) fn is_disposed(&self) -> bool {
        self.disposed.get()
    }

    /// Ends the connection and all that runs, and lets go of every function.
    pub(crate) fn dispose(&self) {
        self.disposed.set(true);
        self.tier.unsubscribe_all();
        for running in self.running.take() {
            running.stop(closed());
        }
        for function in self.functions.take() {
            function.take();
        }
        self.chains.dispose();
        // The relay goes on with what a session has begun; so the runs cancel their calls first, which takes some microtasks.
        let connection = Rc::clone(&self.connection);
        spawn(async move {
            sleep(0.0).await;
            connection.close();
        });
    }
}

/// What whatever belongs to a runtime that was disposed of ends with.
pub(crate) fn closed() -> FaasmError {
    FaasmError::new(Code::Closed, "the runtime was disposed of")
}

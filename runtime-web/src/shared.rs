//! The resources of one `Runtime`, until it is disposed of.

use crate::cancel::{CancelToken, WeakRegistry};
use crate::chain::{Chains, delegate_state};
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

/// A loaded function and its runtime's resources; `None` once the runtime is disposed of.
pub(crate) type Bound = RefCell<Option<(Rc<Loaded>, Rc<Shared>)>>;

pub(crate) struct Shared {
    pub(crate) connection: Rc<Connection>,
    pub(crate) tier: Rc<Tier>,
    /// Keys whose global tier is the page itself.
    pub(crate) page_only: RefCell<PageOnly>,
    pub(crate) pins: Pins,
    /// To be cancelled by `dispose`: runs, the page's state operations, the token's renewal.
    pub(crate) running: WeakRegistry<CancelToken>,
    pub(crate) functions: WeakRegistry<Bound>,
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
            running: WeakRegistry::default(),
            functions: WeakRegistry::default(),
            chains,
            disposed: Cell::new(false),
        });
        pins::listen(&shared);
        shared
    }

    /// Whether a value or list is page-only.
    pub(crate) fn is_page_only(&self, key: &str) -> bool {
        self.page_only.borrow().has(key)
    }

    /// Sends a request to the global tier: the relay, or for page-only keys this page; in a worker of a pool, the
    /// pool's page.
    pub(crate) fn request(
        &self,
        request: Request,
        payload: &[u8],
    ) -> LocalBoxFuture<'static, Answer> {
        if !request.state_key().is_some_and(|key| self.is_page_only(key)) {
            return match self.connection.request(request, payload) {
                Ok(waiting) => Box::pin(waiting.answer()),
                Err(error) => Box::pin(ready(Err(error))),
            };
        }
        if let Some(delegate) = self.chains.delegate() {
            return delegate_state(delegate, &request, payload);
        }
        Box::pin(ready(Ok(match request {
            // The page's local tier is the global tier of a page-only value.
            Request::WriteState { .. } => (Reply::Done, Vec::new()),
            _ => self.perform_locally(&request, payload),
        })))
    }

    /// Performs a relay's request on page-only values.
    pub(crate) fn perform_locally(&self, request: &Request, payload: &[u8]) -> (Reply, Vec<u8>) {
        self.tier.with(|tier| self.page_only.borrow_mut().perform(tier, request, payload))
    }

    /// Sets the token for later connections.
    pub(crate) fn set_token(&self, token: &str) {
        self.connection.set_token(token.to_owned());
        self.chains.workers.set_token(token);
    }

    pub(crate) fn is_disposed(&self) -> bool {
        self.disposed.get()
    }

    /// Closes the connection, cancels all runs and releases all functions.
    pub(crate) fn dispose(&self) {
        self.disposed.set(true);
        self.tier.unsubscribe_all();
        for running in self.running.take() {
            running.cancel(closed());
        }
        for function in self.functions.take() {
            function.take();
        }
        self.chains.dispose();
        // The relay continues calls of a closed session; so the runs cancel their calls first, which takes some
        // microtasks.
        let connection = Rc::clone(&self.connection);
        spawn(async move {
            sleep(0.0).await;
            connection.close();
        });
    }
}

/// The error of any use of a runtime that was disposed of.
pub(crate) fn closed() -> FaasmError {
    FaasmError::new(Code::Closed, "the runtime was disposed of")
}

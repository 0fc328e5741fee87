//! What everything of one `Runtime` shares, until it is disposed of.

use crate::chain::Chains;
use crate::connection::Connection;
use crate::error::{Code, FaasmError};
use crate::function::Loaded;
use crate::global::{sleep, spawn};
use crate::stop::{Members, Stop};
use crate::tier::Tier;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// A loaded function and where it belongs; empty once the runtime is disposed of.
pub(crate) type Bound = RefCell<Option<(Rc<Loaded>, Rc<Shared>)>>;

/// A connection, the page's state, and what uses them.
pub(crate) struct Shared {
    pub(crate) connection: Rc<Connection>,
    pub(crate) tier: Rc<Tier>,
    /// What goes on: runs, what the page does with state, and the renewal of the token.
    pub(crate) running: Members<Stop>,
    pub(crate) functions: Members<Bound>,
    pub(crate) chains: Chains,
    disposed: Cell<bool>,
}

impl Shared {
    pub(crate) fn new(connection: Rc<Connection>, chains: Chains) -> Rc<Self> {
        Rc::new(Self {
            connection,
            tier: Rc::default(),
            running: Members::default(),
            functions: Members::default(),
            chains,
            disposed: Cell::new(false),
        })
    }

    /// The token to connect with from here on.
    pub(crate) fn set_token(&self, token: &str) {
        self.connection.set_token(token.to_owned());
        self.chains.crew.set_token(token);
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

//! Pending requests.

use super::{Connection, closed};
use crate::error::FaasmError;
use faasm_bridge::wire::{Reply, RequestId};
use futures_channel::oneshot;
use std::rc::Weak;

/// The result of a request: the relay's reply and its payload, or an error.
pub(crate) type Answer = Result<(Reply, Vec<u8>), FaasmError>;

/// A pending request. Dropping it cancels the request.
pub(crate) struct Waiting {
    /// The request's id, until its reply has arrived.
    pub(crate) id: Option<RequestId>,
    pub(super) connection: Weak<Connection>,
    pub(super) receiver: oneshot::Receiver<Answer>,
}

impl Waiting {
    /// Waits for the reply.
    pub(crate) async fn answer(mut self) -> Answer {
        let answer = (&mut self.receiver).await;
        self.id = None;
        answer.unwrap_or_else(|_| Err(closed()))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let (Some(id), Some(connection)) = (self.id, self.connection.upgrade()) {
            connection.cancel(id);
        }
    }
}

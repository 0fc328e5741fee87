//! Where replies arrive.

use super::{Connection, closed};
use crate::error::FaasmError;
use faasm_bridge::wire::{Reply, RequestId};
use futures_channel::oneshot;
use std::rc::Weak;

/// How a request ended: the relay's reply and its payload, or why there is none.
pub(crate) type Answer = Result<(Reply, Vec<u8>), FaasmError>;

/// Where a reply will arrive. Dropping it tells the relay that nobody waits any more.
pub(crate) struct Waiting {
    /// The request's, until its reply is here.
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

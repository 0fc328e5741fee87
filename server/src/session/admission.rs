//! Who gets a session, and what a session may do: its token, and the bounds of its user.

use super::transfers::Transfers;
use super::users::{User, Users};
use crate::auth::{Authority, Denied, Grant, Operation, now};
use crate::budget::{Account, Budget, Frees};
use crate::cluster::failure;
use crate::config::Limits;
use faasm_bridge::wire::{Answer, FailureCode, Hello, RefusalCode, Reply, Request};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

/// Version of the protocol since which there is [`FailureCode::Unauthorised`].
const UNAUTHORISED_SINCE: u16 = 3;

/// Version of the protocol since which there is [`FailureCode::OverBudget`].
const OVER_BUDGET_SINCE: u16 = 5;

/// Longest time to sleep until a token expires; one that lasts longer does not end a connection.
const MAX_RENEWAL: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Looks at everyone who comes in.
#[derive(Debug)]
pub(crate) struct Admission {
    /// `None` lets everybody in.
    authority: Option<Authority>,
    pub(super) limits: Arc<Limits>,
    users: Users,
    transfers: Arc<Transfers>,
    budget: Budget,
}

/// Which bound a call is beyond, in words.
#[derive(Debug)]
pub(crate) enum Exceeds {
    Input(String),
    /// Of what else the user does.
    Rate(String),
}

/// What a session may do, by the newest token it was shown.
#[derive(Clone, Debug)]
pub(super) struct SessionAuth {
    grant: Arc<Grant>,
    user: Arc<User>,
    limits: Arc<Limits>,
    /// Of the whole relay.
    pub(super) transfers: Arc<Transfers>,
    /// Of the protocol.
    version: u16,
    /// When the page is sent to get a fresh token.
    renewal: Option<Instant>,
}

impl Admission {
    pub(crate) fn new(authority: Option<Authority>, limits: Limits, budget: Budget) -> Self {
        let (users, transfers) = (Users::default(), Arc::new(Transfers::default()));
        let frees: Arc<dyn Frees> = Arc::clone(&transfers) as _;
        budget.ask(Arc::downgrade(&frees));
        Self { authority, limits: Arc::new(limits), users, transfers, budget }
    }

    /// What a user makes the relay hold.
    pub(super) fn account(&self, user: &str) -> Account {
        self.budget.user(user)
    }

    /// What a token allows.
    pub(crate) fn grant(&self, token: Option<&str>) -> Result<Grant, Denied> {
        match (&self.authority, token) {
            (None, _) => Ok(Grant::open()),
            (Some(_), None) => Err(Denied::Missing),
            (Some(authority), Some(token)) => authority.verify(token),
        }
    }

    /// Whether this user may begin a call without a session; it counts as begun.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn may_call(&self, user: &str, input: usize) -> Result<(), Exceeds> {
        let limits = &self.limits;
        if input > limits.input_bytes {
            return Err(Exceeds::Input(too_long(input, limits)));
        }
        if !self.users.get(user, limits).may_begin() {
            return Err(Exceeds::Rate(too_many(limits)));
        }
        Ok(())
    }

    /// Waits until there is room for a call among those of the user.
    pub(crate) async fn acquire_permit(&self, user: &str) -> Option<OwnedSemaphorePermit> {
        self.users.get(user, &self.limits).run().await
    }

    /// Lets a page in, or says why not.
    pub(super) fn admit(&self, hello: &Hello, version: u16) -> Result<SessionAuth, Answer> {
        let granted = self.grant(hello.token.as_deref()).and_then(|grant| {
            grant.check_user(&hello.user)?;
            Ok(grant)
        });
        let grant = granted.map_err(|denied| {
            tracing::info!(user = hello.user, reason = %denied, "session refused");
            Answer::Refused { code: RefusalCode::Unauthorised, message: denied.to_string() }
        })?;
        let user = self.users.get(&hello.user, &self.limits);
        // One that came with an expired token has been sent for a fresh one before.
        let left = grant.expiry().and_then(|expiry| expiry.checked_sub(now()));
        let left = left.filter(|left| *left > 0).map(Duration::from_secs);
        let left = left.filter(|left| *left <= MAX_RENEWAL);
        let renewal = left.map(|left| Instant::now() + left);
        let (grant, limits) = (Arc::new(grant), Arc::clone(&self.limits));
        let transfers = Arc::clone(&self.transfers);
        Ok(SessionAuth { grant, user, limits, transfers, version, renewal })
    }
}

impl SessionAuth {
    /// Of a session that nobody has come for yet: it allows nothing.
    pub(super) fn none(limits: &Arc<Limits>) -> Self {
        Self {
            grant: Arc::new(Grant::nothing()),
            user: Arc::new(User::new(limits)),
            limits: Arc::clone(limits),
            transfers: Arc::default(),
            version: 1,
            renewal: None,
        }
    }

    /// Of the protocol, as the newest handshake settled it.
    pub(super) fn version(&self) -> u16 {
        self.version
    }

    /// Whether the token allows a request.
    pub(super) fn may(&self, request: &Request) -> bool {
        self.grant.check(Operation::Request(request)).is_ok()
    }

    /// Completes when the token expires.
    pub(super) async fn expires(self) {
        match self.renewal {
            Some(renewal) => tokio::time::sleep_until(renewal).await,
            None => std::future::pending().await,
        }
    }

    /// Whether a request may be performed; `open` counts those of the session, this one included.
    ///
    /// # Errors
    /// The reply to it.
    pub(super) fn check(&self, request: &Request, input: usize, open: usize) -> Result<(), Reply> {
        let limits = &self.limits;
        let failed = |code, message| Err(Reply::Failed { code, message });
        if let Err(denied) = self.grant.check(Operation::Request(request)) {
            tracing::info!(reason = %denied, "request refused");
            let code = if self.version < UNAUTHORISED_SINCE {
                FailureCode::BadRequest
            } else {
                FailureCode::Unauthorised
            };
            return failed(code, denied.to_string());
        }
        // What it holds others wait for.
        let is_bound = !matches!(request, Request::UnlockState { .. });
        if is_bound && open > limits.requests_per_session {
            let most = limits.requests_per_session;
            let message = format!("more than {most} requests are open: await some of them first");
            return failed(FailureCode::Busy, message);
        }
        let Request::Call { .. } = request else { return Ok(()) };
        if input > limits.input_bytes {
            return failed(FailureCode::BadRequest, too_long(input, limits));
        }
        if !self.user.may_begin() {
            return failed(FailureCode::Busy, too_many(limits));
        }
        Ok(())
    }

    /// Waits until there is room for a call among those of the user; other requests need none.
    pub(super) async fn acquire_permit(&self, request: &Request) -> Option<OwnedSemaphorePermit> {
        match request {
            Request::Call { .. } => self.user.run().await,
            _ => None,
        }
    }

    /// A reply as a page of the session's version knows it.
    pub(super) fn in_words_of_its_version(&self, reply: Reply) -> Reply {
        match reply {
            Reply::Failed { code: FailureCode::OverBudget, message }
                if self.version < OVER_BUDGET_SINCE =>
            {
                Reply::Failed { code: FailureCode::Busy, message }
            }
            reply => reply,
        }
    }

    /// A reply, or what there is instead of one that is too long.
    pub(super) fn bound(&self, reply: Reply, payload: Vec<u8>) -> (Reply, Vec<u8>) {
        let most = self.limits.output_bytes;
        if !matches!(reply, Reply::Call { .. }) || payload.len() <= most {
            return (reply, payload);
        }
        let message = format!(
            "the call ran, and its output of {} bytes is not sent; this relay sends at most {most}",
            payload.len()
        );
        (Reply::CallFailed { code: failure::TOO_LARGE.to_owned() }, message.into_bytes())
    }
}

fn too_long(input: usize, limits: &Limits) -> String {
    format!("an input of {input} bytes; this relay takes at most {}", limits.input_bytes)
}

fn too_many(limits: &Limits) -> String {
    format!("more than {} calls in a second: try again later", limits.calls_per_second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_not_shown_a_token_may_nothing_and_is_told_so_in_words_they_know() {
        let limits = Arc::new(Limits::default());
        let read = Request::ReadState { key: "k".into(), offset: 0, length: None };
        for (version, expected) in [
            (1, FailureCode::BadRequest),
            (2, FailureCode::BadRequest),
            (3, FailureCode::Unauthorised),
        ] {
            let auth = SessionAuth { version, ..SessionAuth::none(&limits) };
            let Err(Reply::Failed { code, .. }) = auth.check(&read, 0, 1) else {
                panic!("{version}: it is refused");
            };
            assert_eq!(code, expected, "{version}");
        }
    }

    #[tokio::test]
    async fn a_page_is_sent_for_a_token_once() {
        let limits = Arc::new(Limits::default());
        let auth = SessionAuth { renewal: Some(Instant::now()), ..SessionAuth::none(&limits) };
        auth.expires().await;
        let none = futures_util::FutureExt::now_or_never(SessionAuth::none(&limits).expires());
        assert_eq!(none, None);
    }
}

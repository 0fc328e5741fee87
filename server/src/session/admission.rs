//! Admission and authorization of sessions: tokens, and the limits of their users.

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

/// Protocol version that introduced [`FailureCode::Unauthorised`].
const UNAUTHORISED_SINCE: u16 = 3;

/// Protocol version that introduced [`FailureCode::OverBudget`].
const OVER_BUDGET_SINCE: u16 = 5;

/// Maximum sleep until a token expires; a token that lasts longer does not end its connection.
const MAX_RENEWAL: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Admits pages to sessions, and calls without a session.
#[derive(Debug)]
pub(crate) struct Admission {
    /// `None` admits every page.
    authority: Option<Authority>,
    pub(super) limits: Arc<Limits>,
    users: Users,
    transfers: Arc<Transfers>,
    budget: Budget,
}

/// The limit that a call exceeds, as a message.
#[derive(Debug)]
pub(crate) enum Exceeds {
    Input(String),
    /// A limit on the user's rate of calls.
    Rate(String),
}

/// What a session may do, by its latest token.
#[derive(Clone, Debug)]
pub(super) struct SessionAuth {
    grant: Arc<Grant>,
    user: Arc<User>,
    limits: Arc<Limits>,
    /// Those of the whole relay.
    pub(super) transfers: Arc<Transfers>,
    /// The protocol version.
    version: u16,
    /// When the page has to fetch a fresh token.
    renewal: Option<Instant>,
}

impl Admission {
    pub(crate) fn new(authority: Option<Authority>, limits: Limits, budget: Budget) -> Self {
        let (users, transfers) = (Users::default(), Arc::new(Transfers::default()));
        let frees: Arc<dyn Frees> = Arc::clone(&transfers) as _;
        budget.ask(Arc::downgrade(&frees));
        Self { authority, limits: Arc::new(limits), users, transfers, budget }
    }

    /// The user's account of memory held by the relay.
    pub(super) fn account(&self, user: &str) -> Account {
        self.budget.user(user)
    }

    /// The rights that a token grants.
    pub(crate) fn grant(&self, token: Option<&str>) -> Result<Grant, Denied> {
        match (&self.authority, token) {
            (None, _) => Ok(Grant::open()),
            (Some(_), None) => Err(Denied::Missing),
            (Some(authority), Some(token)) => authority.verify(token),
        }
    }

    /// Admits a call of this user without a session, and counts it.
    ///
    /// # Errors
    /// The limit that it exceeds.
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

    /// Waits for a permit to run a call of the user.
    pub(crate) async fn acquire_permit(&self, user: &str) -> Option<OwnedSemaphorePermit> {
        self.users.get(user, &self.limits).run().await
    }

    /// Admits a page, or returns the refusal.
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
        // A page that presents an expired token has already been asked for a fresh one.
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
    /// For a session that no page has resumed yet: it has no rights.
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

    /// The protocol version negotiated by the latest handshake.
    pub(super) fn version(&self) -> u16 {
        self.version
    }

    /// Whether the token grants the right for a request.
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

    /// Whether a request may be performed; `open` counts the session's open requests, this one included.
    ///
    /// # Errors
    /// The failure to reply with.
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
        // Exempt from the limit: other runs may wait for the lock.
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

    /// Waits for a permit to run a call of the user; other requests need none.
    pub(super) async fn acquire_permit(&self, request: &Request) -> Option<OwnedSemaphorePermit> {
        match request {
            Request::Call { .. } => self.user.run().await,
            _ => None,
        }
    }

    /// Converts a reply to codes that the session's protocol version has.
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

    /// The reply, or a failure in its place if it is too long.
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
    fn an_unauthenticated_session_has_no_rights_and_gets_a_code_of_its_version() {
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
    async fn a_page_is_asked_for_a_fresh_token_once() {
        let limits = Arc::new(Limits::default());
        let auth = SessionAuth { renewal: Some(Instant::now()), ..SessionAuth::none(&limits) };
        auth.expires().await;
        let none = futures_util::FutureExt::now_or_never(SessionAuth::none(&limits).expires());
        assert_eq!(none, None);
    }
}

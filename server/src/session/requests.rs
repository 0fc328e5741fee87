//! Performs what a page asks for: each request a task, whose reply goes to the session whatever connection carries it.

use super::drain::Running;
use super::transfers::{Staged, Transfers};
use super::{Live, MAX_PAYLOADS, Session, Whose, lock, locks, reads, watched};
use crate::budget::{Charge, Kind, OverBudget};
use crate::cluster::{Call, ClusterError, Outcome, Run, failure};
use crate::config::App;
use crate::store::{Change, IdempotencyRecord, StoreError};
use bytes::Bytes;
use faasm_bridge::session::{ServerEvent, SessionError, reply_frame};
use faasm_bridge::state::Chunk;
use faasm_bridge::wire::{ChunkHeader, FailureCode, Reply, Request, RequestId, TRANSFER_BYTES};
use futures_util::FutureExt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tracing::Instrument;

/// Does what a received frame means.
///
/// # Errors
/// When the frame breaks the protocol: end the connection.
pub(super) fn take(
    session: &Arc<Session>,
    live: &mut Live,
    frame: &Bytes,
    app: &App,
) -> Result<(), SessionError> {
    session.metrics.received(frame.len());
    let received = live.machine.receive_shared(frame)?;
    // What is acknowledged is not kept.
    live.settle();
    match received {
        None => {}
        Some(ServerEvent::Start { id, first, request, payload }) => {
            start(session, live, (id, first), request, (payload, frame.len()), app);
        }
        Some(ServerEvent::Cancel { id }) => {
            if let Some(task) = live.tasks.remove(&id) {
                task.abort();
                let message = "cancelled by the page".to_owned();
                let reply = Reply::Failed { code: FailureCode::Cancelled, message };
                count(session, &reply);
                if let Some(frame) = live.machine.reply(id, reply, &[]) {
                    app.journal.notes.finish(session.key, session.claim, id, frame);
                }
            } else {
                // Another relay runs the call, and no caller waits for it any more; see `elsewhere.rs`.
                let message = "cancelled by the page; it runs on at another relay".to_owned();
                let reply = Reply::Failed { code: FailureCode::Cancelled, message };
                count(session, &reply);
                live.machine.reply(id, reply, &[]);
            }
        }
        Some(ServerEvent::Forget { ids }) => app.journal.notes.forget(session.key, ids),
    }
    // Replies given at once are in the outbox now.
    live.wake.notify_one();
    Ok(())
}

fn start(
    session: &Arc<Session>,
    live: &mut Live,
    (id, first): (RequestId, RequestId),
    request: Request,
    (payload, length): (Bytes, usize),
    app: &App,
) {
    let span = tracing::info_span!("session", session = %session.shown(), request = id.0);
    let entered = span.enter();
    let open = live.machine.open_requests();
    if let Err(refusal) = live.auth.check(&request, payload.len(), open) {
        count(session, &refusal);
        live.machine.reply(id, refusal, &[]);
        return;
    }
    if let Request::LockState { key, run } = request {
        drop(entered);
        return locks::start(session, live, id, (key, run), app);
    }
    if let Some(reply) = watched::answer(session, live, &request) {
        count(session, &reply);
        live.machine.reply(id, reply, &[]);
        return;
    }
    let held = match Held::take(session, payload.len(), length) {
        Ok(held) => held,
        Err((code, message)) => {
            let refusal = live.auth.in_words_of_its_version(Reply::Failed { code, message });
            count(session, &refusal);
            live.machine.reply(id, refusal, &[]);
            return;
        }
    };
    let (app, user) = (app.clone(), live.machine.user().to_owned());
    let auth = live.auth.clone();
    drop(entered);
    let performing = async move {
        let session = Arc::clone(&held.session);
        let waiting = session.metrics.waiting();
        // The user's permit first: waiting for it must not occupy the session's permits.
        let _room = auth.acquire_permit(&request).await;
        // Calls may wait for a lock that a run in the page holds, so the requests of that run must not wait for calls.
        let room = match &request {
            Request::UnlockState { .. } => None,
            Request::Call { .. } => Some(&session.calls),
            _ => Some(&session.operations),
        };
        let _permit = match room {
            None => None,
            Some(room) => match room.acquire().await {
                Ok(permit) => Some(permit),
                Err(_) => return,
            },
        };
        if session.drain.has_begun() {
            // Not begun, so the page can send it to the next relay.
            return session.unstart(id);
        }
        drop(waiting);
        let _running = session.metrics.running();
        let is_call = matches!(request, Request::Call { .. });
        let transfers = &auth.transfers;
        // For what the reply brings.
        let mut brought = reads::nothing(&session.account);
        let asked = Asked { session: &session, transfers, id, first, user, request, payload };
        let performed = AssertUnwindSafe(asked.perform(&app, &mut brought)).catch_unwind();
        let performed = performed.await.unwrap_or_else(|_| {
            let message = "the relay failed while performing the request".to_owned();
            Some((Reply::Failed { code: FailureCode::Unknown, message }, Vec::new()))
        });
        let Some((reply, payload)) = performed else {
            // Not started here: the page gets the reply from the relay that owns the session.
            session.lose();
            return session.unstart(id);
        };
        let (reply, payload) = auth.bound(reply, payload);
        let mut live = lock(&session.live);
        let (reply, payload) = live.afford(reply, payload, brought);
        count(&session, &reply);
        live.tasks.remove(&id);
        let frame = live.machine.reply_shared(id, reply, payload.into_boxed_slice().into());
        // What else is not marked is performed again where its reply was lost: reads, and what was refused.
        if let (true, Some(frame)) = (is_call, frame) {
            app.journal.notes.finish(session.key, session.claim, id, frame);
        }
        live.settle();
        live.wake.notify_one();
    };
    let task = tokio::spawn(performing.instrument(span));
    // The task takes this lock before it ends, so its entry is inserted before it is removed.
    live.tasks.insert(id, task.abort_handle());
}

/// Counts a reply that is not a result.
pub(super) fn count(session: &Session, reply: &Reply) {
    if let Reply::Failed { code, .. } = reply {
        session.metrics.failed(*code);
    }
}

impl Live {
    /// Keeps the reply if there is memory for it, or else a failure. `brought` was charged for its payload already.
    fn afford(&mut self, reply: Reply, payload: Vec<u8>, brought: Charge) -> (Reply, Vec<u8>) {
        let more = (payload.len() as u64).saturating_sub(brought.bytes());
        self.kept.absorb(brought);
        let instead = match self.kept.grow(more) {
            Ok(()) => return (self.auth.in_words_of_its_version(reply), payload),
            Err(_) if payload.is_empty() => return (reply, payload),
            Err(over) => over,
        };
        if let Reply::Call { .. } | Reply::CallFailed { .. } = reply {
            let message = format!("the call ran, and its output is not kept: {instead}");
            let code = failure::OVER_BUDGET.to_owned();
            return (Reply::CallFailed { code }, message.into_bytes());
        }
        let (code, message) = (FailureCode::OverBudget, instead.to_string());
        (self.auth.in_words_of_its_version(Reply::Failed { code, message }), Vec::new())
    }
}

/// What a request takes up besides its frame, bytes.
const REQUEST_BYTES: usize = 2 * 1024;

/// Memory and counters of a request until its task ends or is aborted.
struct Held {
    session: Arc<Session>,
    bytes: usize,
    _charge: Charge,
    _running: Running,
}

impl Held {
    /// For a request whose payload has so many bytes, and its frame so many, which is all that is kept of it.
    ///
    /// # Errors
    /// The limit that it exceeds.
    fn take(
        session: &Arc<Session>,
        bytes: usize,
        frame: usize,
    ) -> Result<Self, (FailureCode, String)> {
        let charge = session.account.charge(Kind::Request, frame.saturating_add(REQUEST_BYTES));
        let charge = charge.map_err(|over| (FailureCode::OverBudget, over.to_string()))?;
        // Only the session's one connection adds, under its lock.
        let held = session.payload_bytes.fetch_add(bytes, Ordering::Relaxed);
        let running = Running::new(&session.drain);
        let this = Self { session: Arc::clone(session), bytes, _charge: charge, _running: running };
        if held + bytes <= MAX_PAYLOADS {
            return Ok(this);
        }
        let message =
            format!("the session's pending and running requests exceed {MAX_PAYLOADS} bytes");
        Err((FailureCode::Busy, message))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.session.payload_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// A request that is to be performed now.
struct Asked<'a> {
    session: &'a Arc<Session>,
    transfers: &'a Arc<Transfers>,
    id: RequestId,
    first: RequestId,
    user: String,
    request: Request,
    payload: Bytes,
}

impl Asked<'_> {
    /// `None` if another relay owns the session, in which case nothing was done.
    async fn perform(self, app: &App, brought: &mut Charge) -> Option<(Reply, Vec<u8>)> {
        let Self { session, transfers, id, first, user, request, payload } = self;
        let request = match &app.keys {
            None => Ok(request),
            Some(keys) => keys.place(&user, request, payload.len()).await,
        };
        let performed = match request {
            Err(error) => return told(error.into()),
            Ok(request) => {
                let carried = (session, transfers, brought);
                Self::perform_placed(app, carried, (id, first), user, request, payload).await
            }
        };
        match performed {
            Ok(performed) => Some(performed),
            Err(failure) => told(failure),
        }
    }

    /// The request, with keys as in the cluster's state.
    async fn perform_placed(
        app: &App,
        (session, transfers, brought): (&Arc<Session>, &Arc<Transfers>, &mut Charge),
        (id, first): (RequestId, RequestId),
        user: String,
        request: Request,
        payload: Bytes,
    ) -> Result<(Reply, Vec<u8>), Failure> {
        let whose = Whose { session: session.key, user: &user, account: &session.account };
        match request {
            Request::Call { function, entry, args, env } => {
                let run = Some(Run { session: session.key, first });
                let call = Call { user, function, entry, input: payload, args, env, run };
                called(app, session, id, call).await
            }
            Request::ReadState { key, offset, length } => {
                let length = length.unwrap_or(TRANSFER_BYTES).min(TRANSFER_BYTES);
                let read =
                    reads::state(&*app.state, &user, (&key, offset, length), brought).await?;
                let state = Reply::State { size: read.size, offset: read.chunk.offset };
                Ok((state, read.chunk.bytes.into()))
            }
            Request::WriteState { key, size, chunks } => {
                let chunks = split(&chunks, &payload);
                changed(app, session, id, &user, Change::Write { key, size, chunks }).await
            }
            Request::ReadWhole { key, offset, length, read } => {
                let what = (key.as_str(), offset, length);
                transfers.read(&*app.state, whose, what, read, brought).await
            }
            Request::ReadOn { read, offset } => {
                Ok(transfers.read_on(session.key, read, offset, brought)?)
            }
            Request::Stage { write, part, chunks } => {
                transfers.stage(whose, (write, part), &chunks, &payload).await?;
                Ok((Reply::Done, Vec::new()))
            }
            Request::WriteStaged { key, size, write, parts, chunks } => {
                let Some(Staged { chunks: mut all, charge }) =
                    transfers.take(session.key, write, parts)
                else {
                    return Ok((Reply::Missing, Vec::new()));
                };
                all.extend(split(&chunks, &payload));
                let change = Change::Write { key, size, chunks: all };
                let written = changed(app, session, id, &user, change).await;
                drop(charge);
                written
            }
            Request::AppendState { key } => {
                changed(app, session, id, &user, Change::Append { key, element: payload.into() })
                    .await
            }
            Request::ClearAppended { key } => {
                changed(app, session, id, &user, Change::Clear { key }).await
            }
            Request::UnlockState { key, run } => {
                locks::release(app, session, id, &user, (&key, run)).await
            }
            Request::LockState { .. } => Err(Failure::Told {
                code: FailureCode::BadRequest,
                message: "internal error: a request for a lock reached the wrong handler"
                    .to_owned(),
            }),
            Request::ReadAppended { key, count } => {
                let read = reads::list(&*app.state, &user, (&key, count), brought).await;
                read.map(|bytes| (Reply::Bytes, bytes))
            }
            Request::Compare { function, integrities } => {
                compared(app, user, function, &integrities).await
            }
            Request::Watch { .. } | Request::Unwatch { .. } => Err(Failure::Told {
                code: FailureCode::BadRequest,
                message: "internal error: a request to watch a value reached the wrong handler"
                    .to_owned(),
            }),
            Request::ReadFile { path } => {
                let read = reads::file(&*app.files, &path, brought).await;
                read.map(|found| match found {
                    Some(bytes) => (Reply::Bytes, bytes),
                    None => (Reply::Missing, Vec::new()),
                })
            }
        }
    }
}

/// The reply for a failure; `None` if another relay owns the session.
fn told(failure: Failure) -> Option<(Reply, Vec<u8>)> {
    match failure {
        Failure::SessionLost => None,
        Failure::Told { code, message } => {
            tracing::warn!(?code, message, "request failed");
            Some((Reply::Failed { code, message }, Vec::new()))
        }
    }
}

/// Runs a function, once the journal has recorded that it may have started.
async fn called(
    app: &App,
    session: &Session,
    id: RequestId,
    call: Call,
) -> Result<(Reply, Vec<u8>), Failure> {
    session.begin(&*app.journal.log).await?;
    app.journal.log.accept(session.key, session.claim, id).await?;
    Ok(match app.cluster.call(call).await? {
        Outcome::Returned(result) => {
            (Reply::Call { return_value: result.return_value }, result.output)
        }
        Outcome::Failed { code, message } => {
            (Reply::CallFailed { code: code.to_owned() }, message.into_bytes())
        }
    })
}

/// Whether the cluster has one of these versions of a function.
async fn compared(
    app: &App,
    user: String,
    function: String,
    integrities: &[String],
) -> Result<(Reply, Vec<u8>), Failure> {
    let found = app.cluster.integrity(user.clone(), function.clone()).await?;
    Ok(match found {
        None => (Reply::Missing, Vec::new()),
        Some(found) if integrities.contains(&found) => (Reply::Done, Vec::new()),
        Some(cluster) => {
            let page = integrities.first().map_or("unknown", String::as_str);
            tracing::warn!(
                user,
                function,
                page,
                cluster,
                "a page has another version of a function"
            );
            (Reply::Bytes, cluster.into_bytes())
        }
    })
}

/// Changes state, with an idempotency record.
async fn changed(
    app: &App,
    session: &Session,
    id: RequestId,
    user: &str,
    change: Change,
) -> Result<(Reply, Vec<u8>), Failure> {
    session.begin(&*app.journal.log).await?;
    let reply = reply_frame(id, Reply::Done, &[]);
    let mark = IdempotencyRecord { session: session.key, claim: session.claim, request: id, reply };
    app.journal.state.change(mark, user, change).await?;
    Ok((Reply::Done, Vec::new()))
}

/// The chunks of a write, whose lengths were checked to add up to the payload's.
pub(super) fn split(headers: &[ChunkHeader], payload: &Bytes) -> Vec<Chunk> {
    let mut rest = payload.clone();
    let mut chunks = Vec::with_capacity(headers.len());
    for header in headers {
        let length = usize::try_from(header.length).unwrap_or(usize::MAX).min(rest.len());
        chunks.push(Chunk { offset: header.offset, bytes: rest.split_to(length) });
    }
    chunks
}

/// Why a request has no result.
pub(super) enum Failure {
    Told {
        code: FailureCode,
        message: String,
    },
    /// Another relay owns the session; the page has to send the request there.
    SessionLost,
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let Some(code) = error.code() else { return Failure::SessionLost };
        Failure::Told { code, message: error.to_string() }
    }
}

impl From<OverBudget> for Failure {
    fn from(over: OverBudget) -> Self {
        Failure::Told { code: FailureCode::OverBudget, message: over.to_string() }
    }
}

impl From<ClusterError> for Failure {
    fn from(error: ClusterError) -> Self {
        match error {
            ClusterError::Store(error) => error.into(),
            error => {
                let code = match &error {
                    ClusterError::Full { .. }
                    | ClusterError::UserFull { .. }
                    | ClusterError::Busy(_) => FailureCode::Busy,
                    ClusterError::OverBudget(_) => FailureCode::OverBudget,
                    ClusterError::Unknown(_) => FailureCode::Unknown,
                    ClusterError::Refused(_) => FailureCode::BadRequest,
                    _ => FailureCode::Unavailable,
                };
                Failure::Told { code, message: error.to_string() }
            }
        }
    }
}

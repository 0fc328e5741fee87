//! From a client's first frame to a session attached to its connection, over WebSocket or HTTP.

use super::{Attachment, Sessions, TurnedAway};
use crate::config::Timings;
use faasm_bridge::ErrorCode;
use faasm_bridge::explain::with_link;
use faasm_bridge::session::greet;
use faasm_bridge::wire::{Answer, RefusalCode};
use std::sync::Arc;

/// How often the lookup is repeated if the session is dropped before it is attached.
const ATTEMPTS: usize = 3;

/// The answer, to be sent before any frame of the session, and the attachment unless the answer is a refusal.
pub(super) async fn enter(
    frame: &[u8],
    sessions: &Arc<Sessions>,
    timings: &Timings,
) -> (Answer, Option<Attachment>) {
    match let_in(frame, sessions, timings).await {
        (Answer::Refused { code, message }, attachment) => {
            let message = with_link(message, ErrorCode::Refused.as_str());
            (Answer::Refused { code, message }, attachment)
        }
        let_in => let_in,
    }
}

async fn let_in(
    frame: &[u8],
    sessions: &Arc<Sessions>,
    timings: &Timings,
) -> (Answer, Option<Attachment>) {
    let (hello, version) = match greet(frame) {
        Ok(greeted) => greeted,
        Err(refusal) => return (refusal, None),
    };
    if sessions.is_draining() {
        let message = "the relay stops; connect again".into();
        return (Answer::Refused { code: RefusalCode::Busy, message }, None);
    }
    let auth = match sessions.admission.admit(&hello, version) {
        Ok(auth) => auth,
        Err(refusal) => return (refusal, None),
    };
    for _ in 0..ATTEMPTS {
        let (session, resumed) = match sessions.enter(&hello.user, hello.resume).await {
            Ok(entered) => entered,
            Err(why) => return (busy(why), None),
        };
        let id = session.id;
        // From here on the session's frames go to this connection.
        let attached =
            Attachment::attach(session, Arc::clone(sessions), auth.clone(), timings.clone());
        if let Some(attachment) = attached {
            return (Answer::Welcome { version, session: id, resumed }, Some(attachment));
        }
    }
    (busy(TurnedAway::Full), None)
}

fn busy(why: TurnedAway) -> Answer {
    let message = match why {
        TurnedAway::Full => {
            "the relay, or this user, has too many sessions; try again later".to_owned()
        }
        TurnedAway::Unsure(error) => {
            tracing::error!(%error, "a page is refused: its session cannot be looked up");
            format!("the session cannot be looked up now; connect again: {error}")
        }
    };
    Answer::Refused { code: RefusalCode::Busy, message }
}

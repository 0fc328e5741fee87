//! Long answers: sent in pieces, each when the client has read the previous ones.

use super::Answer;
use crate::budget::Charge;
use crate::store::StoreError;
use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use hyper::header::{self, HeaderValue};
use hyper::{Response, StatusCode};

/// Maximum piece handed to HTTP at once, which copies it.
pub(super) const PIECE_BYTES: usize = 64 * 1024;

/// Bytes that are charged until the last reference to them is dropped.
struct Charged {
    bytes: Bytes,
    _charge: Charge,
}

impl AsRef<[u8]> for Charged {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Bytes with the charge for them.
pub(super) fn charged(bytes: impl Into<Bytes>, charge: Charge) -> Bytes {
    Bytes::from_owner(Charged { bytes: bytes.into(), _charge: charge })
}

/// An answer with these bytes as its body.
pub(super) fn streamed(
    status: StatusCode,
    content_type: &'static str,
    bytes: impl Into<Bytes>,
) -> Answer {
    let mut rest = bytes.into();
    let length = rest.len();
    let pieces = stream::iter(std::iter::from_fn(move || {
        let piece = rest.split_to(PIECE_BYTES.min(rest.len()));
        (!piece.is_empty()).then(|| Ok::<_, StoreError>(Frame::data(piece)))
    }));
    let mut answer = Response::new(StreamBody::new(pieces).boxed_unsync());
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    answer
}

//! Frames, handshakes and batches: a decoded message can be encoded again, and then decodes to the same message.

use crate::random::{Rng, hash};
use faasm_bridge::session::greet;
use faasm_bridge::wire::{
    Answer, BATCH_HEADER_BYTES, BatchHeader, ClientMessage, FrameReader, Hello, ServerMessage,
    VERSIONS, WireError, append_frame, decode, decode_handshake, encode, encode_handshake,
    frames_of,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;

pub(super) fn client_message(frame: &[u8]) -> Result<bool, String> {
    if let Some((ClientMessage::Request { request, .. }, payload)) = twice(frame)? {
        request.problem(payload);
        return Ok(true);
    }
    Ok(decode::<ClientMessage>(frame).is_ok())
}

pub(super) fn server_message(frame: &[u8]) -> Result<bool, String> {
    Ok(twice::<ServerMessage>(frame)?.is_some())
}

/// Decodes a frame, and encodes the result again.
fn twice<M>(frame: &[u8]) -> Result<Option<(M, &[u8])>, String>
where
    M: Serialize + DeserializeOwned + PartialEq + Debug,
{
    let Ok((message, payload)) = decode::<M>(frame) else { return Ok(None) };
    let again =
        encode(&message, payload).map_err(|error| format!("decoded, but not encoded: {error}"))?;
    match decode::<M>(&again) {
        Ok((same, rest)) if (&same, rest) == (&message, payload) => Ok(Some((message, payload))),
        other => Err(format!("decodes differently after encoding: {message:?} and {other:?}")),
    }
}

pub(super) fn hello(frame: &[u8]) -> Result<bool, String> {
    match greet(frame) {
        Ok((hello, version)) => {
            same_handshake(&hello)?;
            if !VERSIONS.contains(&version) || version > hello.versions.1 {
                return Err(format!("settles on version {version} for {hello:?}"));
            }
            Ok(true)
        }
        Err(answer) => {
            same_handshake(&answer)?;
            Ok(decode_handshake::<Hello>(frame).is_ok())
        }
    }
}

pub(super) fn answer(frame: &[u8]) -> Result<bool, String> {
    let Ok(answer) = decode_handshake::<Answer>(frame) else { return Ok(false) };
    same_handshake(&answer).map(|()| true)
}

fn same_handshake<M>(message: &M) -> Result<(), String>
where
    M: Serialize + DeserializeOwned + PartialEq + Debug,
{
    let frame =
        encode_handshake(message).map_err(|error| format!("decoded, but not encoded: {error}"))?;
    match decode_handshake::<M>(&frame) {
        Ok(same) if same == *message => Ok(()),
        other => Err(format!("decodes differently after encoding: {message:?} and {other:?}")),
    }
}

/// The content of a batch: the frames, and whether the last one is complete.
type Taken = Result<(Vec<Vec<u8>>, bool), WireError>;

pub(super) fn batch(bytes: &[u8]) -> Result<bool, String> {
    let frames = match bytes.split_first_chunk::<BATCH_HEADER_BYTES>() {
        Some((header, frames)) => {
            if BatchHeader::from_bytes(*header).to_bytes() != *header {
                return Err("a header encodes to other bytes than it was decoded from".to_owned());
            }
            frames
        }
        None => bytes,
    };
    let whole = read([frames].into_iter());
    let mut rng = Rng::new(hash(bytes));
    let mut rest = frames;
    let pieces = std::iter::from_fn(|| {
        let (piece, later) = rest.split_at(rest.len().min(rng.below(9)));
        let is_over = rest.is_empty();
        rest = later;
        (!is_over).then_some(piece)
    });
    for (how, cut) in [("at random", read(pieces)), ("everywhere", read(frames.chunks(1)))] {
        if cut != whole {
            return Err(format!("cut {how}, it decodes to {cut:?}, in one piece to {whole:?}"));
        }
    }
    let message: Result<Vec<_>, _> = frames_of(frames, true).collect();
    match (&whole, message) {
        (Ok((read, true)), Ok(message)) if *read == message => {}
        (Ok((_, false)) | Err(_), Err(_)) => {}
        (whole, message) => {
            return Err(format!(
                "as one message it decodes to {message:?}, in pieces to {whole:?}"
            ));
        }
    }
    let Ok((frames, is_complete)) = &whole else { return Ok(false) };
    let mut again = Vec::new();
    frames.iter().for_each(|frame| append_frame(&mut again, frame));
    match read([again.as_slice()].into_iter()) {
        Ok((same, true)) if same == *frames => Ok(*is_complete),
        other => Err(format!("after encoding, the batch decodes to {other:?}")),
    }
}

fn read<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Taken {
    let mut reader = FrameReader::default();
    let mut frames = Vec::new();
    for piece in pieces {
        frames.extend(reader.push(piece)?);
    }
    Ok((frames, reader.is_at_boundary()))
}

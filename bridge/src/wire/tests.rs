//! The protocol's bytes: recorded frames, limits, and the approved hash of the schema.

use super::*;
use sha2::{Digest, Sha256};

/// Changes with `message.rs`. Before approving a new one: is it still readable by a peer of the previous version? If
/// not, raise [`VERSIONS`], keep the old messages for one version, and save frames of the new one below.
const APPROVED_SCHEMA: &str = "b9a9226ec1118f39f02943221af415969af4abdd2f9ff9654b92c39d1dbdb5e5";

#[test]
fn the_schema_is_approved() {
    let source = include_str!("message.rs").replace("\r\n", "\n");
    let hash: String = Sha256::digest(source).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hash, APPROVED_SCHEMA, "message.rs changed; see APPROVED_SCHEMA");
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn frames_of_version_1_keep_their_bytes() {
    let hello = Hello { versions: (1, 1), user: "demo".into(), token: None, resume: None };
    let frame = encode_handshake(&hello).unwrap();
    assert_eq!(hex(&frame), "4641737901010464656d6f0000");
    assert_eq!(decode_handshake::<Hello>(&frame), Ok(hello));

    let welcome = Answer::Welcome { version: 1, session: SessionId([0xab; 16]), resumed: false };
    let frame = encode_handshake(&welcome).unwrap();
    assert_eq!(hex(&frame), format!("464173790001{}00", "ab".repeat(16)));

    let request = Request::Call {
        function: "chain".into(),
        entry: CallEntry::Pointer(3),
        args: vec!["a".into()],
        env: vec![],
    };
    let message = ClientMessage::Request { id: RequestId(300), request };
    let frame = encode(&message, b"input").unwrap();
    assert_eq!(hex(&frame), "00ac020005636861696e01030101610069".to_owned() + "6e707574");
    assert_eq!(decode::<ClientMessage>(&frame), Ok((message, &b"input"[..])));

    let write = Request::WriteState {
        key: "k".into(),
        size: 4,
        chunks: vec![ChunkHeader { offset: 1, length: 2 }],
    };
    let message = ClientMessage::Request { id: RequestId(1), request: write };
    assert_eq!(hex(&encode(&message, b"xy").unwrap()), "000102016b040101027879");

    let reply = ServerMessage::Reply { id: RequestId(1), reply: Reply::Call { return_value: -1 } };
    assert_eq!(hex(&encode(&reply, b"out").unwrap()), "000100016f7574");

    let reply = Reply::CallFailed { code: "trap".into() };
    let reply = ServerMessage::Reply { id: RequestId(1), reply };
    assert_eq!(hex(&encode(&reply, b"why").unwrap()), "0001060474726170776879");
}

#[test]
fn frames_of_version_2_keep_their_bytes() {
    let hello = Hello { versions: (1, 2), user: "demo".into(), token: None, resume: None };
    let frame = encode_handshake(&hello).unwrap();
    assert_eq!(hex(&frame), "4641737901020464656d6f0000");
    assert_eq!(decode_handshake::<Hello>(&frame), Ok(hello));
    assert_eq!(encode(&ClientMessage::Ping, &[]).unwrap(), [3]);
    assert_eq!(decode::<ClientMessage>(&[3]), Ok((ClientMessage::Ping, &[][..])));
    assert_eq!(encode(&ServerMessage::Pong, &[]).unwrap(), [1]);
    assert_eq!(decode::<ServerMessage>(&[1]), Ok((ServerMessage::Pong, &[][..])));
}

#[test]
fn frames_of_version_3_keep_their_bytes() {
    let reply = Reply::Failed { code: FailureCode::Unauthorised, message: "no".into() };
    let reply = ServerMessage::Reply { id: RequestId(1), reply };
    assert_eq!(hex(&encode(&reply, &[]).unwrap()), "00010306026e6f");
    let run = ClientMessage::SameRun { id: RequestId(300), first: RequestId(2) };
    assert_eq!(hex(&encode(&run, &[]).unwrap()), "04ac0202");
    let compare = Request::Compare { function: "f".into(), integrities: vec!["s".into()] };
    let compare = ClientMessage::Request { id: RequestId(1), request: compare };
    assert_eq!(hex(&encode(&compare, &[]).unwrap()), "0001070166010173");
}

#[test]
fn frames_of_version_4_keep_their_bytes() {
    let message = |request| ClientMessage::Request { id: RequestId(1), request };
    for (request, expected) in [
        (Request::LockState { key: "k".into(), run: 300 }, "000108016bac02"),
        (Request::UnlockState { key: "k".into(), run: 300 }, "000109016bac02"),
    ] {
        assert_eq!(request.since(), 4);
        let frame = encode(&message(request.clone()), &[]).unwrap();
        assert_eq!(hex(&frame), expected);
        assert_eq!(decode::<ClientMessage>(&frame), Ok((message(request), &[][..])));
    }
    let reply = Reply::Failed { code: FailureCode::LockLost, message: "no".into() };
    let reply = ServerMessage::Reply { id: RequestId(1), reply };
    assert_eq!(hex(&encode(&reply, &[]).unwrap()), "00010307026e6f");
}

#[test]
fn frames_of_version_5_keep_their_bytes() {
    let message = |request| ClientMessage::Request { id: RequestId(1), request };
    let chunks = || vec![ChunkHeader { offset: 1, length: 2 }];
    let key = || String::from("k");
    for (request, payload, expected) in [
        (
            Request::ReadWhole { key: key(), offset: 2, length: Some(300), read: 7 },
            &b""[..],
            "00010c016b0201ac0207",
        ),
        (Request::ReadOn { read: 7, offset: 300 }, b"", "00010d07ac02"),
        (Request::Stage { write: 7, part: 3, chunks: chunks() }, b"xy", "00010e07030101027879"),
        (
            Request::WriteStaged { key: key(), size: 4, write: 7, parts: 3, chunks: chunks() },
            b"xy",
            "00010f016b0407030101027879",
        ),
    ] {
        assert_eq!((request.since(), request.problem(payload)), (5, None));
        let frame = encode(&message(request.clone()), payload).unwrap();
        assert_eq!(hex(&frame), expected);
        assert_eq!(decode::<ClientMessage>(&frame), Ok((message(request), payload)));
    }
    let reply = Reply::Failed { code: FailureCode::OverBudget, message: "no".into() };
    let reply = ServerMessage::Reply { id: RequestId(1), reply };
    assert_eq!(hex(&encode(&reply, &[]).unwrap()), "00010308026e6f");
}

#[test]
fn frames_of_watching_keep_their_bytes() {
    let watch = Request::Watch { key: "k".into() };
    let watch = ClientMessage::Request { id: RequestId(1), request: watch };
    assert_eq!(hex(&encode(&watch, &[]).unwrap()), "00010a016b");
    let unwatch = Request::Unwatch { key: "k".into() };
    let unwatch = ClientMessage::Request { id: RequestId(2), request: unwatch };
    assert_eq!(hex(&encode(&unwatch, &[]).unwrap()), "00020b016b");
    let changed = ServerMessage::Changed { key: "k".into() };
    assert_eq!(hex(&encode(&changed, &[]).unwrap()), "02016b");
    assert_eq!(decode::<ServerMessage>(&[2, 1, b'k']), Ok((changed, &[][..])));
}

#[test]
fn a_batch_header_keeps_its_bytes() {
    let header = BatchHeader { connection: ConnectionId([0xcd; 16]), seq: 258 };
    assert_eq!(hex(&header.to_bytes()), format!("{}0201000000000000", "cd".repeat(16)));
    assert_eq!(BatchHeader::from_bytes(header.to_bytes()), header);
}

#[test]
fn frames_of_a_batch_come_out_wherever_it_is_cut() {
    let frames = [b"one".to_vec(), vec![7; 300], b"3".to_vec()];
    let mut batch = Vec::new();
    for frame in &frames {
        append_frame(&mut batch, b"");
        append_frame(&mut batch, frame);
    }
    assert_eq!(hex(&batch[..11]), "00000000030000006f6e65");
    for piece in 1..=batch.len() {
        let mut reader = FrameReader::default();
        let found: Vec<Vec<u8>> =
            batch.chunks(piece).flat_map(|piece| reader.push(piece).unwrap()).collect();
        assert_eq!(found, frames, "pieces of {piece} bytes");
        assert!(reader.is_at_boundary());
    }
    let mut reader = FrameReader::default();
    assert_eq!(reader.push(&batch[..batch.len() - 1]).unwrap().len(), 2);
    assert!(!reader.is_at_boundary());
    let long = u32::try_from(MAX_FRAME_BYTES + 1).unwrap().to_le_bytes();
    assert!(matches!(FrameReader::default().push(&long), Err(WireError::FrameTooLong { .. })));
}

#[test]
fn every_length_is_bounded() {
    let message = ClientMessage::Acknowledge { id: RequestId(1) };
    let long = vec![0; MAX_PAYLOAD_BYTES + 1];
    assert!(matches!(encode(&message, &long), Err(WireError::PayloadTooLong { .. })));
    let long = vec![0; MAX_FRAME_BYTES + 1];
    assert!(matches!(decode::<ClientMessage>(&long), Err(WireError::FrameTooLong { .. })));
    let request =
        Request::ReadState { key: "k".repeat(MAX_ENVELOPE_BYTES), offset: 0, length: None };
    let message = ClientMessage::Request { id: RequestId(1), request };
    assert!(matches!(encode(&message, &[]), Err(WireError::EnvelopeTooLong { .. })));
}

#[test]
fn nonsense_is_refused_without_a_panic() {
    assert_eq!(decode_handshake::<Hello>(b"GET / HTTP/1.1"), Err(WireError::NotAHandshake));
    assert!(matches!(decode_handshake::<Hello>(b"FAsy"), Err(WireError::Malformed { .. })));
    // A string that claims to be 4 GiB long.
    let frame = [0, 1, 1, 0xff, 0xff, 0xff, 0xff, 0x0f, b'k'];
    assert!(matches!(decode::<ClientMessage>(&frame), Err(WireError::Malformed { .. })));
    let mut state = 1_u64;
    for _ in 0..20_000 {
        let frame: Vec<u8> = (0..state % 40)
            .map(|_| {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                (state >> 33) as u8
            })
            .collect();
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let _ = decode::<ClientMessage>(&frame);
        let _ = decode_handshake::<Answer>(&frame);
    }
}

#[test]
fn invalid_requests_are_described() {
    let call = |function: &str| Request::Call {
        function: function.into(),
        entry: CallEntry::Main,
        args: vec![],
        env: vec![],
    };
    assert_eq!(call("good-name_1.x").problem(&[]), None);
    for bad in ["", "..", ".hidden", "a/b", "a b", "ä", &"x".repeat(MAX_NAME_BYTES + 1)] {
        assert!(call(bad).problem(&[]).is_some(), "{bad}");
    }
    let chunks =
        vec![ChunkHeader { offset: 0, length: u64::MAX }, ChunkHeader { offset: 0, length: 2 }];
    let write = Request::WriteState { key: "k".into(), size: 2, chunks };
    assert!(write.problem(b"ab").is_some());
    let staged = |part, length| {
        let chunks = vec![ChunkHeader { offset: 0, length }];
        Request::Stage { write: 1, part, chunks }.problem(b"ab").is_some()
    };
    assert_eq!([staged(0, 2), staged(0, 3), staged(MAX_PARTS + 1, 2)], [false, true, true]);
}

//! Valid bytes: every message of the wire, and the texts of operators and old clients.

use crate::random::Rng;
use faasm_bridge::faasm::BYTES as ENCODED;
use faasm_bridge::host::Era;
use faasm_bridge::manifest::{
    Artefact, Asyncify, AsyncifyArtefact, Engines, Entry, FaasmArtefact, Imports, Manifest, Pass,
    SCHEMA, UnwindBuffer,
};
use faasm_bridge::names::{Functions, Names};
use faasm_bridge::placement::Where;
use faasm_bridge::residence::Rules;
use faasm_bridge::wire::{
    Answer, BatchHeader, CallEntry, ChunkHeader, ClientMessage, ConnectionId, FailureCode, Hello,
    RefusalCode, Reply, Request, RequestId, ServerMessage, SessionId, append_frame, encode,
    encode_handshake,
};
use faasm_relay::settings::{Field, Settings, TABLE};
use serde::Serialize;
use serde_json::json;

/// Longest payload, bytes; what makes payloads special is that they are there.
const PAYLOAD_BYTES: usize = 40;

fn text(rng: &mut Rng) -> String {
    const TEXTS: [&str; 8] = ["demo", "hello", "", ".", "state key", "größe", "a/b", "\u{0}"];
    let longer = rng.chance(5).then(|| "n".repeat(rng.below(200)));
    longer.unwrap_or_else(|| TEXTS[rng.below(TEXTS.len())].to_owned())
}

/// Sometimes beyond every bound of a key, and of an envelope.
fn key(rng: &mut Rng) -> String {
    if rng.below(300) == 0 { "k".repeat(300 * 1024) } else { text(rng) }
}

/// Ids are few, so that messages are about the same requests; the last ones there are come, too.
fn id(rng: &mut Rng) -> RequestId {
    let number = rng.below(5) as u64;
    RequestId(if rng.chance(10) { u64::MAX - number / 4 } else { 1 + number })
}

fn request(rng: &mut Rng, payload: usize) -> Request {
    let key = key(rng);
    match rng.below(16) {
        0 => {
            let entry = match rng.below(3) {
                0 => CallEntry::Main,
                1 => CallEntry::Pointer(rng.number() as u32),
                _ => CallEntry::Index(rng.number() as u32),
            };
            let args = (0..rng.below(3)).map(|_| text(rng)).collect();
            let env = (0..rng.below(3)).map(|_| (text(rng), text(rng))).collect();
            Request::Call { function: text(rng), entry, args, env }
        }
        1 => {
            let length = rng.chance(50).then(|| rng.number());
            Request::ReadState { key, offset: rng.number(), length }
        }
        2 => {
            let chunk = ChunkHeader { offset: rng.number(), length: payload as u64 };
            Request::WriteState { key, size: rng.number(), chunks: vec![chunk] }
        }
        3 => Request::AppendState { key },
        4 => Request::ReadAppended { key, count: rng.number() as u32 },
        5 => Request::ClearAppended { key },
        6 => {
            let integrities = (0..rng.below(3)).map(|_| text(rng)).collect();
            Request::Compare { function: text(rng), integrities }
        }
        7 => Request::LockState { key, run: rng.number() },
        8 => Request::UnlockState { key, run: rng.number() },
        9 => Request::Watch { key },
        10 => Request::Unwatch { key },
        11 => {
            let length = rng.chance(50).then(|| rng.number());
            Request::ReadWhole { key, offset: rng.number(), length, read: rng.number() }
        }
        12 => Request::ReadOn { read: rng.number(), offset: rng.number() },
        13 => {
            let chunks = vec![ChunkHeader { offset: rng.number(), length: payload as u64 }];
            Request::Stage { write: rng.number(), part: rng.below(9) as u32, chunks }
        }
        14 => {
            let chunks = vec![ChunkHeader { offset: rng.number(), length: payload as u64 }];
            let (size, write) = (rng.number(), rng.number());
            Request::WriteStaged { key, size, write, parts: rng.below(9) as u32, chunks }
        }
        _ => Request::ReadFile { path: key },
    }
}

/// The frame of a message; one that is too long to be sent is empty.
fn frame<M: Serialize>(message: &M, payload: &[u8]) -> Vec<u8> {
    encode(message, payload).unwrap_or_default()
}

pub(super) fn client_frame(rng: &mut Rng) -> Vec<u8> {
    let length = rng.below(PAYLOAD_BYTES);
    let payload = rng.bytes(length);
    let id = id(rng);
    match rng.below(8) {
        0 | 1 => frame(&ClientMessage::Acknowledge { id }, &[]),
        2 => frame(&ClientMessage::Cancel { id }, &[]),
        3 if rng.chance(50) => frame(&ClientMessage::Ping, &[]),
        3 => frame(&ClientMessage::SameRun { id, first: RequestId(1) }, &[]),
        _ => frame(&ClientMessage::Request { id, request: request(rng, length) }, &payload),
    }
}

pub(super) fn server_frame(rng: &mut Rng) -> Vec<u8> {
    const CODES: [FailureCode; 6] = [
        FailureCode::BadRequest,
        FailureCode::Unknown,
        FailureCode::State,
        FailureCode::Unauthorised,
        FailureCode::LockLost,
        FailureCode::OverBudget,
    ];
    let length = rng.below(PAYLOAD_BYTES);
    let payload = rng.bytes(length);
    let reply = match rng.below(9) {
        0 => return frame(&ServerMessage::Pong, &[]),
        8 => return frame(&ServerMessage::Changed { key: key(rng) }, &[]),
        1 => Reply::Call { return_value: rng.number() as i32 },
        2 => {
            let size = rng.chance(50).then(|| rng.number());
            Reply::State { size, offset: rng.number() }
        }
        3 => Reply::Done,
        4 => Reply::Failed { code: CODES[rng.below(CODES.len())], message: key(rng) },
        5 => Reply::Bytes,
        6 => Reply::Missing,
        _ => Reply::CallFailed { code: text(rng) },
    };
    frame(&ServerMessage::Reply { id: id(rng), reply }, &payload)
}

pub(super) fn hello(rng: &mut Rng) -> Vec<u8> {
    let hello = Hello {
        versions: (rng.below(4) as u16, rng.below(5) as u16),
        user: text(rng),
        token: rng.chance(50).then(|| key(rng)),
        resume: rng.chance(50).then_some(SessionId([7; 16])),
    };
    encode_handshake(&hello).unwrap_or_default()
}

pub(super) fn answer(rng: &mut Rng) -> Vec<u8> {
    let answer = if rng.chance(70) {
        let version = 1 + rng.below(4) as u16;
        Answer::Welcome { version, session: SessionId([7; 16]), resumed: rng.chance(50) }
    } else {
        Answer::Refused { code: RefusalCode::Busy, message: text(rng) }
    };
    encode_handshake(&answer).unwrap_or_default()
}

/// The body of a request over HTTP.
pub(super) fn batch(rng: &mut Rng) -> Vec<u8> {
    let header = BatchHeader { connection: ConnectionId([9; 16]), seq: rng.number() };
    let mut batch = header.to_bytes().to_vec();
    for _ in 0..rng.below(5) {
        let frame = if rng.chance(10) { Vec::new() } else { client_frame(rng) };
        append_frame(&mut batch, &frame);
    }
    batch
}

/// A configuration: some settings at their defaults, and some at others.
pub(super) fn settings(rng: &mut Rng) -> Vec<u8> {
    let defaults = Settings::default();
    let mut text = String::new();
    let mut section = "";
    for setting in TABLE {
        let (of, name) = setting.key.rsplit_once('.').unwrap_or(("", setting.key));
        if of != section {
            text.push_str(&format!("[{of}]\n"));
            section = of;
        }
        let value = match (&setting.field, setting.value(&defaults)) {
            _ if rng.chance(50) => continue,
            (Field::Time(range, _), _) if rng.chance(50) => {
                format!("{:?}", range.start() + rng.below(1_000_000) as f64 / 1013.0)
            }
            (_, Some(value)) => value.to_string(),
            (_, None) => "\"größe/\\n\"".to_owned(),
        };
        text.push_str(&format!("{name} = {value}\n"));
    }
    text.into_bytes()
}

fn artefact(rng: &mut Rng) -> Artefact {
    Artefact { file: text(rng), integrity: "sha256-AAAA".to_owned(), bytes: rng.number() }
}

/// A manifest, or the names beside it.
pub(super) fn manifest(rng: &mut Rng) -> Vec<u8> {
    if rng.chance(30) {
        let functions: Functions = [(0, text(rng)), (12, text(rng))].into();
        let names = Names { jspi: functions.clone(), asyncify: functions };
        return serde_json::to_vec(&names).unwrap_or_default();
    }
    let asyncify = if rng.chance(30) {
        Asyncify::Unsupported { unsupported: text(rng) }
    } else {
        let buffer = rng.chance(50).then(|| UnwindBuffer { bytes: rng.number() as u32 });
        let pass = if rng.chance(50) { Pass::Own } else { Pass::Binaryen };
        let pass = buffer.is_some().then_some(pass);
        Asyncify::Artefact(AsyncifyArtefact { artefact: artefact(rng), buffer, pass })
    };
    let manifest = Manifest {
        schema: SCHEMA,
        name: text(rng),
        original: artefact(rng),
        era: if rng.chance(50) { Era::Legacy } else { Era::Current },
        entry: Entry {
            main: vec!["_start".to_owned()],
            before_pointer: vec![text(rng)],
            table: rng.chance(50).then(|| text(rng)),
            memory: "memory".to_owned(),
            malloc: None,
            errno: Some(1024),
            break_safe: true,
        },
        imports: Imports { immediate: vec![text(rng)], ..Imports::default() },
        engines: Engines { jspi: artefact(rng), asyncify },
        features: vec![text(rng)],
        names: rng.chance(50).then(|| artefact(rng)),
        faasm: rng
            .chance(50)
            .then(|| FaasmArtefact { artefact: artefact(rng), allow_lost_updates: rng.chance(50) }),
        chained: rng.chance(50).then(|| (text(rng), Where::Auto)).into_iter().collect(),
        state: match rng.chance(50) {
            true => Rules { pin: vec![text(rng)], prefetch: vec![], local: vec![text(rng)] },
            false => Rules::default(),
        },
        generator: text(rng),
    };
    serde_json::to_vec(&manifest).unwrap_or_default()
}

/// A body of `POST /`.
pub(super) fn call_message(rng: &mut Rng) -> Vec<u8> {
    let mut message = json!({
        "user": "demo",
        "function": if rng.chance(80) { "hello".to_owned() } else { text(rng) },
        "input_data": text(rng),
    });
    if rng.chance(50) {
        message["index"] = rng.below(9).into();
        message["async"] = rng.chance(50).into();
    }
    if rng.chance(50) {
        message["cmdline"] = "-v 3".into();
        message["args"] = json!([text(rng)]);
        message["env"] = json!({ "HOME": text(rng) });
    }
    if rng.chance(50) {
        message["status"] = true.into();
        message["id"] = (rng.number() as u32).into();
    }
    message.to_string().into_bytes()
}

/// A planner's report on an app, on its workers, or on the calls in flight.
pub(super) fn planner_answer(rng: &mut Rng) -> Vec<u8> {
    let outputs = [
        "text".to_owned(),
        "Task 7 threw exception. What: unreachable".to_owned(),
        "Error trying to claim executor".to_owned(),
        format!("{ENCODED}AP+A"),
    ];
    let document = match rng.below(3) {
        0 => {
            let output = &outputs[rng.below(outputs.len())];
            let ended = json!({
                "id": 7, "appId": 5, "user": "demo", "function": "echo", "input_data": "aGk=",
                "output_data": output, "returnValue": rng.below(2), "start_ts": "1795155228073",
            });
            json!({"appId": 5, "finished": rng.chance(50), "messageResults": [ended, {"id": 8}]})
        }
        1 => json!({"hosts": [{"ip": "10.77.0.3", "slots": 4, "usedSlots": -1}]}),
        _ => json!({"apps": [{"appId": 1120, "hostIps": ["10.77.0.3"]}]}),
    };
    document.to_string().into_bytes()
}

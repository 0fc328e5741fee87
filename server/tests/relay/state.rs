//! State from guest to cluster and page: mappings, partial pushes, lists, values of many transfers.

use crate::support::*;
use faasm_bridge::wire::{ChunkHeader, FailureCode, Reply, Request, TRANSFER_BYTES};

/// Maps `m` (4 bytes), writes 42 through the pointer, and says nothing of it; traps where there is an input.
const MAP: &str = r#"(module
    (import "env" "__faasm_read_input" (func $read (param i32 i32) (result i32)))
    (import "env" "__faasm_read_state_ptr" (func $map (param i32 i32) (result i32)))
    (memory 1)
    (data (i32.const 0) "m\00")
    (func (export "malloc") (param i32) (result i32) (i32.const 4096))
    (func (export "_start") (local $at i32) (local $input i32)
        (local.set $input (call $read (i32.const 0) (i32.const 0)))
        (local.set $at (call $map (i32.const 0) (i32.const 4)))
        (i32.store8 (i32.add (local.get $at) (local.get $input)) (i32.const 42))
        (if (local.get $input) (then (unreachable)))))"#;

/// Gives this host's copy of `m` as output.
const LOOK: &str = r#"(module
    (import "env" "__faasm_read_state" (func $read (param i32 i32 i32) (result i32)))
    (import "env" "__faasm_write_output" (func $write (param i32 i32)))
    (memory 1)
    (data (i32.const 0) "m\00")
    (func (export "_start")
        (call $write (i32.const 16) (call $read (i32.const 0) (i32.const 16) (i32.const 99)))))"#;

/// Writes "XY" at the beginning of `k` (6 bytes), pushes that part, and gives the whole of `k` as output.
const PARTIAL: &str = r#"(module
    (import "env" "__faasm_write_state_offset" (func $write (param i32 i32 i32 i32 i32)))
    (import "env" "__faasm_push_state_partial" (func $push (param i32)))
    (import "env" "__faasm_read_state" (func $read (param i32 i32 i32) (result i32)))
    (import "env" "__faasm_write_output" (func $output (param i32 i32)))
    (memory 1)
    (data (i32.const 0) "k\00XY")
    (func (export "_start")
        (call $write (i32.const 0) (i32.const 6) (i32.const 0) (i32.const 2) (i32.const 2))
        (call $push (i32.const 0))
        (call $output (i32.const 16) (call $read (i32.const 0) (i32.const 16) (i32.const 99)))))"#;

/// Appends its input to list `l`, or clears it where there is none; then gives the first two elements as output.
const APPEND: &str = r#"(module
    (import "env" "__faasm_read_input" (func $read (param i32 i32) (result i32)))
    (import "env" "__faasm_append_state" (func $append (param i32 i32 i32)))
    (import "env" "__faasm_read_appended_state" (func $first (param i32 i32 i32 i32) (result i32)))
    (import "env" "__faasm_clear_appended_state" (func $clear (param i32)))
    (import "env" "__faasm_write_output" (func $output (param i32 i32)))
    (memory 1)
    (data (i32.const 0) "l\00")
    (func (export "_start") (local $length i32)
        (local.set $length (call $read (i32.const 16) (i32.const 99)))
        (if (local.get $length)
            (then (call $append (i32.const 0) (i32.const 16) (local.get $length)))
            (else (call $clear (i32.const 0))))
        (call $output (i32.const 200)
            (call $first (i32.const 0) (i32.const 200) (i32.const 99) (i32.const 2)))))"#;

/// Reads all of `big` and returns its last byte.
const LAST: &str = r#"(module
    (import "env" "__faasm_read_state" (func $read (param i32 i32 i32) (result i32)))
    (memory 400)
    (data (i32.const 0) "big\00")
    (func (export "main") (result i32)
        (i32.load8_u (i32.add (i32.const 65535)
            (call $read (i32.const 0) (i32.const 65536) (i32.const 0x1400000))))))"#;

#[tokio::test]
async fn what_was_written_through_a_mapping_is_there_when_the_run_has_ended() {
    let relay = Relay::start().await.with(&[("map", MAP), ("look", LOOK)]).await;
    assert_eq!(relay.call("map", b"").await, (0, String::new()));
    assert_eq!(relay.call("look", b"").await, (0, "*\0\0\0".into()));
    assert_eq!(relay.fail("map", b"22").await.0, "trap");
    assert_eq!(relay.call("look", b"").await, (0, "*\0*\0".into()), "also after a trap");
}

#[tokio::test]
async fn a_partial_push_sends_its_part_and_brings_the_rest() {
    let relay = Relay::start().await.with(&[("partial", PARTIAL)]).await;
    let mut client = relay.client().await;
    client.write("k", b"abcdef").await;
    assert_eq!(client.call("partial", b"").await, (0, "XYcdef".into()));
    assert_eq!(client.read("k").await.as_deref(), Some(&b"XYcdef"[..]));
}

#[tokio::test]
async fn a_list_is_one_for_functions_and_pages() {
    let relay = Relay::start().await.with(&[("append", APPEND)]).await;
    let mut client = relay.client().await;
    let list = || "l".to_owned();
    assert_eq!(client.call("append", b"one").await.1, "one");
    let appended = client.ask(Request::AppendState { key: list() }, b"two").await;
    assert_eq!(appended, (Reply::Done, vec![]));
    assert_eq!(client.call("append", b"three").await.1, "onetwo");
    let all = Request::ReadAppended { key: list(), count: 100 };
    assert_eq!(client.ask(all.clone(), b"").await, (Reply::Bytes, b"onetwothree".to_vec()));
    assert_eq!(client.call("append", b"").await.1, "");
    assert_eq!(client.ask(all, b"").await, (Reply::Bytes, vec![]));
    let long = vec![0; TRANSFER_BYTES as usize + 1];
    let (reply, _) = client.ask(Request::AppendState { key: list() }, &long).await;
    assert!(matches!(reply, Reply::Failed { code: FailureCode::BadRequest, .. }), "{reply:?}");
    let cleared = client.ask(Request::ClearAppended { key: list() }, b"").await;
    assert_eq!(cleared, (Reply::Done, vec![]));
}

#[tokio::test]
async fn a_value_of_20_mib_goes_in_parts_and_a_read_gives_one_transfer() {
    const SIZE: u64 = 20 * 1024 * 1024;
    let relay = Relay::start().await.with(&[("last", LAST)]).await;
    let mut client = relay.client().await;
    let mut offset = 0;
    while offset < SIZE {
        let length = TRANSFER_BYTES.min(SIZE - offset);
        let chunks = vec![ChunkHeader { offset, length }];
        let write = Request::WriteState { key: "big".into(), size: SIZE, chunks };
        assert_eq!(
            client.ask(write, &vec![offset as u8 | 7; length as usize]).await.0,
            Reply::Done
        );
        offset += length;
    }
    for (offset, length, expected) in [
        (0, None, TRANSFER_BYTES),
        (1, Some(u64::MAX), TRANSFER_BYTES),
        (SIZE - 10, Some(100), 10),
        (SIZE, None, 0),
    ] {
        let read = Request::ReadState { key: "big".into(), offset, length };
        let (reply, bytes) = client.ask(read, b"").await;
        assert_eq!(reply, Reply::State { size: Some(SIZE), offset });
        assert_eq!(bytes.len() as u64, expected);
    }
    assert_eq!(client.call("last", b"").await, (7, String::new()), "a guest reads all of it");
}

#[tokio::test]
async fn a_long_value_is_read_and_written_as_a_whole() {
    const SIZE: u64 = 20 * 1024 * 1024;
    const REST: u64 = SIZE - 2 * TRANSFER_BYTES;
    let relay = Relay::start().await;
    let (mut writer, mut reader) = (relay.client().await, relay.client().await);
    let key = || String::from("big");
    let part = |offset, length| vec![ChunkHeader { offset, length }];
    for byte in [1_u8, 2] {
        let bytes = vec![byte; TRANSFER_BYTES as usize];
        for part_number in [0, 1] {
            let chunks = part(u64::from(part_number) * TRANSFER_BYTES, TRANSFER_BYTES);
            let stage = Request::Stage { write: 5, part: part_number, chunks };
            assert_eq!(writer.ask(stage, &bytes).await.0, Reply::Done);
        }
        // Nothing of it is there, and of another write nothing at all.
        let before = (byte == 2).then_some(SIZE);
        let read = |read| Request::ReadWhole { key: key(), offset: 0, length: None, read };
        let (reply, first) = reader.ask(read(byte.into()), b"").await;
        assert_eq!(reply, Reply::State { size: before, offset: 0 });
        let write = |write| {
            let chunks = part(2 * TRANSFER_BYTES, REST);
            Request::WriteStaged { key: key(), size: SIZE, write, parts: 2, chunks }
        };
        let last = &bytes[..REST as usize];
        assert_eq!(writer.ask(write(6), last).await.0, Reply::Missing);
        assert_eq!(writer.ask(write(5), last).await.0, Reply::Done);
        assert_eq!(writer.ask(write(5), last).await.0, Reply::Missing, "it was written once");
        // The read that began before goes on with what was there.
        let on = Request::ReadOn { read: byte.into(), offset: TRANSFER_BYTES };
        let (reply, second) = reader.ask(on, b"").await;
        if byte == 2 {
            assert_eq!(reply, Reply::State { size: Some(SIZE), offset: TRANSFER_BYTES });
            assert!(first.iter().chain(&second).all(|byte| *byte == 1));
        } else {
            assert_eq!((reply, second.len()), (Reply::Missing, 0));
        }
        let whole = writer.ask(read(9), b"").await;
        assert_eq!(whole.0, Reply::State { size: Some(SIZE), offset: 0 });
        assert!(whole.1.iter().all(|found| *found == byte));
    }
}

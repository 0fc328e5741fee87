//! Binaries of the 2019/20 toolchain: imported memory, `main` with arguments, a zygote, system calls.

use crate::support::*;
use faasm_relay::Config;
use faasm_relay::cluster::embedded::EmbeddedConfig;

/// Opens a shared file, and gives it as output; returns what the zygote left, or a negative error number.
const READS: &str = r#"(module
    (import "env" "memory" (memory 1))
    (import "env" "__syscall3" (func $call (param i32 i32 i32 i32) (result i32)))
    (import "env" "__faasm_write_output" (func $output (param i32 i32)))
    (data (i32.const 100) "faasm://data/a.txt\00")
    (global $ready (mut i32) (i32.const 0))
    (func (export "_faasm_zygote") (result i32) (global.set $ready (i32.const 5)) (i32.const 0))
    (func (export "main") (param i32 i32) (result i32) (local $file i32)
        (local.set $file (call $call (i32.const 5) (i32.const 100) (i32.const 0) (i32.const 0)))
        (if (i32.lt_s (local.get $file) (i32.const 0)) (then (return (local.get $file))))
        (call $output (i32.const 200)
            (call $call (i32.const 3) (local.get $file) (i32.const 200) (i32.const 99)))
        (global.get $ready)))"#;

/// Maps 64 MiB, and where that fails as it should, 1 MiB that it uses.
const MAPS: &str = r#"(module
    (import "env" "__syscall6" (func $call (param i32 i32 i32 i32 i32 i32 i32) (result i32)))
    (memory 1)
    (func $map (param $bytes i32) (result i32)
        (call $call (i32.const 192) (i32.const 0) (local.get $bytes)
            (i32.const 3) (i32.const 0x22) (i32.const -1) (i32.const 0)))
    (func (export "main") (result i32) (local $at i32)
        (local.set $at (call $map (i32.const 0x4000000)))
        (if (i32.ne (local.get $at) (i32.const -12)) (then (return (local.get $at))))
        (local.set $at (i32.add (call $map (i32.const 0x100000)) (i32.const 0xffffc)))
        (i32.store (local.get $at) (i32.const 42))
        (i32.load (local.get $at))))"#;

#[tokio::test]
async fn a_shared_file_is_fetched_and_one_that_is_not_there_is_an_error_number() {
    let relay = Relay::start().await.with(&[("reads", READS)]).await;
    assert_eq!(relay.call("reads", b"").await, (-2, String::new()));
    assert_eq!(relay.http("PUT /files/data/a.txt", b"shared").await.0, 200);
    assert_eq!(relay.call("reads", b"").await, (5, "shared".into()));
}

#[tokio::test]
async fn a_host_call_grows_memory_within_its_limit() {
    let embedded = EmbeddedConfig { max_memory: 32 * 1024 * 1024, ..Default::default() };
    let relay = Relay::start_with(Config::default(), embedded).await.with(&[("maps", MAPS)]).await;
    assert_eq!(relay.call("maps", b"").await, (42, String::new()));
}

//! Outputs, return values, and calls that are awaited.

use crate::guests::{BUILT, GUARDED, SIZE, faulted, link, refused, run, run_both, text};
use crate::host::{End, Run, Worker};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use faasm_asyncify::faasm::{POINTER_HEADER_BYTES, POINTER_MAGIC, built_for};
use faasm_bridge::faasm::{BYTES, FAULT, Output, RESULT, function_key};
use wasmtime::Engine;

fn plain(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok() && bytes.first() != Some(&2)
}

#[test]
fn outputs_that_are_text_stay_as_they_are() {
    let mut cases: Vec<Vec<u8>> = vec![
        vec![],
        b"text".to_vec(),
        "ä€𝄞".into(),
        b"\x02text".to_vec(),
        b"t\x02".to_vec(),
        format!("{BYTES}AAAA").into(),
        vec![0xc0, 0x80],
        vec![0xc1, 0xbf],
        vec![0xe0, 0x9f, 0xbf],
        vec![0xed, 0xa0, 0x80],
        vec![0xed, 0x9f, 0xbf],
        vec![0xf0, 0x8f, 0xbf, 0xbf],
        vec![0xf4, 0x8f, 0xbf, 0xbf],
        vec![0xf4, 0x90, 0x80, 0x80],
        vec![0xf5, 0x80, 0x80, 0x80],
        vec![0x80],
        vec![0xe2, 0x82],
        vec![0xf0, 0x9d, 0x84],
    ];
    cases.extend((0..=255).map(|byte| vec![byte]));
    cases.extend((0..=255).flat_map(|lead| {
        [0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0]
            .map(|second| vec![lead, second, 0x80, 0x80])
    }));
    cases.extend((1..9).map(|length| vec![0xff; length]));
    for options in [GUARDED, BUILT] {
        let mut run = run(options);
        for case in &cases {
            run.put(64, case);
            run.call("write_output", &[64, case.len() as i32]).unwrap();
            let output = run.output();
            if plain(case) {
                assert_eq!(output.as_bytes(), case);
            } else {
                assert_eq!(Output::read(&output), Output::Bytes(case.clone()), "{case:?}");
            }
        }
    }
}

#[test]
fn pointers_of_input_and_output_are_checked() {
    for (at, length) in [(SIZE - 4, 5), (-1, 2), (64, -1), (SIZE, 1)] {
        refused(|_| {}, "write_output", &[at, length], "bad-pointer", "outside guest memory");
    }
    let with_input = |run: &mut Run| run.worker().input = vec![7; 100];
    for (at, length) in [(SIZE - 4, 5), (-1, 2), (SIZE - 99, i32::MAX)] {
        refused(with_input, "read_input", &[at, length], "bad-pointer", "outside guest memory");
    }
    for options in [GUARDED, BUILT] {
        let mut run = run(options);
        with_input(&mut run);
        assert_eq!(run.call("read_input", &[-1, 0]), Ok(100));
        assert_eq!(run.call("read_input", &[SIZE - 100, i32::MAX]), Ok(100));
        assert_eq!(run.get(SIZE as usize - 100, 100), [7; 100]);
        run.call("write_output", &[SIZE, 0]).unwrap();
    }
}

#[test]
fn an_output_may_be_the_last_bytes_of_memory() {
    let wat = r#"(module
      (func (export "out") (import "env" "__faasm_write_output") (param i32 i32))
      (memory (export "memory") 1)
      (func (export "_start")))"#;
    let mut run = Run::new(&Engine::default(), &link(wat, BUILT), Worker::default()).unwrap();
    for byte in [b'a', 0xff] {
        for length in [1, 3, 65536, 65536 - 4] {
            run.put(65536 - length, &vec![byte; length]);
            run.call("out", &[65536 - length as i32, length as i32]).unwrap();
        }
    }
}

#[test]
fn a_return_value_goes_with_its_output() {
    for (call, value) in [("proc_exit", 122), ("proc_exit", i32::MIN), ("exit", -1)] {
        let mut run = run(BUILT);
        run.put(64, b"text");
        run.call("write_output", &[64, 4]).unwrap();
        // What is output later does not change what was.
        run.put(64, b"\xff\xff");
        assert_eq!(run.call(call, &[value]), Err(End::Exit(0)));
        let output = run.output();
        assert!(output.starts_with(RESULT));
        assert_eq!(Output::read(&output), Output::Result { value, output: b"text".to_vec() });
    }
    let mut ended = run(BUILT);
    assert_eq!(ended.call("proc_exit", &[0]), Err(End::Exit(0)));
    assert_eq!(ended.worker().output, None);
    let mut guarded = run(GUARDED);
    assert_eq!(guarded.call("proc_exit", &[5]), Err(End::Exit(5)));
    assert_eq!(guarded.call("exit", &[5]), Err(End::Exit(5)));
}

#[test]
fn the_result_of_main_is_a_return_value() {
    let wat = text("").replace(
        "(func (export \"_start\"))",
        r#"
      (func (export "main") (param i32 i32) (result i32)
        (call $write_output (i32.const 64) (i32.const 1)) (local.get 0))"#,
    );
    let mut run = Run::new(&Engine::default(), &link(&wat, BUILT), Worker::default()).unwrap();
    assert_eq!(run.call("main", &[3, 0]), Ok(0));
    assert_eq!(Output::read(&run.output()), Output::Result { value: 3, output: vec![0] });
    assert_eq!(run.call("main", &[0, 0]), Ok(0));
    assert_eq!(run.output(), "\0");
    // Of nothing that has to be wrapped the result is carried, too.
    let alone = r#"(module (memory (export "memory") 1) (func (export "main") (result i32) (i32.const 4)))"#;
    let mut run = Run::new(&Engine::default(), &link(alone, BUILT), Worker::default()).unwrap();
    assert_eq!(run.call("main", &[]), Ok(0));
    assert_eq!(Output::read(&run.output()), Output::Result { value: 4, output: vec![] });
}

/// A run that was chained by pointer, as the one that chained it says.
fn entered(pointer: u32, input: &[u8]) -> (Run, Result<i32, End>) {
    let mut outer = run(BUILT);
    outer.put(64, input);
    let id = outer.call("chain_ptr", &[pointer as i32, 64, input.len() as i32]).unwrap();
    assert!(id > 0);
    let (entry, sent) = outer.worker().chained.pop().unwrap();
    assert_eq!(sent[..8], *POINTER_MAGIC);
    assert_eq!(sent[POINTER_HEADER_BYTES..], *input);
    let mut inner = run(BUILT);
    inner.worker().input = sent;
    let ended = inner.call_pointer(entry.parse().unwrap());
    (inner, ended)
}

#[test]
fn a_chained_pointer_carries_what_it_returns() {
    let (mut run, ended) = entered(2, b"some input");
    assert_eq!(ended, Ok(0));
    assert_eq!(
        Output::read(&run.output()),
        Output::Result { value: -7, output: b"some input".to_vec() }
    );
    assert_eq!(run.call("read_input", &[0, 0]), Ok(10));

    let (mut run, ended) = entered(1, b"");
    assert_eq!((ended, run.worker().output.clone()), (Ok(0), None));

    for (input, value) in [("21", 42), (" -4\n", -8), ("+1\0", 2), ("2147483647", -2)] {
        let (mut run, ended) = entered(3, input.as_bytes());
        assert_eq!(ended, Ok(0));
        assert_eq!(Output::read(&run.output()), Output::Result { value, output: vec![] });
    }
    for input in ["", "x", "-", "2147483648", "1 2", &"1".repeat(65)] {
        let (mut run, ended) = entered(3, input.as_bytes());
        faulted(&mut run, ended, "operation-failed", "decimal");
    }
    let (mut run, ended) = entered(5, b"");
    assert_eq!(ended, Err(End::Exit(0)));
    assert_eq!(Output::read(&run.output()), Output::Result { value: 9, output: vec![0; 3] });
    let (_, ended) = entered(6, b"");
    assert_eq!(ended, Err(End::Trap));
}

#[test]
fn a_pointer_that_comes_without_its_header_is_a_fault() {
    let built = link(&text(""), BUILT);
    let entry = built_for(&built).unwrap().pointer_entry.unwrap();
    assert_eq!(entry, 8);
    for input in
        [&b""[..], b"\x02faasmp;\x08\0\0\0", b"\x02faasmp;\0\0\0\0", b"\x02faasmX;\x01\0\0\0"]
    {
        let mut run = run(BUILT);
        run.worker().input = input.to_vec();
        let ended = run.call_pointer(entry);
        faulted(&mut run, ended, "bad-pointer", "header");
    }
}

/// Awaits with the output, which it gives.
fn awaited(run: &mut Run, id: i32) -> (i32, Vec<u8>) {
    let value = run.call("await_call_output", &[id, 16, 20]).unwrap();
    let (at, length) = (run.word(16), run.word(20));
    (value, run.get(at as usize, length as usize))
}

#[test]
fn pointers_that_cannot_be_chained_are_failed_calls() {
    for options in [GUARDED, BUILT] {
        let mut run = run(options);
        for pointer in [0, 4, 7, 8, 9, 100_000, -1] {
            let id = run.call("chain_ptr", &[pointer, 64, 0]).unwrap();
            assert!(run.worker().calls.is_empty());
            let (value, reason) = awaited(&mut run, id);
            let reason = String::from_utf8(reason).unwrap();
            assert!(value == 1 && reason.contains("cannot be chained"), "{pointer}: {reason}");
            assert_eq!(awaited(&mut run, id), (1, vec![]));
            let id = run.call("chain_ptr", &[pointer, 64, 0]).unwrap();
            assert_eq!(run.call("await_call", &[id]), Ok(1));
        }
    }
    for (at, length) in [(SIZE, 1), (-1, 2), (64, -1)] {
        refused(|_| {}, "chain_ptr", &[1, at, length], "bad-pointer", "outside guest memory");
    }
}

#[test]
fn names_are_checked() {
    let mut guarded = run(GUARDED);
    guarded.worker().functions.insert("there".into());
    guarded.worker().global.insert(function_key("there"), b"1".to_vec());
    for name in ["gone", "", ".hidden", "a/b", "ä", &"n".repeat(129)] {
        guarded.put(1024, name.as_bytes());
        guarded.put(1024 + name.len(), b"\0");
        let id = guarded.call("chain_name", &[1024, 64, 3]).unwrap();
        let (value, reason) = awaited(&mut guarded, id);
        let reason = String::from_utf8(reason).unwrap();
        assert!(value == 1 && reason.contains(name), "{reason}");
        assert!(reason.contains("upload") || reason.contains("cannot name"), "{reason}");
    }
    guarded.put(8, b"there\0");
    guarded.put(64, b"in");
    let id = guarded.call("chain_function", &[8, 64, 2]).unwrap();
    assert_eq!(awaited(&mut guarded, id), (0, b"in".to_vec()));
    let id = guarded.call("chain_name", &[8, -1, 0]).unwrap_err();
    assert_eq!(id, End::Trap);
    let id = guarded.call("chain_name", &[8, SIZE, 0]).unwrap();
    assert_eq!(guarded.call("await_call", &[id]), Ok(0));
    refused(|_| {}, "chain_name", &[SIZE, 64, 0], "bad-pointer", "outside guest memory");
    refused(|run| run.put(8, b"\xff\0"), "chain_name", &[8, 64, 0], "bad-pointer", "not UTF-8");
    // Where nobody marks functions, the host is asked.
    let mut built = run(BUILT);
    built.put(8, b"gone\0");
    assert!(matches!(built.call("chain_name", &[8, 64, 0]), Err(End::Death(_))));
}

#[test]
fn calls_that_were_not_started_are_not_awaited() {
    for options in [GUARDED, BUILT] {
        let mut run = run(options);
        for id in [0, 7, -1, i32::MIN] {
            assert_eq!(run.call("await_call", &[id]), Ok(1));
            assert_eq!(awaited(&mut run, id), (1, vec![]));
        }
        // More than its first list has room for, and in any order.
        let ids: Vec<i32> =
            (0..9000).map(|_| run.call("chain_ptr", &[1, 64, 0]).unwrap()).collect();
        for id in ids.iter().step_by(100).chain(ids.iter().rev().step_by(999).skip(1)) {
            let _ = run.call("await_call", &[*id]).unwrap();
        }
        assert_eq!(run.call("await_call", &[ids[0]]), Ok(1));
        let before = run.worker().calls.len();
        assert_eq!(run.call("await_call", &[ids[8101]]), Ok(0));
        assert_eq!(run.worker().calls.len(), before + 1);
    }
    for (at, length) in [(SIZE - 3, 64), (64, SIZE - 3), (-1, 64)] {
        refused(
            |_| {},
            "await_call_output",
            &[1, at, length],
            "bad-pointer",
            "outside guest memory",
        );
    }
}

#[test]
fn awaited_results_and_faults_are_decoded() {
    let long: Vec<u8> = (0..200_000_u32).map(|n| (n * 7) as u8).collect();
    let encoded = |bytes: &[u8]| STANDARD.encode(bytes);
    type Result = (i32, Vec<u8>);
    let cases: Vec<(i32, Vec<u8>, Result)> = vec![
        (0, b"text".to_vec(), (0, b"text".to_vec())),
        (7, b"text".to_vec(), (7, b"text".to_vec())),
        (0, format!("{BYTES}{}", encoded(&long)).into(), (0, long.clone())),
        (0, format!("{RESULT}122;base64,{}", encoded(b"\xff\0")).into(), (122, b"\xff\0".to_vec())),
        (0, format!("{RESULT}-2147483648;base64,").into(), (i32::MIN, vec![])),
        (0, format!("{FAULT}state;key `;`").into(), (1, b"key `;`".to_vec())),
        // Whose encoding is broken is what it is.
        (0, b"\x02".to_vec(), (0, b"\x02".to_vec())),
        (0, format!("{BYTES}A").into(), (0, format!("{BYTES}A").into())),
        (0, format!("{BYTES}A=A=").into(), (0, format!("{BYTES}A=A=").into())),
        (0, format!("{RESULT};base64,").into(), (0, format!("{RESULT};base64,").into())),
        (
            0,
            format!("{RESULT}2147483648;base64,").into(),
            (0, format!("{RESULT}2147483648;base64,").into()),
        ),
        (
            0,
            format!("{RESULT}99999999999;base64,").into(),
            (0, format!("{RESULT}99999999999;base64,").into()),
        ),
        (0, format!("{RESULT}1;base64").into(), (0, format!("{RESULT}1;base64").into())),
        (0, format!("{FAULT}state").into(), (0, format!("{FAULT}state").into())),
    ];
    let mut run = run(BUILT);
    for (value, output, expected) in cases {
        for only_value in [false, true] {
            let id = run.call("chain_ptr", &[1, 64, 0]).unwrap();
            run.worker().results.insert(id, (value, output.clone()));
            if only_value {
                assert_eq!(run.call("await_call", &[id]), Ok(expected.0));
            } else {
                assert_eq!(awaited(&mut run, id), expected, "{}", output.escape_ascii());
            }
        }
    }
}

#[test]
fn a_guard_over_what_was_built_lets_its_results_through() {
    let mut run = run_both();
    run.put(64, b"\xff");
    run.call("write_output", &[64, 1]).unwrap();
    assert_eq!(Output::read(&run.output()), Output::Bytes(vec![0xff]));
    assert_eq!(run.call("proc_exit", &[3]), Err(End::Exit(0)));
    assert_eq!(Output::read(&run.output()), Output::Result { value: 3, output: vec![0xff] });
    let ended = run.call("write_output", &[-1, 2]);
    faulted(&mut run, ended, "bad-pointer", "outside");
    run.put(64, b"gone\0");
    run.worker().calls.clear();
    let id = run.call("chain_name", &[64, 0, 0]).unwrap();
    assert_eq!(run.call("await_call", &[id]), Ok(1));
    assert!(!run.worker().calls.contains(&"chain_name"));
    let id = run.call("chain_ptr", &[2, 64, 0]).unwrap();
    assert_eq!(run.call("await_call", &[id]), Ok(0));
}

//! Whatever a function gives to its host calls, in whatever order: no worker ends.

use crate::guests::{BUILT, CALLS, GUARDED, SIZE, run, run_both};
use crate::host::{End, Run, Worker};
use faasm_asyncify::faasm::Options;
use faasm_bridge::faasm::{Output, function_key};

/// Xorshift.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn of(&mut self, list: &[i32]) -> i32 {
        list[self.below(list.len() as u64) as usize]
    }
}

/// Addresses of strings, and strings.
const STRINGS: &[(usize, &[u8])] = &[
    (8, b"a\0"),
    (16, b"b\0"),
    (24, b"there\0"),
    (40, b".faasm.cleared.a\0"),
    (64, b".faasm.list.00000000.a\0"),
    (96, b".faasm.function.there\0"),
    (128, b"\xff\0"),
    (136, b"\0"),
    (140, b".faasm.cleared.b\0"),
];

fn argument(random: &mut Random, size: i32) -> i32 {
    match random.below(8) {
        0..=2 => STRINGS[random.below(STRINGS.len() as u64) as usize].0 as i32,
        3 => random.of(&[0, 1, 2, 3, 4, 5, 8, 1024, 16384, 16385, 65536]),
        4 => size.wrapping_add(random.of(&[-65536, -16, -9, -8, -4, -3, -2, -1, 0, 1])),
        5 => random.of(&[-1, -2, -8, i32::MIN, i32::MAX, 0x7fff_fff0, 1001, 1002, 1003]),
        6 => random.below(64) as i32,
        _ => random.next() as i32,
    }
}

fn worker() -> Worker {
    let mut worker = Worker { input: b"some input".to_vec(), ..Worker::default() };
    worker.functions.insert("there".into());
    worker.global.insert(function_key("there"), b"1".to_vec());
    worker.global.insert("b".into(), b"value".to_vec());
    worker
}

fn started(options: Options) -> Run {
    let mut run = run(options);
    *run.worker() = worker();
    run
}

/// Calls at random; a call that ends the run by a fault, or traps, is no end of the instance here.
fn attack(mut run: Run, random: &mut Random, calls: usize) -> usize {
    let mut went = 0;
    for _ in 0..calls {
        let size = run.memory().data_size(&run.store) as i32;
        if random.below(4) == 0 {
            // Bytes of the guest anywhere, also where the support has its own.
            let (at, byte) = (random.below(size as u64 - 8) as usize, random.next() as u8);
            run.put(at, &[byte; 8]);
        }
        if random.below(8) == 0 {
            for (at, string) in STRINGS {
                run.put(*at, string);
            }
        }
        let (name, _, params, _) = CALLS[random.below(CALLS.len() as u64) as usize];
        let arguments: Vec<i32> = (0..params).map(|_| argument(random, size)).collect();
        match run.call(name, &arguments) {
            // One that writes over the list of its calls waits for ever, as one with an endless loop does.
            Err(End::Death(why)) if why.contains("awaited for ever") => {}
            Err(End::Death(why)) => panic!("{name} {arguments:?} in {size}: {why}"),
            Ok(_) => went += 1,
            Err(_) => {}
        }
        if let Some(output) = &run.worker().output {
            let _ = Output::read(std::str::from_utf8(output).unwrap());
        }
        if size > 4 << 20 {
            break;
        }
    }
    went
}

#[test]
fn no_argument_of_a_guarded_function_ends_a_worker() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut went = 0;
    for _ in 0..60 {
        went += attack(started(GUARDED), &mut random, 300);
    }
    // They are not all refused.
    assert!(went > 3_000, "{went}");
}

#[test]
fn no_argument_of_a_function_that_was_built_and_guarded_ends_a_worker() {
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    for _ in 0..8 {
        let mut run = run_both();
        *run.worker() = worker();
        attack(run, &mut random, 300);
    }
}

#[test]
fn what_was_built_passes_no_bad_pointer() {
    let mut random = Random(0x0123_4567_89ab_cdef);
    let mut pointers = 0;
    for _ in 0..200 {
        let mut run = started(BUILT);
        for (at, string) in STRINGS {
            run.put(*at, string);
        }
        for _ in 0..100 {
            let (name, _, params, _) = CALLS[random.below(CALLS.len() as u64) as usize];
            let arguments: Vec<i32> = (0..params).map(|_| argument(&mut random, SIZE)).collect();
            match run.call(name, &arguments) {
                // It trusts names, and that lists and values have different keys.
                Err(End::Death(why))
                    if why.contains("cannot be loaded") || why.contains("is a ") => {}
                Err(End::Death(why)) => panic!("{name} {arguments:?}: {why}"),
                Err(End::Exit(_)) => {
                    pointers += usize::from(run.output().contains("bad-pointer"));
                    break;
                }
                _ => {}
            }
            if run.memory().data_size(&run.store) > 4 << 20 {
                break;
            }
        }
    }
    assert!(pointers > 30, "{pointers}");
}

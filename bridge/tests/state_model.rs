//! Random sequences of state calls, on two hosts with two runs each, against a model of plain arrays.
//!
//! One host stands for the page, the other for the cluster: each has a local tier of its own, all share the global
//! tier. The model keeps a byte and two flags for every position and applies the rules position by position. After
//! every call the results of the calls, the bytes that guests read or have mapped, and the global tier must agree.

#![allow(
    clippy::unwrap_used,
    clippy::needless_range_loop,
    reason = "a model goes position by position"
)]

use faasm_bridge::guest::{
    Begin, CallId, CallResult, Clock, Completion, Fault, Finish, Guest, GuestMemory, Host,
    Invocation, ModuleFacts, Operation, Stream, Target,
};
use faasm_bridge::host::HostCall as C;
use faasm_bridge::state::{Chunk, LocalTier};
use std::collections::BTreeMap;

const MODULE: ModuleFacts = ModuleFacts { has_malloc: true, is_break_safe: true, errno: None };
const SEQUENCES: u64 = 100_000;
const CALLS: usize = 40;
/// Sizes of the values, by key; the last one is a mask for the one before it.
const SIZES: [usize; 4] = [1, 5, 16, 16];
const MASKED: usize = 2;
const MASK: usize = 3;
const NAMES: [&[u8]; 4] = [b"a\0", b"b\0", b"c\0", b"d\0"];

/// Guest addresses.
const NAME: u32 = 0;
const MASK_NAME: u32 = 8;
const BUFFER: u32 = 64;
const HEAP: u32 = 512;

struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % bound
    }
    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.below(4) as u8).collect()
    }
}

// ---- the implementation ---------------------------------------------------------------------------------------------

struct Machine {
    memory: Vec<u8>,
    heap: u32,
}

impl GuestMemory for Machine {
    fn size(&self) -> u64 {
        self.memory.len() as u64
    }
    fn read_into(&self, pointer: u32, target: &mut [u8]) {
        target.copy_from_slice(&self.memory[pointer as usize..pointer as usize + target.len()]);
    }
    fn write_from(&mut self, pointer: u32, source: &[u8]) {
        self.memory[pointer as usize..pointer as usize + source.len()].copy_from_slice(source);
    }
    fn grow(&mut self, _pages: u32) -> Option<u32> {
        None
    }
}

impl Host for Machine {
    fn now(&self, _: Clock) -> u64 {
        0
    }
    fn random(&mut self, _: &mut [u8]) {}
    fn start_call(&mut self, _: CallId, _: Target, _: Vec<u8>) {}
    fn take_finished(&mut self, _: CallId) -> Option<CallResult> {
        None
    }
    fn print(&mut self, _: Stream, _: &[u8]) {}
    fn backtrace(&mut self) -> String {
        String::new()
    }
}

struct Run {
    guest: Guest,
    machine: Machine,
    /// Address at which each value is mapped.
    mapped: [Option<u32>; SIZES.len()],
}

#[derive(Default)]
struct Global {
    values: BTreeMap<String, Vec<u8>>,
    lists: BTreeMap<String, Vec<Vec<u8>>>,
}

impl Global {
    fn write(&mut self, key: &str, size: u64, chunks: &[Chunk]) {
        let value = self.values.entry(key.to_owned()).or_insert_with(|| vec![0; size as usize]);
        for chunk in chunks {
            let range = chunk.range();
            value[range.start as usize..range.end as usize].copy_from_slice(&chunk.bytes);
        }
    }
    fn read(&self, key: &str, offset: u64, length: Option<u64>) -> Completion {
        let value = self.values.get(key);
        let bytes = value.map_or(&[][..], |value| {
            let end = length.map_or(value.len(), |length| (offset + length) as usize);
            &value[offset as usize..end.min(value.len())]
        });
        let chunk = Chunk { offset, bytes: bytes.to_vec().into() };
        Completion::State { size: value.map(|value| value.len() as u64), chunk }
    }
    fn perform(&mut self, operation: Operation) -> Completion {
        match operation {
            Operation::ReadState { key, offset, length } => self.read(&key, offset, length),
            Operation::WriteState { key, size, chunks } => {
                self.write(&key, size, &chunks);
                Completion::Done
            }
            Operation::ExchangeState { key, size, chunks } => {
                self.write(&key, size, &chunks);
                self.read(&key, 0, None)
            }
            Operation::AppendState { key, bytes } => {
                self.lists.entry(key).or_default().push(bytes);
                Completion::Done
            }
            Operation::ReadAppended { key, count } => {
                let list = self.lists.get(&key).map_or(&[][..], Vec::as_slice);
                Completion::Bytes(list.iter().take(count as usize).flatten().copied().collect())
            }
            Operation::ClearAppended { key } => {
                self.lists.remove(&key);
                Completion::Done
            }
            other => panic!("{other:?} is no state operation"),
        }
    }
}

impl Run {
    fn new() -> Self {
        let machine = Machine { memory: vec![0; 4096], heap: HEAP };
        Self {
            guest: Guest::new(Invocation::default(), MODULE),
            machine,
            mapped: [None; SIZES.len()],
        }
    }

    fn call(
        &mut self,
        call: C,
        args: &[u64],
        tier: &mut LocalTier,
        global: &mut Global,
    ) -> Result<i32, Fault> {
        if !faasm_bridge::guest::may_suspend(call) {
            return self.guest.call(call, args, &mut self.machine, tier);
        }
        if let Begin::Wait(operation) = self.guest.begin(call, args, &mut self.machine, tier)? {
            let completion = global.perform(operation);
            self.guest.complete(completion)?;
        }
        loop {
            match self.guest.finish(call, &mut self.machine, tier)? {
                Finish::Return(value) => return Ok(value),
                Finish::Allocate { bytes } => {
                    self.guest.allocated(self.machine.heap)?;
                    self.machine.heap += bytes.max(1);
                }
            }
        }
    }
}

// ---- the model ------------------------------------------------------------------------------------------------------

/// A host's copy, position by position.
#[derive(Clone)]
struct Copy {
    bytes: Vec<u8>,
    present: Vec<bool>,
    dirty: Vec<bool>,
}

impl Copy {
    fn new(size: usize) -> Self {
        Self { bytes: vec![0; size], present: vec![false; size], dirty: vec![false; size] }
    }
}

#[derive(Default, Clone)]
struct ModelHost {
    copies: [Option<Copy>; SIZES.len()],
}

/// A run's bytes of a mapped value, and the bytes as of the last synchronisation with the host.
type ModelMapping = Option<(Vec<u8>, Vec<u8>)>;

struct Model {
    global: [Option<Vec<u8>>; SIZES.len()],
    lists: [Vec<Vec<u8>>; SIZES.len()],
    hosts: [ModelHost; 2],
    mappings: [[ModelMapping; SIZES.len()]; 4],
}

impl Model {
    fn new() -> Self {
        Self {
            global: Default::default(),
            lists: Default::default(),
            hosts: Default::default(),
            mappings: Default::default(),
        }
    }

    fn copy(&mut self, run: usize, key: usize) -> &mut Copy {
        self.hosts[run / 2].copies[key].get_or_insert_with(|| Copy::new(SIZES[key]))
    }

    fn absorb(&mut self, run: usize) {
        for key in 0..SIZES.len() {
            let Some((seen, agreed)) = self.mappings[run][key].clone() else { continue };
            let copy = self.copy(run, key);
            for at in 0..seen.len() {
                if seen[at] != agreed[at] {
                    copy.bytes[at] = seen[at];
                    copy.present[at] = true;
                }
            }
            self.mappings[run][key] = Some((seen.clone(), seen));
        }
    }

    fn refresh(&mut self, run: usize) {
        for key in 0..SIZES.len() {
            if self.mappings[run][key].is_some() {
                let bytes = self.copy(run, key).bytes.clone();
                self.mappings[run][key] = Some((bytes.clone(), bytes));
            }
        }
    }

    /// Pulls the missing bytes of a range from the global tier; they are zeros if that has no value.
    fn fill(&mut self, run: usize, key: usize, range: std::ops::Range<usize>) {
        let global = self.global[key].clone();
        let copy = self.copy(run, key);
        // One request covers everything from the first missing byte to the last; without a global value the whole local
        // one becomes present, as zeros.
        let Some(first) = range.clone().find(|at| !copy.present[*at]) else { return };
        let last = range.rev().find(|at| !copy.present[*at]).unwrap_or(first);
        let filled = if global.is_some() { first..last + 1 } else { 0..copy.bytes.len() };
        for at in filled {
            if !copy.present[at] {
                copy.present[at] = true;
                copy.bytes[at] = global.as_ref().map_or(0, |global| global[at]);
            }
        }
    }

    fn push(&mut self, run: usize, key: usize, which: impl Fn(&Copy, usize) -> bool, back: bool) {
        let mut global = self.global[key].clone().unwrap_or_else(|| vec![0; SIZES[key]]);
        let copy = self.copy(run, key);
        for at in 0..global.len() {
            if which(copy, at) {
                global[at] = copy.bytes[at];
                copy.dirty[at] = false;
            }
        }
        if back {
            for at in 0..global.len() {
                if !copy.dirty[at] {
                    copy.bytes[at] = global[at];
                }
                copy.present[at] = true;
            }
        }
        self.global[key] = Some(global);
    }
}

// ---- both, side by side ---------------------------------------------------------------------------------------------

struct Bench {
    runs: [Run; 4],
    tiers: [LocalTier; 2],
    global: Global,
    model: Model,
}

impl Bench {
    fn call(&mut self, run: usize, call: C, args: &[u64]) -> Result<i32, Fault> {
        let tier = &mut self.tiers[run / 2];
        self.runs[run].call(call, args, tier, &mut self.global)
    }

    fn put(&mut self, run: usize, at: u32, bytes: &[u8]) {
        self.runs[run].machine.write_from(at, bytes);
    }

    fn got(&self, run: usize, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.runs[run].machine.read_into(BUFFER, &mut bytes);
        bytes
    }

    /// Performs one random call on both; returns its description for failure messages.
    fn step(&mut self, random: &mut Random) -> String {
        let (run, key) = (random.below(4), random.below(SIZES.len()));
        let size = SIZES[key];
        let (name, size64) = (u64::from(NAME), size as u64);
        let buffer = u64::from(BUFFER);
        self.put(run, NAME, NAMES[key]);
        let start = random.below(size + 1);
        let end = start + random.below(size - start + 1);
        let what = random.below(15);
        let said = format!("run {run} key {key} {start}..{end} call {what}");
        if what != 14 {
            self.model.absorb(run);
        }
        match what {
            0 => {
                let bytes = random.bytes(size);
                self.put(run, BUFFER, &bytes);
                assert_eq!(self.call(run, C::WriteState, &[name, buffer, size64]), Ok(0), "{said}");
                let copy = self.model.copy(run, key);
                *copy = Copy { bytes, present: vec![true; size], dirty: vec![true; size] };
            }
            1 => {
                let bytes = random.bytes(end - start);
                self.put(run, BUFFER, &bytes);
                let args = [name, size64, start as u64, buffer, bytes.len() as u64];
                assert_eq!(self.call(run, C::WriteStateOffset, &args), Ok(0), "{said}");
                let copy = self.model.copy(run, key);
                copy.bytes[start..end].copy_from_slice(&bytes);
                copy.present[start..end].fill(true);
                copy.dirty[start..end].fill(true);
            }
            2 => {
                let args = [name, buffer, size64];
                let value = self.call(run, C::ReadState, &args).unwrap();
                let host = &self.model.hosts[run / 2];
                if host.copies[key].is_none() && self.model.global[key].is_none() {
                    assert_eq!(value, 0, "{said}");
                } else {
                    self.model.fill(run, key, 0..size);
                    let bytes = self.model.copy(run, key).bytes.clone();
                    assert_eq!((value as usize, self.got(run, size)), (size, bytes), "{said}");
                }
            }
            3 => {
                let args = [name, buffer, 0];
                let there = self.model.hosts[run / 2].copies[key].is_some()
                    || self.model.global[key].is_some();
                let expected = if there { size as i32 } else { 0 };
                assert_eq!(self.call(run, C::ReadState, &args), Ok(expected), "{said}");
            }
            4 => {
                let args = [name, size64, start as u64, buffer, (end - start) as u64];
                self.call(run, C::ReadStateOffset, &args).unwrap();
                self.model.fill(run, key, start..end);
                let bytes = self.model.copy(run, key).bytes[start..end].to_vec();
                assert_eq!(self.got(run, end - start), bytes, "{said}");
            }
            5 => {
                assert_eq!(self.call(run, C::PushState, &[name]), Ok(0), "{said}");
                if self.is_dirty(run, key) {
                    self.model.push(run, key, |copy, at| copy.present[at], false);
                    self.model.copy(run, key).dirty.fill(false);
                }
            }
            6 => {
                assert_eq!(self.call(run, C::PushStatePartial, &[name]), Ok(0), "{said}");
                if self.is_dirty(run, key) {
                    self.model.push(run, key, |copy, at| copy.dirty[at], true);
                }
            }
            // A fault ends the run, which has no mappings afterwards.
            7 if !self.push_mask(run, &said) => return said,
            7 => {}
            8 => {
                assert_eq!(self.call(run, C::PullState, &[name, size64]), Ok(0), "{said}");
                let global = self.model.global[key].clone();
                let known = self.model.hosts[run / 2].copies[key].is_some();
                if let Some(bytes) = global.or_else(|| (!known).then(|| vec![0; size])) {
                    let (present, dirty) = (vec![true; size], vec![false; size]);
                    *self.model.copy(run, key) = Copy { bytes, present, dirty };
                }
            }
            9 => {
                let args = [name, size64, start as u64, (end - start) as u64];
                assert_eq!(self.call(run, C::FlagStateOffsetDirty, &args), Ok(0), "{said}");
                let copy = self.model.copy(run, key);
                (start..end).for_each(|at| copy.dirty[at] |= copy.present[at]);
            }
            10 => {
                assert_eq!(self.call(run, C::FlagStateDirty, &[name, size64]), Ok(0), "{said}");
                let copy = self.model.copy(run, key);
                copy.dirty.clone_from(&copy.present);
            }
            11 => {
                let bytes = random.bytes(end - start);
                self.put(run, BUFFER, &bytes);
                let args = [name, buffer, bytes.len() as u64];
                assert_eq!(self.call(run, C::AppendState, &args), Ok(0), "{said}");
                self.model.lists[key].push(bytes);
            }
            12 => {
                let expected: Vec<u8> =
                    self.model.lists[key].iter().take(start).flatten().copied().collect();
                let args = [name, buffer, 400, start as u64];
                let count = self.call(run, C::ReadAppendedState, &args).unwrap() as usize;
                assert_eq!(self.got(run, count), expected, "{said}");
                if random.below(4) == 0 {
                    assert_eq!(self.call(run, C::ClearAppendedState, &[name]), Ok(0), "{said}");
                    self.model.lists[key].clear();
                }
            }
            13 => {
                let pointer = self.call(run, C::ReadStatePtr, &[name, size64]).unwrap() as u32;
                let before = self.runs[run].mapped[key].replace(pointer);
                assert!(before.is_none_or(|before| before == pointer), "{said}: it moved");
                self.model.fill(run, key, 0..size);
                self.model.mappings[run][key].get_or_insert_default();
            }
            _ => {
                // A write through the pointer, without a host call.
                if let (Some(pointer), Some((seen, _))) =
                    (self.runs[run].mapped[key], &mut self.model.mappings[run][key])
                {
                    let bytes = random.bytes(end - start);
                    seen[start..end].copy_from_slice(&bytes);
                    self.runs[run].machine.write_from(pointer + start as u32, &bytes);
                }
                return said;
            }
        }
        self.model.refresh(run);
        said
    }

    fn is_dirty(&mut self, run: usize, key: usize) -> bool {
        let copy = &self.model.hosts[run / 2].copies[key];
        copy.as_ref().is_some_and(|copy| copy.dirty.contains(&true))
    }

    /// Returns `false` if the push is refused.
    fn push_mask(&mut self, run: usize, said: &str) -> bool {
        self.put(run, NAME, NAMES[MASKED]);
        self.put(run, MASK_NAME, NAMES[MASK]);
        let result = self.call(run, C::PushStatePartialMask, &[NAME.into(), MASK_NAME.into()]);
        let copies = &self.model.hosts[run / 2].copies;
        let mask = copies[MASK].clone().filter(|mask| mask.present.iter().all(|here| *here));
        let (Some(mask), Some(copy)) = (mask, &copies[MASKED]) else {
            assert_eq!(result.unwrap_err().code(), "state", "{said}");
            return false;
        };
        assert_eq!(result, Ok(0), "{said}");
        let masked = |copy: &Copy, at: usize| mask.bytes[at] != 0 && copy.present[at];
        if (0..SIZES[MASKED]).any(|at| masked(copy, at)) {
            self.model.push(run, MASKED, masked, true);
        }
        true
    }

    /// Checks that the global tier and all mappings equal the model's.
    fn compare(&self, said: &str) {
        for (key, name) in NAMES.iter().enumerate() {
            let name = std::str::from_utf8(&name[..1]).unwrap();
            assert_eq!(self.global.values.get(name), self.model.global[key].as_ref(), "{said}");
            for (run, mappings) in self.runs.iter().zip(&self.model.mappings) {
                if let (Some(pointer), Some((seen, _))) = (run.mapped[key], &mappings[key]) {
                    let at = pointer as usize;
                    assert_eq!(&run.machine.memory[at..at + seen.len()], seen, "{said}");
                }
            }
        }
    }
}

#[test]
fn random_sequences_agree_with_the_model() {
    for seed in 1..=SEQUENCES {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let mut bench = Bench {
            runs: std::array::from_fn(|_| Run::new()),
            tiers: Default::default(),
            global: Global::default(),
            model: Model::new(),
        };
        let mut history = Vec::new();
        for _ in 0..CALLS {
            history.push(bench.step(&mut random));
            bench.compare(&format!("seed {seed}: {history:#?}"));
        }
    }
}

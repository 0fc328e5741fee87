//! Support for the kernel's tests: a host made of plain vectors, and one run on it.

use super::*;
use std::collections::BTreeMap;

#[derive(Default)]
pub(super) struct TestHost {
    pub(super) memory: Vec<u8>,
    pub(super) started: Vec<(CallId, Target, Vec<u8>)>,
    pub(super) finished: BTreeMap<CallId, CallResult>,
    pub(super) printed: Vec<u8>,
    pub(super) now: u64,
    /// Offset of the wall clock from the monotonic one.
    pub(super) wall: i64,
}

impl GuestMemory for TestHost {
    fn size(&self) -> u64 {
        self.memory.len() as u64
    }
    fn read_into(&self, pointer: u32, target: &mut [u8]) {
        let at = pointer as usize;
        target.copy_from_slice(&self.memory[at..at + target.len()]);
    }
    fn write_from(&mut self, pointer: u32, source: &[u8]) {
        let at = pointer as usize;
        self.memory[at..at + source.len()].copy_from_slice(source);
    }
    fn grow(&mut self, pages: u32) -> Option<u32> {
        let before = self.memory.len() / 65536;
        self.memory.resize(self.memory.len() + pages as usize * 65536, 0);
        Some(before as u32)
    }
}

impl Host for TestHost {
    fn backtrace(&mut self) -> String {
        "inner\nouter\n".into()
    }
    fn now(&self, clock: Clock) -> u64 {
        self.now.saturating_add_signed(if clock == Clock::Realtime { self.wall } else { 0 })
    }
    fn random(&mut self, target: &mut [u8]) {
        target.fill(7);
    }
    fn start_call(&mut self, id: CallId, target: Target, input: Vec<u8>) {
        self.started.push((id, target, input));
    }
    fn take_finished(&mut self, id: CallId) -> Option<CallResult> {
        self.finished.remove(&id)
    }
    fn print(&mut self, _stream: Stream, bytes: &[u8]) {
        self.printed.extend(bytes);
    }
}

pub(super) struct Run {
    pub(super) guest: Guest,
    pub(super) host: TestHost,
    pub(super) tier: LocalTier,
}

impl Run {
    pub(super) fn new(input: &[u8]) -> Self {
        let invocation = Invocation {
            function: "f".into(),
            input: Bytes::copy_from_slice(input),
            index: 3,
            args: vec!["x".into()],
            env: vec![("A".into(), "b".into())],
        };
        let host = TestHost { memory: vec![0; 65536], ..TestHost::default() };
        Self {
            guest: Guest::new(
                invocation,
                ModuleFacts { has_malloc: true, is_break_safe: true, errno: None },
            ),
            host,
            tier: LocalTier::new(),
        }
    }

    pub(super) fn put(&mut self, at: u32, bytes: &[u8]) -> u64 {
        self.host.write_from(at, bytes);
        u64::from(at)
    }

    pub(super) fn call(&mut self, call: HostCall, args: &[u64]) -> Result<i32, Fault> {
        self.guest.call(call, args, &mut self.host, &mut self.tier)
    }

    pub(super) fn begin(&mut self, call: HostCall, args: &[u64]) -> Result<Begin, Fault> {
        self.guest.begin(call, args, &mut self.host, &mut self.tier)
    }

    pub(super) fn finish(&mut self) -> Result<Finish, Fault> {
        let call = self.guest.frames.last().map_or(HostCall::SchedYield, |frame| frame.call);
        self.guest.finish(call, &mut self.host, &mut self.tier)
    }

    /// Performs a call that may wait but does not.
    pub(super) fn ready(&mut self, call: HostCall, args: &[u64]) -> i32 {
        assert_eq!(self.begin(call, args), Ok(Begin::Ready));
        self.returned()
    }

    /// Performs a call that waits for `expected`, which ends with `completion`.
    pub(super) fn waits(
        &mut self,
        call: HostCall,
        args: &[u64],
        expected: Operation,
        completion: Completion,
    ) -> i32 {
        assert_eq!(self.begin(call, args), Ok(Begin::Wait(expected)));
        self.guest.complete(completion).unwrap();
        self.returned()
    }

    fn returned(&mut self) -> i32 {
        match self.finish() {
            Ok(Finish::Return(value)) => value,
            other => panic!("{other:?}"),
        }
    }

    /// The bytes at an address.
    pub(super) fn bytes(&self, at: u32, length: u32) -> Vec<u8> {
        self.host.read(at, length).unwrap()
    }
}

//! The host calls of a function as Faasm 0.29 with WAMR implements them: which exist, how state calls behave, and which
//! end the worker.

use crate::message::Message;
use crate::planner::Inner;
use crate::schedule::Seat;
use crate::state::{LocalState, Problem};
use faasm_bridge::guest::{CallResult, GuestMemory, GuestMemoryExt as _, Target};
use faasm_bridge::host::{Era, HostCall, ImportClass, classify};
use faasm_relay::cluster::embedded::{Answer, Extension, Import, Refusal};
use faasm_relay::cluster::failure;
use futures_util::future::BoxFuture;
use std::sync::{Arc, LazyLock};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Code of a refusal that ends the worker.
pub(crate) const DIES: &str = "worker-dies";

/// Code of an exception that a host call throws through WAMR; Faasm reports it with a text of its own.
pub(crate) const THROWS: &str = "wamr-exception";

/// Code of behaviour of Faasm that this stand-in cannot emulate.
pub(crate) const CANNOT_STAND_IN: &str = "cannot-stand-in";

/// The host calls in module `env` whose names start with `__faasm`: number of parameters, and whether they have a result.
const REGISTERED: &[(&str, usize, bool)] = &[
    ("__faasm_append_state", 3, false),
    ("__faasm_await_call", 1, true),
    ("__faasm_await_call_output", 3, true),
    ("__faasm_chain_name", 3, true),
    ("__faasm_chain_ptr", 3, true),
    ("__faasm_host_interface_test", 1, false),
    ("__faasm_migrate_point", 2, false),
    ("__faasm_pull_state", 2, false),
    ("__faasm_push_state", 1, false),
    ("__faasm_read_appended_state", 4, false),
    ("__faasm_read_input", 2, true),
    ("__faasm_read_state", 3, true),
    ("__faasm_sm_critical_local", 0, false),
    ("__faasm_sm_critical_local_end", 0, false),
    ("__faasm_sm_reduce", 4, false),
    ("__faasm_write_output", 2, false),
    ("__faasm_write_state", 3, false),
];

/// The only test hook of Faasm: it throws through WAMR.
const EXCEPTION_TEST: u32 = 1;

/// The only system call of Faasm.
const GETTID: u32 = 224;

/// Start of its monotonic clock.
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

pub(crate) fn traps(why: impl Into<String>) -> Refusal {
    Refusal::new(failure::TRAP, why)
}

/// A C++ exception outside WAMR, or an access outside memory.
fn dies(why: impl ToString) -> Refusal {
    Refusal::new(DIES, why.to_string())
}

fn refusal(problem: Problem) -> Refusal {
    match problem {
        Problem::Throws(why) => dies(why),
        Problem::CannotStandIn(why) => {
            Refusal::new(CANNOT_STAND_IN, format!("this stand-in cannot emulate Faasm here: {why}"))
        }
    }
}

/// The host side of one call on a worker.
pub(crate) struct Host {
    planner: Arc<Inner>,
    message: Message,
    seat: Seat,
    state: Arc<LocalState>,
}

impl Host {
    pub(crate) fn new(planner: Arc<Inner>, message: Message, seat: Seat) -> Self {
        let state = seat.worker.state();
        Self { planner, message, seat, state }
    }
}

impl Extension for Host {
    fn chain(
        &self,
        target: &Target,
        input: &[u8],
    ) -> Result<Option<BoxFuture<'static, CallResult>>, Refusal> {
        let (function, pointer) = match target {
            Target::Function(name) => (name.clone(), 0),
            Target::Pointer(pointer) => (self.message.function.clone(), *pointer as i32),
            Target::Index(_) => return Err(traps("Faasm has no calls by index")),
        };
        let (caller, input) = (&self.message, input.to_vec());
        self.planner.chain(caller, &self.seat, function, pointer, input).map(Some)
    }

    fn host_call<'a>(&'a self, call: Import<'a>) -> Result<Answer<'a>, Refusal> {
        let row = match classify(call.module, call.name) {
            ImportClass::Known(row) => row,
            ImportClass::Unknown if call.name == "shm_open" => return Err(dies("shm_open")),
            ImportClass::Family(_) | ImportClass::Unknown => return Ok(Answer::Cluster),
        };
        if lacks(row, &call) {
            return Err(traps(format!("WAMR has no {}.{}", call.module, call.name)));
        }
        use HostCall as C;
        match row {
            C::CxaThrow | C::CxaAllocateException => Err(dies("it is not implemented")),
            C::Syscall if call.argument(0) == GETTID => Ok(Answer::Value(0)),
            C::Syscall => Err(dies("the system call is not implemented")),
            C::HostInterfaceTest if call.argument(0) == EXCEPTION_TEST => {
                Err(Refusal::new(THROWS, "the test hook throws"))
            }
            C::HostInterfaceTest => Err(dies("an unknown test hook")),
            C::ChainName => {
                self.check_name(&call)?;
                within(call.memory, call.argument(1), call.argument(2))?;
                Ok(Answer::Cluster)
            }
            C::ChainPtr => {
                within(call.memory, call.argument(1), call.argument(2))?;
                Ok(Answer::Cluster)
            }
            C::WriteOutput => {
                within(call.memory, call.argument(0), call.argument(1))?;
                Ok(Answer::Cluster)
            }
            C::ReadInput => {
                let here = u32::try_from(self.message.input_data.len()).unwrap_or(u32::MAX);
                within(call.memory, call.argument(0), call.argument(1).min(here))?;
                Ok(Answer::Cluster)
            }
            C::ClockTimeGet => clock_time_get(call),
            C::WriteState => self.write_state(call),
            C::ReadState | C::PushState | C::PullState | C::AppendState | C::ReadAppendedState => {
                self.state_call(row, call)
            }
            _ => Ok(Answer::Cluster),
        }
    }
}

/// Whether WAMR does not provide an import of this name and type, so that calling it traps.
fn lacks(row: HostCall, call: &Import<'_>) -> bool {
    // The toolchain of 2019/20 had a C library and system calls of its own.
    if row.row().era == Era::Legacy {
        return true;
    }
    if call.module != "env" || !call.name.starts_with("__faasm") {
        return false;
    }
    let ty = (call.name, call.arguments.len(), call.has_result);
    !REGISTERED.contains(&ty)
}

/// WAMR checks only that the pointer is inside memory; Faasm then reads as many bytes as the call says.
fn within(memory: &dyn GuestMemory, pointer: u32, length: u32) -> Result<(), Refusal> {
    if u64::from(pointer) >= memory.size() {
        return Err(traps("out of bounds memory access"));
    }
    memory.check(pointer, length.into()).map_err(dies)
}

/// Key of a state call, for which Faasm requires four bytes of memory.
fn key_at(memory: &dyn GuestMemory, pointer: u32) -> Result<String, Refusal> {
    memory.check(pointer, 4).map_err(dies)?;
    let bytes = memory.read_terminated(pointer).map_err(dies)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// WAMR writes only the lower half of the time; the upper half of the result keeps its previous bytes.
fn clock_time_get(call: Import<'_>) -> Result<Answer<'_>, Refusal> {
    let elapsed = match call.argument(0) {
        0 => SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(),
        1..=3 => START.elapsed(),
        _ => return Err(dies("an unknown clock")),
    };
    let low = elapsed.as_nanos() as u32;
    call.memory.write_u32(call.argument(2), low).map_err(|fault| traps(fault.to_string()))?;
    Ok(Answer::Value(0))
}

impl Host {
    /// If a name is not UTF-8, the planner that receives it ends.
    fn check_name(&self, call: &Import<'_>) -> Result<(), Refusal> {
        let name = call.memory.read_terminated(call.argument(0));
        let name = name.map_err(|fault| traps(fault.to_string()))?;
        if std::str::from_utf8(&name).is_err() {
            self.planner.abort();
            return Err(traps("the planner has ended"));
        }
        Ok(())
    }

    fn write_state<'a>(&'a self, call: Import<'a>) -> Result<Answer<'a>, Refusal> {
        let key = key_at(call.memory, call.argument(0))?;
        let (pointer, length) = (call.argument(1), call.argument(2));
        call.memory.check(pointer, length.into()).map_err(dies)?;
        // Faasm reads as many bytes as the value has, whatever length the function passes.
        let source = |size: u32| {
            let bytes = call.memory.read(pointer, size);
            bytes.map_err(|fault| Problem::Throws(fault.to_string()))
        };
        self.state.write(&self.message.user, &key, length, source).map_err(refusal)?;
        Ok(Answer::Value(0))
    }

    fn state_call<'a>(&'a self, row: HostCall, call: Import<'a>) -> Result<Answer<'a>, Refusal> {
        let key = key_at(call.memory, call.argument(0))?;
        let (state, user) = (&self.state, &self.message.user);
        let (first, second) = (call.argument(1), call.argument(2));
        let checked = |memory: &dyn GuestMemory| memory.check(first, second.into()).map_err(dies);
        match row {
            HostCall::AppendState | HostCall::ReadAppendedState => checked(call.memory)?,
            HostCall::ReadState if second > 0 => checked(call.memory)?,
            _ => {}
        }
        Ok(Answer::Wait(Box::pin(async move {
            let value = match row {
                HostCall::ReadState if second == 0 => {
                    state.size(user, &key).await.map(|size| size as i32)
                }
                HostCall::ReadState => {
                    let bytes = state.read(user, &key, second).await.map_err(refusal)?;
                    // Faasm writes as many bytes as the value has, whatever buffer length the function passes.
                    call.memory.write(first, &bytes).map_err(dies)?;
                    Ok(bytes.len() as i32)
                }
                HostCall::PushState => state.push(user, &key).await.map(|()| 0),
                HostCall::PullState => state.pull(user, &key, first).await.map(|()| 0),
                HostCall::AppendState => {
                    let element = call.memory.read(first, second).map_err(dies)?;
                    state.append(user, &key, element).await.map(|()| 0)
                }
                _ => {
                    let count = call.argument(3) as i32;
                    let bytes = state.read_appended(user, &key, second, count).await;
                    call.memory.write(first, &bytes.map_err(refusal)?).map_err(dies)?;
                    Ok(0)
                }
            };
            value.map_err(refusal)
        })))
    }
}

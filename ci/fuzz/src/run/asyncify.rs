//! Suspension as in the browser's engine, `runtime-web/glue/engine.js`, for wasmtime.

use super::Ending;
use super::host::{Host, Stop, broken};
use wasmtime::{
    AsContextMut, Caller, Error, Func, Instance, Memory, Result, Store, Trap, TypedFunc, Val,
};

/// The state of the module as the host tracks it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Normal,
    Unwinding,
    Rewinding,
}

/// The engine of one instrumented instance.
pub(super) struct Asyncify {
    /// Bytes of the unwind buffer, which is the end of memory.
    bytes: usize,
    /// Its address during the last suspension.
    offset: usize,
    /// Maximum number of unwound bytes, including the header.
    pub(super) most_unwound: usize,
    state: State,
    get_state: TypedFunc<(), i32>,
    start_unwind: TypedFunc<i32, ()>,
    stop_unwind: TypedFunc<(), ()>,
    start_rewind: TypedFunc<i32, ()>,
    stop_rewind: TypedFunc<(), ()>,
}

/// Bytes of Asyncify's own two pointers at the start of the buffer.
const HEADER_BYTES: usize = 8;

impl Asyncify {
    pub(super) fn of(
        store: &mut Store<Host>,
        instance: &Instance,
        bytes: u32,
    ) -> std::result::Result<Self, String> {
        let missing = |error: Error| format!("{error:#}");
        let mut store = store.as_context_mut();
        Ok(Self {
            bytes: bytes as usize,
            offset: 0,
            most_unwound: 0,
            state: State::Normal,
            get_state: instance
                .get_typed_func(&mut store, "asyncify_get_state")
                .map_err(missing)?,
            start_unwind: instance
                .get_typed_func(&mut store, "asyncify_start_unwind")
                .map_err(missing)?,
            stop_unwind: instance
                .get_typed_func(&mut store, "asyncify_stop_unwind")
                .map_err(missing)?,
            start_rewind: instance
                .get_typed_func(&mut store, "asyncify_start_rewind")
                .map_err(missing)?,
            stop_rewind: instance
                .get_typed_func(&mut store, "asyncify_stop_rewind")
                .map_err(missing)?,
        })
    }
}

pub(super) fn is_rewinding(host: &Host) -> bool {
    host.asyncify.as_ref().is_some_and(|engine| engine.state == State::Rewinding)
}

/// Ends rewinding, in the import in which unwinding began.
pub(super) fn stop_rewind(caller: &mut Caller<'_, Host>) -> Result<()> {
    let stop = engine(caller.data_mut())?.stop_rewind.clone();
    stop.call(&mut *caller, ())?;
    engine(caller.data_mut())?.state = State::Normal;
    Ok(())
}

/// Begins unwinding, in the import that suspends.
pub(super) fn start_unwind(caller: &mut Caller<'_, Host>) -> Result<()> {
    let memory = memory(caller.data())?;
    let size = memory.data_size(&*caller);
    let engine = engine(caller.data_mut())?;
    if engine.state != State::Normal {
        return broken(format!("suspended while {:?}", engine.state));
    }
    let end = size;
    engine.offset = size - engine.bytes;
    let (offset, start) = (engine.offset, engine.start_unwind.clone());
    engine.state = State::Unwinding;
    for (place, pointer) in [(offset, offset + HEADER_BYTES), (offset + 4, end)] {
        memory.data_mut(&mut *caller)[place..place + 4]
            .copy_from_slice(&(pointer as u32).to_le_bytes());
    }
    start.call(&mut *caller, offset as i32)
}

/// Calls an entry, through all its suspensions.
pub(super) fn call(store: &mut Store<Host>, function: &Func, results: usize) -> Result<Vec<Val>> {
    loop {
        let mut values = vec![Val::I32(0); results];
        let ended = function.call(&mut *store, &[], &mut values);
        let unwound = store.data().asyncify.as_ref().is_some_and(|it| it.state == State::Unwinding);
        if !unwound {
            ended?;
            check_state(store)?;
            return Ok(values);
        }
        // The buffer ends at the end of memory, so unwinding traps if it does not fit.
        match ended {
            Ok(()) if !overflowed(store)? => {}
            // Our own pass traps before it writes past the end.
            Err(error)
                if ![Some(&Trap::MemoryOutOfBounds), Some(&Trap::UnreachableCodeReached)]
                    .contains(&error.downcast_ref()) =>
            {
                return broken(format!("while unwinding: {error:#}"));
            }
            _ => return Err(Error::new(Stop(Ending::BufferFull))),
        }
        let stop = engine(store.data_mut())?.stop_unwind.clone();
        stop.call(&mut *store, ())?;
        // Our own pass says only then how much there is.
        overflowed(store)?;
        engine(store.data_mut())?.state = State::Normal;
        let (start, offset) = {
            let engine = engine(store.data_mut())?;
            (engine.start_rewind.clone(), engine.offset)
        };
        start.call(&mut *store, offset as i32)?;
        engine(store.data_mut())?.state = State::Rewinding;
    }
}

/// Whether the unwound stack exceeds the buffer, which need not trap.
fn overflowed(store: &mut Store<Host>) -> Result<bool> {
    let memory = memory(store.data())?;
    let offset = engine(store.data_mut())?.offset;
    let mut next = [0; 4];
    next.copy_from_slice(&memory.data(&*store)[offset..offset + 4]);
    let engine = engine(store.data_mut())?;
    let unwound = (u32::from_le_bytes(next) as usize).saturating_sub(offset);
    engine.most_unwound = engine.most_unwound.max(unwound);
    Ok(unwound > engine.bytes)
}

/// Checks that the module's own state matches the tracked one.
fn check_state(store: &mut Store<Host>) -> Result<()> {
    let Some(engine) = &store.data().asyncify else { return Ok(()) };
    let (state, get) = (engine.state, engine.get_state.clone());
    match (state, get.call(&mut *store, ())?) {
        (State::Normal, 0) => Ok(()),
        (state, number) => {
            broken(format!("returned while {state:?}, in the module's state {number}"))
        }
    }
}

fn engine(host: &mut Host) -> Result<&mut Asyncify> {
    match &mut host.asyncify {
        Some(engine) => Ok(engine),
        None => broken("the module is not instrumented"),
    }
}

fn memory(host: &Host) -> Result<Memory> {
    match host.memory {
        Some(memory) => Ok(memory),
        None => broken("there is no memory"),
    }
}

//! Runs modules under wasmtime with a minimal host: host calls should cost little compared with the measured work, as
//! in `js/host.mjs`.

use super::run::Run;
use anyhow::{Result, anyhow};
use nix::time::{ClockId, clock_gettime};
use std::collections::HashMap;
use wasmtime::{Caller, Engine, Instance, Linker, Memory, Module, Store, Trap};

const WASI: &str = "wasi_snapshot_preview1";
const SUCCESS: i32 = 0;
const BAD_DESCRIPTOR: i32 = 8;
const CHARACTER_DEVICE: u8 = 2;
const STANDARD_OUTPUT: i32 = 1;

/// State of the host in a run.
struct Host {
    /// Command line, each argument with its NUL.
    args: Vec<Vec<u8>>,
    printed: Vec<u8>,
    state: HashMap<Vec<u8>, Vec<u8>>,
}

type Guest<'a> = Caller<'a, Host>;
type Call<T> = wasmtime::Result<T>;

pub(crate) struct Wasmtime {
    engine: Engine,
    linker: Linker<Host>,
}

impl Wasmtime {
    pub(crate) fn new() -> Result<Wasmtime> {
        let engine = Engine::default();
        let linker = linker(&engine).map_err(|error| anyhow!("{error:#}"))?;
        Ok(Wasmtime { engine, linker })
    }

    /// Compiles a module that has its original imports.
    pub(crate) fn load(&self, wasm: &[u8]) -> Result<Module> {
        Module::new(&self.engine, wasm).map_err(|error| anyhow!("{error:#}"))
    }

    pub(crate) fn time(&self, module: &Module, entry: &[String], rounds: u32) -> Result<Run> {
        let args = ["workload", &rounds.to_string()].map(|arg| [arg.as_bytes(), b"\0"].concat());
        let host = Host { args: args.into(), printed: Vec::new(), state: HashMap::new() };
        let mut store = Store::new(&self.engine, host);
        self.run(&mut store, module, entry).map_err(|error| anyhow!("{error:#}"))?;
        Run::parse(&String::from_utf8_lossy(&store.data().printed))
    }

    fn run(&self, store: &mut Store<Host>, module: &Module, entry: &[String]) -> Call<()> {
        let mut linker = self.linker.clone();
        linker.define_unknown_imports_as_traps(module)?;
        let instance: Instance = linker.instantiate(&mut *store, module)?;
        for name in entry {
            instance.get_typed_func::<(), ()>(&mut *store, name)?.call(&mut *store, ())?;
        }
        Ok(())
    }
}

/// The host calls of the workloads, and the system calls of their C libraries; others trap.
fn linker(engine: &Engine) -> Call<Linker<Host>> {
    let mut linker = Linker::new(engine);
    linker.func_wrap("env", "__faasm_chain_name", |_: i32, _: i32, _: i32| 1)?;
    linker.func_wrap("env", "__faasm_await_call", |_: i32| 1)?;
    linker.func_wrap("env", "__faasm_read_state_offset", read_state)?;
    linker.func_wrap("env", "__faasm_write_state_offset", write_state)?;
    linker.func_wrap(WASI, "args_sizes_get", |mut guest: Guest<'_>, count, bytes| {
        let args = &guest.data().args;
        let (number, total) = (args.len(), args.iter().map(Vec::len).sum());
        put(&mut guest, count, number)?;
        put(&mut guest, bytes, total)?;
        Call::Ok(SUCCESS)
    })?;
    linker.func_wrap(WASI, "args_get", args_get)?;
    linker.func_wrap(WASI, "environ_sizes_get", |mut guest: Guest<'_>, count, bytes| {
        put(&mut guest, count, 0)?;
        put(&mut guest, bytes, 0)?;
        Call::Ok(SUCCESS)
    })?;
    linker.func_wrap(WASI, "environ_get", |_: i32, _: i32| SUCCESS)?;
    linker.func_wrap(WASI, "clock_time_get", |mut guest: Guest<'_>, _: i32, _: i64, to: i32| {
        // Every clock returns the CPU time of this thread, as in `js/driver.mjs`.
        let now = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?;
        let now = now.tv_sec() as u64 * 1_000_000_000 + now.tv_nsec() as u64;
        memory(&mut guest)?.write(&mut guest, to as usize, &now.to_le_bytes())?;
        Call::Ok(SUCCESS)
    })?;
    linker.func_wrap(WASI, "fd_write", fd_write)?;
    linker.func_wrap(WASI, "fd_fdstat_get", |mut guest: Guest<'_>, _: i32, to: i32| {
        let mut stat = [0; 24];
        stat[0] = CHARACTER_DEVICE;
        memory(&mut guest)?.write(&mut guest, to as usize, &stat)?;
        Call::Ok(SUCCESS)
    })?;
    linker.func_wrap(WASI, "fd_prestat_get", |_: i32, _: i32| BAD_DESCRIPTOR)?;
    linker.func_wrap(WASI, "random_get", |_: i32, _: i32| SUCCESS)?;
    Ok(linker)
}

fn memory(guest: &mut Guest<'_>) -> Call<Memory> {
    let memory = guest.get_export("memory").and_then(|export| export.into_memory());
    // Creating an error captures a backtrace, so create it only on failure.
    memory.ok_or_else(|| Trap::MemoryOutOfBounds.into())
}

fn put(guest: &mut Guest<'_>, to: i32, number: usize) -> Call<()> {
    Ok(memory(guest)?.write(guest, to as usize, &(number as u32).to_le_bytes())?)
}

fn get(memory: &[u8], from: usize) -> Call<usize> {
    let bytes = memory.get(from..from + 4).ok_or(Trap::MemoryOutOfBounds)?;
    Ok(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as usize)
}

fn args_get(mut guest: Guest<'_>, pointers: i32, bytes: i32) -> Call<i32> {
    let (memory, mut at) = (memory(&mut guest)?, bytes as usize);
    for (position, arg) in guest.data().args.clone().iter().enumerate() {
        put(&mut guest, pointers + 4 * position as i32, at)?;
        memory.write(&mut guest, at, arg)?;
        at += arg.len();
    }
    Ok(SUCCESS)
}

fn fd_write(mut guest: Guest<'_>, descriptor: i32, parts: i32, count: i32, to: i32) -> Call<i32> {
    let (memory, host) = memory(&mut guest)?.data_and_store_mut(&mut guest);
    let mut written = 0;
    for part in 0..count as usize {
        let at = parts as usize + 8 * part;
        let (from, length) = (get(memory, at)?, get(memory, at + 4)?);
        let bytes = memory.get(from..from + length).ok_or(Trap::MemoryOutOfBounds)?;
        if descriptor == STANDARD_OUTPUT {
            host.printed.extend(bytes);
        }
        written += length;
    }
    put(&mut guest, to, written)?;
    Ok(SUCCESS)
}

/// A chunk of a state value, and the guest memory for it.
fn chunk<'a>(
    guest: &'a mut Guest<'_>,
    [key, total, offset, at, length]: [i32; 5],
) -> Call<(&'a mut [u8], &'a mut [u8])> {
    let [key, total, offset, at, length] =
        [key, total, offset, at, length].map(|number| number as usize);
    let (memory, host) = memory(guest)?.data_and_store_mut(guest);
    let name = memory.get(key..).ok_or(Trap::MemoryOutOfBounds)?;
    let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
    if !host.state.contains_key(name) {
        host.state.insert(name.to_vec(), vec![0; total]);
    }
    let value = host.state.get_mut(name).and_then(|value| value.get_mut(offset..offset + length));
    let guest = memory.get_mut(at..at + length);
    Ok(value.zip(guest).ok_or(Trap::MemoryOutOfBounds)?)
}

fn read_state(
    mut guest: Guest<'_>,
    key: i32,
    total: i32,
    offset: i32,
    to: i32,
    length: i32,
) -> Call<()> {
    let (value, memory) = chunk(&mut guest, [key, total, offset, to, length])?;
    memory.copy_from_slice(value);
    Ok(())
}

fn write_state(
    mut guest: Guest<'_>,
    key: i32,
    total: i32,
    offset: i32,
    from: i32,
    length: i32,
) -> Call<()> {
    let (value, memory) = chunk(&mut guest, [key, total, offset, from, length])?;
    value.copy_from_slice(memory);
    Ok(())
}

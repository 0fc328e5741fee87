//! A worker as Faasm's is with WAMR, for one instance: it ends where that one would.

use std::collections::{BTreeMap, BTreeSet};
use wasmtime::{Caller, Engine, Error, Extern, Func, Instance, Linker, Memory, Module, Store, Val};

/// Why a call into the guest did not return.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Exit(i32),
    Trap,
    /// What the guest did has ended the worker, or the planner.
    Death(String),
}

#[derive(Debug, thiserror::Error)]
enum Stop {
    #[error("exit {0}")]
    Exit(i32),
    #[error("{0}")]
    Death(String),
}

/// What is behind the host calls.
#[derive(Default)]
pub(crate) struct Worker {
    pub(crate) global: BTreeMap<String, Vec<u8>>,
    pub(crate) local: BTreeMap<String, Vec<u8>>,
    pub(crate) lists: BTreeMap<String, Vec<Vec<u8>>>,
    pub(crate) input: Vec<u8>,
    pub(crate) output: Option<Vec<u8>>,
    /// Functions that are stored.
    pub(crate) functions: BTreeSet<String>,
    /// Calls that were chained: function or pointer, and input.
    pub(crate) chained: Vec<(String, Vec<u8>)>,
    /// What the next awaited calls give, instead of 0 and their input.
    pub(crate) results: BTreeMap<i32, (i32, Vec<u8>)>,
    pub(crate) open: BTreeSet<i32>,
    /// Names of the host calls, in order.
    pub(crate) calls: Vec<&'static str>,
    pub(crate) break_: Option<u64>,
}

type Host<'a> = Caller<'a, Worker>;

fn death<T>(why: impl Into<String>) -> Result<T, Error> {
    Err(Error::new(Stop::Death(why.into())))
}

fn memory(host: &mut Host<'_>) -> Memory {
    host.get_export("memory").and_then(Extern::into_memory).expect("it is exported")
}

fn note(host: &mut Host<'_>, call: &'static str) {
    host.data_mut().calls.push(call);
}

fn bytes(host: &mut Host<'_>, at: i32, length: i32) -> Result<Vec<u8>, Error> {
    let memory = memory(host);
    let (at, length) = (at.cast_unsigned() as usize, length.cast_unsigned() as usize);
    match memory.data(&*host).get(at..at + length) {
        Some(bytes) => Ok(bytes.to_vec()),
        None => death(format!("{length} bytes at {at} lie outside memory")),
    }
}

fn put(host: &mut Host<'_>, at: i32, bytes: &[u8]) -> Result<(), Error> {
    let (memory, at) = (memory(host), at.cast_unsigned() as usize);
    match memory.data_mut(&mut *host).get_mut(at..at + bytes.len()) {
        Some(target) => target.copy_from_slice(bytes),
        None => return death(format!("{} bytes at {at} lie outside memory", bytes.len())),
    }
    Ok(())
}

/// A string; of keys WAMR looks at four bytes.
fn text(host: &mut Host<'_>, at: i32) -> Result<String, Error> {
    bytes(host, at, 4)?;
    let memory = memory(host);
    let rest = &memory.data(&*host)[at.cast_unsigned() as usize..];
    let Some(end) = rest.iter().position(|byte| *byte == 0) else {
        return death("a string has no end");
    };
    match std::str::from_utf8(&rest[..end]) {
        Ok("") => death("a string is empty"),
        Ok(text) => Ok(text.to_owned()),
        Err(_) => death("a string is not UTF-8"),
    }
}

fn no_list(host: &Host<'_>, key: &str) -> Result<(), Error> {
    if host.data().lists.contains_key(key) { death(format!("`{key}` is a list")) } else { Ok(()) }
}

fn read_state(mut host: Host<'_>, key: i32, at: i32, length: i32) -> Result<i32, Error> {
    note(&mut host, "read_state");
    let key = text(&mut host, key)?;
    no_list(&host, &key)?;
    let worker = host.data_mut();
    if length == 0 {
        let value = worker.local.get(&key).or_else(|| worker.global.get(&key));
        let size = value.map_or(0, |value| value.len() as i32);
        bytes(&mut host, at, 1)?;
        return Ok(size);
    }
    let global = worker.global.get(&key).cloned();
    let value = match worker.local.get(&key) {
        Some(value) => value.clone(),
        None => global.unwrap_or_else(|| vec![0; length as usize]),
    };
    if value.len() != length as usize {
        return death(format!("`{key}` has {} bytes, not {length}", value.len()));
    }
    worker.local.insert(key, value.clone());
    put(&mut host, at, &value)?;
    Ok(length)
}

fn write_state(mut host: Host<'_>, key: i32, at: i32, length: i32) -> Result<(), Error> {
    note(&mut host, "write_state");
    let key = text(&mut host, key)?;
    no_list(&host, &key)?;
    let value = bytes(&mut host, at, length)?;
    let worker = host.data_mut();
    let have = worker.local.get(&key).or_else(|| worker.global.get(&key));
    if value.is_empty() || have.is_some_and(|have| have.len() != value.len()) {
        return death(format!("`{key}` is written with another size, or none"));
    }
    worker.local.insert(key, value);
    Ok(())
}

fn push_state(mut host: Host<'_>, key: i32) -> Result<(), Error> {
    note(&mut host, "push_state");
    let key = text(&mut host, key)?;
    no_list(&host, &key)?;
    let worker = host.data_mut();
    match worker.local.get(&key).cloned() {
        Some(value) => worker.global.insert(key, value),
        None => return death(format!("`{key}` is pushed and was never written")),
    };
    Ok(())
}

fn pull_state(mut host: Host<'_>, key: i32, length: i32) -> Result<(), Error> {
    note(&mut host, "pull_state");
    let key = text(&mut host, key)?;
    no_list(&host, &key)?;
    let worker = host.data_mut();
    match worker.global.get(&key).cloned() {
        Some(value) if value.len() == length as usize => worker.local.insert(key, value),
        None if length > 0 => {
            let zeros = vec![0; length as usize];
            let value = worker.local.remove(&key).unwrap_or(zeros);
            worker.local.insert(key, value)
        }
        _ => return death(format!("`{key}` is pulled with another size")),
    };
    Ok(())
}

fn append_state(mut host: Host<'_>, key: i32, at: i32, length: i32) -> Result<(), Error> {
    note(&mut host, "append_state");
    let key = text(&mut host, key)?;
    bytes(&mut host, at, 1)?;
    let element = bytes(&mut host, at, length)?;
    let worker = host.data_mut();
    if worker.global.contains_key(&key) || worker.local.contains_key(&key) {
        return death(format!("`{key}` is a value"));
    }
    worker.lists.entry(key).or_default().push(element);
    Ok(())
}

fn read_appended(
    mut host: Host<'_>,
    key: i32,
    at: i32,
    length: i32,
    count: i32,
) -> Result<(), Error> {
    note(&mut host, "read_appended_state");
    let key = text(&mut host, key)?;
    bytes(&mut host, at, length)?;
    let worker = host.data();
    if worker.global.contains_key(&key) || worker.local.contains_key(&key) || count <= 0 {
        return death(format!("`{key}` is a value, or {count} elements are read"));
    }
    let list = worker.lists.get(&key).cloned().unwrap_or_default();
    let all: Vec<u8> = list.into_iter().take(count as usize).flatten().collect();
    if all.len() > length as usize {
        return death("the buffer is too small");
    }
    put(&mut host, at, &all)
}

fn read_input(mut host: Host<'_>, at: i32, length: i32) -> Result<i32, Error> {
    note(&mut host, "read_input");
    let input = host.data().input.clone();
    bytes(&mut host, at, 1)?;
    if length <= 0 {
        return Ok(input.len() as i32);
    }
    let count = input.len().min(length as usize);
    put(&mut host, at, &input[..count])?;
    Ok(count as i32)
}

/// What WAMR takes for text has a NUL somewhere before the end of memory; a function traps otherwise.
fn has_end(host: &mut Host<'_>, at: i32) -> Result<(), Error> {
    bytes(host, at, 1)?;
    let memory = memory(host);
    if memory.data(&*host)[at.cast_unsigned() as usize..].contains(&0) {
        return Ok(());
    }
    Err(Error::msg("out of bounds memory access"))
}

fn write_output(mut host: Host<'_>, at: i32, length: i32) -> Result<(), Error> {
    note(&mut host, "write_output");
    has_end(&mut host, at)?;
    let output = bytes(&mut host, at, length)?;
    if std::str::from_utf8(&output).is_err() {
        return death("the planner: an output is not UTF-8");
    }
    host.data_mut().output = Some(output);
    Ok(())
}

fn start(host: &mut Host<'_>, what: String, input: Vec<u8>) -> i32 {
    let worker = host.data_mut();
    worker.chained.push((what, input));
    let id = 1000 + worker.chained.len() as i32;
    worker.open.insert(id);
    id
}

fn chain_name(mut host: Host<'_>, name: i32, at: i32, length: i32) -> Result<i32, Error> {
    note(&mut host, "chain_name");
    let name = text(&mut host, name)?;
    has_end(&mut host, at)?;
    let input = bytes(&mut host, at, length)?;
    if !host.data().functions.contains(&name) {
        return death(format!("function `{name}` cannot be loaded"));
    }
    Ok(start(&mut host, name, input))
}

fn chain_ptr(mut host: Host<'_>, pointer: i32, at: i32, length: i32) -> Result<i32, Error> {
    note(&mut host, "chain_ptr");
    has_end(&mut host, at)?;
    let input = bytes(&mut host, at, length)?;
    if pointer <= 0 {
        return death("the null pointer is chained");
    }
    Ok(start(&mut host, pointer.to_string(), input))
}

fn ended(host: &mut Host<'_>, id: i32) -> Result<(i32, Vec<u8>), Error> {
    let worker = host.data_mut();
    if !worker.open.remove(&id) {
        return death(format!("call {id} is awaited for ever"));
    }
    let input = worker.chained[(id - 1001) as usize].1.clone();
    Ok(worker.results.get(&id).cloned().unwrap_or((0, input)))
}

fn await_call(mut host: Host<'_>, id: i32) -> Result<i32, Error> {
    note(&mut host, "await_call");
    Ok(ended(&mut host, id)?.0)
}

fn await_call_output(mut host: Host<'_>, id: i32, to: i32, to_length: i32) -> Result<i32, Error> {
    note(&mut host, "await_call_output");
    let (value, output) = ended(&mut host, id)?;
    let memory = memory(&mut host);
    let pages = memory.grow(&mut host, output.len() as u64 / 65536 + 1)?;
    let at = (pages << 16) as u32 as i32;
    put(&mut host, at, &output)?;
    put(&mut host, to, &at.to_le_bytes())?;
    put(&mut host, to_length, &(output.len() as i32).to_le_bytes())?;
    Ok(value)
}

/// The break: it moves by whole pages, and the worker ends where memory cannot grow.
fn sbrk(mut host: Host<'_>, bytes: i32) -> Result<i32, Error> {
    note(&mut host, "sbrk");
    let memory = memory(&mut host);
    let end = memory.data_size(&host) as u64;
    let old = *host.data_mut().break_.get_or_insert(end);
    let new = old.checked_add_signed(bytes.into());
    let Some(new) = new.filter(|new| new % 65536 == 0) else {
        return death("the break moves by parts of pages, or below 0");
    };
    if new > end && memory.grow(&mut host, (new - end) / 65536).is_err() {
        return death("memory cannot grow");
    }
    host.data_mut().break_ = Some(new);
    Ok(old as u32 as i32)
}

/// One instance of a function on a worker.
pub(crate) struct Run {
    pub(crate) store: Store<Worker>,
    instance: Instance,
}

impl Run {
    /// Instantiates; what no worker has traps.
    pub(crate) fn new(engine: &Engine, wasm: &[u8], worker: Worker) -> Result<Self, End> {
        Self::of(engine, &Module::new(engine, wasm).unwrap(), worker)
    }

    /// The same of a module that is compiled already.
    pub(crate) fn of(engine: &Engine, module: &Module, worker: Worker) -> Result<Self, End> {
        let mut linker: Linker<Worker> = Linker::new(engine);
        linker.func_wrap("env", "__faasm_read_state", read_state).unwrap();
        linker.func_wrap("env", "__faasm_write_state", write_state).unwrap();
        linker.func_wrap("env", "__faasm_push_state", push_state).unwrap();
        linker.func_wrap("env", "__faasm_pull_state", pull_state).unwrap();
        linker.func_wrap("env", "__faasm_append_state", append_state).unwrap();
        linker.func_wrap("env", "__faasm_read_appended_state", read_appended).unwrap();
        linker.func_wrap("env", "__faasm_read_input", read_input).unwrap();
        linker.func_wrap("env", "__faasm_write_output", write_output).unwrap();
        linker.func_wrap("env", "__faasm_chain_name", chain_name).unwrap();
        linker.func_wrap("env", "__faasm_chain_ptr", chain_ptr).unwrap();
        linker.func_wrap("env", "__faasm_await_call", await_call).unwrap();
        linker.func_wrap("env", "__faasm_await_call_output", await_call_output).unwrap();
        linker.func_wrap("env", "__sbrk", sbrk).unwrap();
        linker
            .func_wrap("env", "syscall", |number: i32, _: i32| match number {
                224 => Ok(7),
                _ => death::<i32>("a system call that is not there"),
            })
            .unwrap();
        let exit = |value: i32| -> Result<(), Error> { Err(Error::new(Stop::Exit(value))) };
        linker.func_wrap("wasi_snapshot_preview1", "proc_exit", exit).unwrap();
        linker.define_unknown_imports_as_traps(module).unwrap();
        let mut store = Store::new(engine, worker);
        let instance = linker.instantiate(&mut store, module).map_err(|error| end(&error))?;
        Ok(Self { store, instance })
    }

    pub(crate) fn worker(&mut self) -> &mut Worker {
        self.store.data_mut()
    }

    pub(crate) fn call(&mut self, name: &str, arguments: &[i32]) -> Result<i32, End> {
        let function = self.instance.get_func(&mut self.store, name).unwrap();
        self.enter(function, arguments)
    }

    /// As the host enters a function pointer: it knows neither type nor result.
    pub(crate) fn call_pointer(&mut self, pointer: u32) -> Result<i32, End> {
        let table = self.instance.get_table(&mut self.store, "table").unwrap();
        let element = table.get(&mut self.store, pointer.into()).unwrap();
        let function = *element.unwrap_func().unwrap();
        self.enter(function, &[])
    }

    fn enter(&mut self, function: Func, arguments: &[i32]) -> Result<i32, End> {
        let arguments: Vec<Val> = arguments.iter().copied().map(Val::I32).collect();
        let mut results = vec![Val::I32(0); function.ty(&self.store).results().len()];
        function.call(&mut self.store, &arguments, &mut results).map_err(|error| end(&error))?;
        Ok(results.first().map_or(0, Val::unwrap_i32))
    }

    pub(crate) fn memory(&mut self) -> Memory {
        self.instance.get_memory(&mut self.store, "memory").unwrap()
    }

    pub(crate) fn put(&mut self, at: usize, bytes: &[u8]) {
        let memory = self.memory();
        memory.data_mut(&mut self.store)[at..at + bytes.len()].copy_from_slice(bytes);
    }

    pub(crate) fn get(&mut self, at: usize, length: usize) -> Vec<u8> {
        let memory = self.memory();
        memory.data(&self.store)[at..at + length].to_vec()
    }

    pub(crate) fn word(&mut self, at: usize) -> i32 {
        i32::from_le_bytes(self.get(at, 4).try_into().unwrap())
    }

    /// The output as text.
    pub(crate) fn output(&mut self) -> String {
        String::from_utf8(self.worker().output.clone().unwrap_or_default()).unwrap()
    }
}

fn end(error: &Error) -> End {
    match error.downcast_ref::<Stop>() {
        Some(Stop::Exit(value)) => End::Exit(*value),
        Some(Stop::Death(why)) => End::Death(why.clone()),
        None => End::Trap,
    }
}

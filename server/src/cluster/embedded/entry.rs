//! Entries of a run: the exports that form the main entry, or a function pointer.

use super::program::Program;
use super::run::RunState;
use thiserror::Error;
use wasmtime::{Error, Func, Instance, Ref, Result, Store, Val, ValType};

/// The entry cannot be called, or not with this input; the run fails with [`failure::BAD_ENTRY`].
///
/// [`failure::BAD_ENTRY`]: crate::cluster::failure::BAD_ENTRY
#[derive(Debug, Error)]
#[error("{0}")]
pub(super) struct BadEntry(String);

fn refused(why: impl Into<String>) -> Error {
    Error::new(BadEntry(why.into()))
}

/// Calls the exports of the main entry in order; the last one determines the return value.
pub(super) async fn enter_main(
    store: &mut Store<RunState>,
    instance: &Instance,
    program: &Program,
) -> Result<i32> {
    let mut value = 0;
    for name in &program.entry.main {
        value = enter_export(store, instance, name).await?;
    }
    Ok(value)
}

async fn enter_export(store: &mut Store<RunState>, instance: &Instance, name: &str) -> Result<i32> {
    let function = instance
        .get_func(&mut *store, name)
        .ok_or_else(|| refused(format!("export `{name}` is not a function")))?;
    let ty = function.ty(&*store);
    // Normalising ensures this, also for a `main` with arguments.
    if ty.params().len() != 0 {
        return Err(refused(format!("entry `{name}` has unsupported parameters: {ty}")));
    }
    enter(store, &function, &[]).await
}

/// Calls a function pointer in a fresh instance, after its constructors.
pub(super) async fn enter_pointer(
    store: &mut Store<RunState>,
    instance: &Instance,
    program: &Program,
    index: u32,
    input: &[u8],
) -> Result<i32> {
    let name = program.entry.table.as_deref();
    let table = name
        .and_then(|name| instance.get_table(&mut *store, name))
        .ok_or_else(|| refused("the function has no table, and so no function pointers"))?;
    let size = table.size(&*store);
    let function = match table.get(&mut *store, u64::from(index)) {
        Some(Ref::Func(Some(function))) => function,
        Some(_) => return Err(refused(format!("function pointer {index} is null"))),
        None => {
            return Err(refused(format!(
                "function pointer {index} lies outside the table, which has {size} entries"
            )));
        }
    };
    let ty = function.ty(&*store);
    let params: Vec<ValType> = ty.params().collect();
    let results: Vec<ValType> = ty.results().collect();
    let params = match (params.as_slice(), results.as_slice()) {
        ([], [] | [ValType::I32]) => vec![],
        ([ValType::I32], [ValType::I32]) => vec![Val::I32(decimal(input)?)],
        _ => {
            return Err(refused(format!(
                "function pointer {index} has signature {ty}; () -> i32, (i32) -> i32 and () -> () can be chained"
            )));
        }
    };
    for name in &program.entry.before_pointer {
        enter_export(store, instance, name).await?;
    }
    enter(store, &function, &params).await
}

/// The argument of a chained `(i32) -> i32`.
fn decimal(input: &[u8]) -> Result<i32> {
    let text = String::from_utf8_lossy(input);
    let digits = text.trim_matches(['\0', ' ', '\n']);
    digits.parse().map_err(|_| {
        let shown: String = text.chars().take(40).collect();
        refused(format!("a chained (i32) -> i32 takes a decimal number as input, not `{shown}`"))
    })
}

async fn enter(store: &mut Store<RunState>, function: &Func, params: &[Val]) -> Result<i32> {
    let count = function.ty(&*store).results().len();
    let mut results = vec![Val::I32(0); count];
    function.call_async(&mut *store, params, &mut results).await?;
    match results.as_slice() {
        [] => Ok(0),
        [Val::I32(value)] => Ok(*value),
        _ => Err(refused("the entry returns something other than one i32")),
    }
}

//! Performs operations while a function is suspended.

use super::host::now;
use super::lock;
use super::run::RunState;
use crate::budget::OverBudget;
use crate::store::{StateRead, StoreError};
use faasm_bridge::guest::{Completion, Fault, Operation};
use faasm_bridge::state::Value;
use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

/// Performs an operation of the kernel without holding a lock. Its arguments and its completion are charged until the
/// run's next host call has consumed them.
///
/// # Errors
/// The budget is exhausted.
pub(super) async fn perform(run: &mut RunState, operation: Operation) -> Result<Completion, Fault> {
    let over = |over: OverBudget| Fault::OverBudget { why: over.to_string() };
    let taken: usize = operation.bytes();
    let brought = match brought(run, &operation).await {
        Ok(brought) => brought,
        Err(error) => return failed(error),
    };
    run.moving.set(taken as u64 + brought).map_err(over)?;
    let completion = performed(run, operation).await?;
    let bytes = completion.bytes() as u64;
    // The result is larger than expected.
    run.moving.set(bytes).map_err(over)?;
    Ok(completion)
}

/// Expected bytes of a read.
async fn brought(run: &RunState, operation: &Operation) -> Result<u64, StoreError> {
    let (user, stores) = (run.chain.user.as_str(), &run.chain.inner.stores);
    let key = match operation {
        Operation::ReadState { length: Some(length), .. } => return Ok(*length),
        Operation::ReadAppended { key, count } => {
            return stores.state.appended_bytes(user, key, *count).await;
        }
        Operation::ReadFile { path } => {
            return Ok(stores.files.file_bytes(path).await?.unwrap_or(0));
        }
        Operation::ReadState { key, length: None, .. } | Operation::ExchangeState { key, .. } => {
            key
        }
        _ => return Ok(0),
    };
    // A value keeps the size from its first access.
    let known = lock(&run.tier).get(key).map(Value::size);
    if let Some(size) = known {
        return Ok(size);
    }
    let read = stores.state.read(user, key, 0, Some(0)).await?;
    Ok(read.size.unwrap_or(0))
}

async fn performed(run: &mut RunState, operation: Operation) -> Result<Completion, Fault> {
    match &operation {
        Operation::WriteState { key, .. } | Operation::ExchangeState { key, .. }
            if run.locks.has_lost(key) =>
        {
            return Ok(Completion::Missing);
        }
        _ => {}
    }
    let chain = &mut run.chain;
    let (user, stores) = (chain.user.as_str(), &chain.inner.stores);
    Ok(match operation {
        Operation::AwaitCall(id) => match chain.results.remove(&id) {
            Some(result) => match result.await {
                Ok(kept) => Completion::Call(chain.deliver(kept)),
                Err(_) => Completion::Failed("the chained call was lost".into()),
            },
            None => Completion::Failed(format!("no chained call has id {}", id.0)),
        },
        Operation::Sleep(sleep) => {
            while let Some(left) = sleep.left(now) {
                tokio::time::sleep(Duration::from_nanos(left)).await;
            }
            Completion::Done
        }
        Operation::AwaitLock(ticket) => {
            let tier = Arc::clone(&run.tier);
            poll_fn(|cx| lock(&tier).poll_lock(ticket, cx)).await;
            Completion::Done
        }
        Operation::LockGlobal { key } => run.locks.take(key).await,
        Operation::UnlockGlobal { key } => run.locks.release(&key).await,
        Operation::ReadState { key, offset, length } => {
            state(stores.state.read(user, &key, offset, length).await)?
        }
        Operation::WriteState { key, size, chunks } => {
            done(stores.state.write(user, &key, size, chunks).await)?
        }
        Operation::ExchangeState { key, size, chunks } => {
            match stores.state.write(user, &key, size, chunks).await {
                Ok(()) => state(stores.state.read(user, &key, 0, None).await)?,
                Err(error) => failed(error)?,
            }
        }
        Operation::AppendState { key, bytes } => {
            done(stores.state.append(user, &key, bytes).await)?
        }
        Operation::ReadAppended { key, count } => {
            match stores.state.read_appended(user, &key, count).await {
                Ok(bytes) => Completion::Bytes(bytes),
                Err(error) => failed(error)?,
            }
        }
        Operation::ClearAppended { key } => done(stores.state.clear_appended(user, &key).await)?,
        Operation::ReadFile { path } => match stores.files.read_file(&path).await {
            Ok(Some(bytes)) => Completion::Bytes(bytes),
            Ok(None) => Completion::Missing,
            Err(error) => failed(error)?,
        },
    })
}

fn failed(error: StoreError) -> Result<Completion, Fault> {
    match error {
        StoreError::OverDisk(over) => Err(Fault::OverBudget { why: over.to_string() }),
        error => Ok(Completion::Failed(error.to_string())),
    }
}

fn done(result: Result<(), StoreError>) -> Result<Completion, Fault> {
    result.map_or_else(failed, |()| Ok(Completion::Done))
}

fn state(result: Result<StateRead, StoreError>) -> Result<Completion, Fault> {
    match result {
        Ok(StateRead { size, chunk }) => Ok(Completion::State { size, chunk }),
        Err(error) => failed(error),
    }
}

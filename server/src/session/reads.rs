//! Reads for pages: memory is charged before the store allocates it.
//!
//! The size is looked up first. If it changes before the read, the difference is allocated before it is charged, and
//! charged afterwards.

use super::requests::Failure;
use crate::budget::{Account, Charge, Kind};
use crate::store::{FileStore, StateRead, StateStore, StoreError};

/// Reads up to this size need no lookup.
const SMALL: u64 = 64 * 1024;

/// An empty charge for a reply.
pub(super) fn nothing(account: &Account) -> Charge {
    account.nothing(Kind::Reply)
}

/// Reads at most `length` bytes of a value.
pub(super) async fn state(
    state: &dyn StateStore,
    user: &str,
    (key, offset, length): (&str, u64, u64),
    brought: &mut Charge,
) -> Result<StateRead, Failure> {
    brought.set(length.min(SMALL))?;
    let found = state.read(user, key, offset, Some(length.min(SMALL))).await?;
    let left = found.size.unwrap_or(0).saturating_sub(offset).min(length);
    if left <= SMALL {
        brought.set_anyway(found.chunk.bytes.len() as u64);
        return Ok(found);
    }
    drop(found);
    brought.set(left)?;
    let found = state.read(user, key, offset, Some(length)).await?;
    brought.set_anyway(found.chunk.bytes.len() as u64);
    Ok(found)
}

/// Reads the first elements of a list.
pub(super) async fn list(
    state: &dyn StateStore,
    user: &str,
    (key, count): (&str, u32),
    brought: &mut Charge,
) -> Result<Vec<u8>, Failure> {
    brought.set(state.appended_bytes(user, key, count).await?)?;
    told(state.read_appended(user, key, count).await, brought)
}

/// Reads a shared file.
pub(super) async fn file(
    files: &dyn FileStore,
    path: &str,
    brought: &mut Charge,
) -> Result<Option<Vec<u8>>, Failure> {
    let Some(bytes) = files.file_bytes(path).await? else { return Ok(None) };
    brought.set(bytes)?;
    let Some(bytes) = files.read_file(path).await? else { return Ok(None) };
    told(Ok(bytes), brought).map(Some)
}

fn told(read: Result<Vec<u8>, StoreError>, brought: &mut Charge) -> Result<Vec<u8>, Failure> {
    let bytes = read?;
    brought.set_anyway(bytes.len() as u64);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::{Bounds, Budget};
    use faasm_bridge::state::Chunk;
    use futures_util::future::BoxFuture;

    const SIZE: u64 = 4 << 20;

    /// A store in which everything is 4 MiB, and which returns at most [`SMALL`] of it.
    struct Large;

    impl StateStore for Large {
        fn read<'a>(
            &'a self,
            _: &'a str,
            _: &'a str,
            offset: u64,
            length: Option<u64>,
        ) -> BoxFuture<'a, Result<StateRead, StoreError>> {
            assert!(length.is_some_and(|length| length <= SMALL), "it is read without memory");
            let bytes = vec![7; length.unwrap_or(0) as usize];
            let read = StateRead { size: Some(SIZE), chunk: Chunk { offset, bytes: bytes.into() } };
            Box::pin(async { Ok(read) })
        }

        fn write<'a>(
            &'a self,
            _: &'a str,
            _: &'a str,
            _: u64,
            _: Vec<Chunk>,
        ) -> BoxFuture<'a, Result<(), StoreError>> {
            unreachable!("nothing is written")
        }

        fn append<'a>(
            &'a self,
            _: &'a str,
            _: &'a str,
            _: Vec<u8>,
        ) -> BoxFuture<'a, Result<(), StoreError>> {
            unreachable!("nothing is appended")
        }

        fn read_appended<'a>(
            &'a self,
            _: &'a str,
            _: &'a str,
            _: u32,
        ) -> BoxFuture<'a, Result<Vec<u8>, StoreError>> {
            panic!("it is read without memory")
        }

        fn appended_bytes<'a>(
            &'a self,
            _: &'a str,
            _: &'a str,
            _: u32,
        ) -> BoxFuture<'a, Result<u64, StoreError>> {
            Box::pin(async { Ok(SIZE) })
        }

        fn clear_appended<'a>(
            &'a self,
            _: &'a str,
            _: &'a str,
        ) -> BoxFuture<'a, Result<(), StoreError>> {
            unreachable!("nothing is cleared")
        }
    }

    impl FileStore for Large {
        fn read_file<'a>(
            &'a self,
            _: &'a str,
        ) -> BoxFuture<'a, Result<Option<Vec<u8>>, StoreError>> {
            panic!("it is read without memory")
        }

        fn file_bytes<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Option<u64>, StoreError>> {
            Box::pin(async { Ok(Some(SIZE)) })
        }

        fn write_file<'a>(
            &'a self,
            _: &'a str,
            _: Vec<u8>,
        ) -> BoxFuture<'a, Result<(), StoreError>> {
            unreachable!("nothing is written")
        }
    }

    fn is_over<T>(result: Result<T, Failure>) -> bool {
        use faasm_bridge::wire::FailureCode;
        matches!(result, Err(Failure::Told { code: FailureCode::OverBudget, .. }))
    }

    #[tokio::test]
    async fn a_read_without_memory_for_it_is_not_made() {
        let budget = Budget::new(Bounds { relay: u64::MAX, user: SIZE - 1 });
        let account = budget.user("ada");
        let mut brought = nothing(&account);
        assert!(is_over(state(&Large, "ada", ("k", 0, SIZE), &mut brought).await));
        assert!(is_over(list(&Large, "ada", ("k", 1), &mut brought).await));
        assert!(is_over(file(&Large, "f", &mut brought).await));
        let read = state(&Large, "ada", ("k", SIZE - 9, SIZE), &mut brought).await.ok().unwrap();
        assert_eq!((read.size, brought.bytes()), (Some(SIZE), SMALL));
        drop(brought);
        assert_eq!(budget.used(), 0);
    }
}

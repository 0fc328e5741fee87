//! State in a worker process: a copy of each value that its functions used, with the size given by the first use.
//!
//! Where Faasm throws a C++ exception here, the worker ends: those are the errors of every method.

use crate::lock;
use faasm_bridge::state::Chunk;
use faasm_relay::store::{StateStore, StoreError};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

/// Largest value of a worker: its functions pass a size as a signed 32-bit integer.
const MAX_BYTES: u32 = i32::MAX as u32;

/// Why an operation was not performed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Problem {
    /// Faasm throws an exception.
    Throws(String),
    /// Faasm performs it, but the store behind this stand-in cannot.
    CannotStandIn(String),
}

fn throws<T>(why: impl Into<String>) -> Result<T, Problem> {
    Err(Problem::Throws(why.into()))
}

/// The copies of one worker process.
pub(crate) struct LocalState {
    global: Arc<dyn StateStore>,
    values: Mutex<HashMap<(String, String), Value>>,
}

#[derive(Default)]
struct Value {
    /// Zero where nothing was read or written; empty without a size.
    bytes: Vec<u8>,
    has_size: bool,
    is_pulled: bool,
    is_dirty: bool,
}

impl Value {
    fn sized(size: u32) -> Self {
        Self { bytes: vec![0; size as usize], has_size: true, ..Self::default() }
    }

    fn check_size(&self, key: &str) -> Result<(), Problem> {
        if self.has_size { Ok(()) } else { throws(format!("no size set for state `{key}`")) }
    }
}

impl LocalState {
    pub(crate) fn new(global: Arc<dyn StateStore>) -> Self {
        Self { global, values: Mutex::default() }
    }

    /// Runs `work` on the copy, which is created if missing: an existing copy keeps its size, a new one gets `size`.
    fn with<T>(
        &self,
        user: &str,
        key: &str,
        size: Option<u32>,
        work: impl FnOnce(&mut Value) -> Result<T, Problem>,
    ) -> Result<T, Problem> {
        if key.is_empty() {
            return throws("state with an empty key");
        }
        let mut values = lock(&self.values);
        let name = (user.to_owned(), key.to_owned());
        let value = match (values.get_mut(&name), size) {
            (Some(value), _) => value,
            (None, Some(size)) if size == 0 || size > MAX_BYTES => {
                return throws(format!("state `{key}` with size {}", size as i32));
            }
            (None, size) => {
                values.entry(name).or_insert(size.map_or_else(Value::default, Value::sized))
            }
        };
        work(value)
    }

    /// Reads the global value, if it exists, into the copy.
    async fn fetch(&self, user: &str, key: &str) -> Result<(), Problem> {
        let bytes = self.global_value(user, key).await?;
        self.with(user, key, None, |value| {
            let Some(bytes) = bytes else {
                value.is_pulled = true;
                return Ok(());
            };
            let (here, there) = (value.bytes.len(), bytes.len());
            let Some(target) = value.bytes.get_mut(..there) else {
                return throws(format!("state `{key}` has {there} bytes, and {here} here"));
            };
            target.copy_from_slice(&bytes);
            value.is_pulled = true;
            Ok(())
        })
    }

    async fn global_value(&self, user: &str, key: &str) -> Result<Option<Vec<u8>>, Problem> {
        let read = self.global.read(user, key, 0, None).await.map_err(thrown)?;
        if read.size.is_none() && self.has_list(user, key).await? {
            return wrong_type(key);
        }
        Ok(read.size.map(|_| read.chunk.bytes.into()))
    }

    /// Whether the key belongs to a list. A list with only empty elements is not recognised.
    async fn has_list(&self, user: &str, key: &str) -> Result<bool, Problem> {
        match self.global.read_appended(user, key, u32::MAX).await {
            Ok(elements) => Ok(!elements.is_empty()),
            // A value was written between the two reads.
            Err(StoreError::OtherKind { .. }) => Ok(false),
            Err(error) => Err(thrown(error)),
        }
    }

    /// Rejects the key of a value. Needed because the store keeps lists separate from values, so it would accept the
    /// key.
    async fn check_no_value(&self, user: &str, key: &str) -> Result<(), Problem> {
        match self.global.read(user, key, 0, Some(0)).await {
            Ok(read) if read.size.is_some() => wrong_type(key),
            _ => Ok(()),
        }
    }

    /// Size of the copy, or of the global value if there is no copy.
    pub(crate) async fn size(&self, user: &str, key: &str) -> Result<u32, Problem> {
        let name = (user.to_owned(), key.to_owned());
        let here = lock(&self.values).get(&name).map(|value| value.bytes.len());
        let size = match here {
            Some(size) => size,
            None => {
                let read = self.global.read(user, key, 0, Some(0)).await.map_err(thrown)?;
                if read.size.is_none() && self.has_list(user, key).await? {
                    return wrong_type(key);
                }
                usize::try_from(read.size.unwrap_or(0)).unwrap_or(usize::MAX)
            }
        };
        Ok(u32::try_from(size).unwrap_or(u32::MAX))
    }

    /// The whole copy, pulled if it never was.
    pub(crate) async fn read(&self, user: &str, key: &str, size: u32) -> Result<Vec<u8>, Problem> {
        let is_pulled = self.with(user, key, Some(size), |value| {
            value.check_size(key)?;
            Ok(value.is_pulled)
        })?;
        if !is_pulled {
            self.fetch(user, key).await?;
        }
        self.with(user, key, None, |value| Ok(value.bytes.clone()))
    }

    /// Writes to the copy what `source` returns for the copy's size.
    pub(crate) fn write(
        &self,
        user: &str,
        key: &str,
        size: u32,
        source: impl FnOnce(u32) -> Result<Vec<u8>, Problem>,
    ) -> Result<(), Problem> {
        self.with(user, key, Some(size), |value| {
            value.check_size(key)?;
            let size = u32::try_from(value.bytes.len()).unwrap_or(u32::MAX);
            value.bytes = source(size)?;
            (value.is_dirty, value.is_pulled) = (true, true);
            Ok(())
        })
    }

    /// Writes the copy to the global tier, if it is dirty.
    pub(crate) async fn push(&self, user: &str, key: &str) -> Result<(), Problem> {
        let bytes = self.with(user, key, None, |value| {
            value.check_size(key)?;
            let is_dirty = std::mem::take(&mut value.is_dirty);
            Ok(is_dirty.then(|| value.bytes.clone()))
        })?;
        let Some(bytes) = bytes else { return Ok(()) };
        let size = bytes.len() as u64;
        let chunks = vec![Chunk { offset: 0, bytes: bytes.into() }];
        match self.global.write(user, key, size, chunks).await {
            Ok(()) => Ok(()),
            // Redis accepts a value for any key.
            Err(error @ (StoreError::State(_) | StoreError::OtherKind { .. })) => {
                Err(Problem::CannotStandIn(error.to_string()))
            }
            Err(error) => Err(thrown(error)),
        }
    }

    /// Reads the global value unconditionally.
    pub(crate) async fn pull(&self, user: &str, key: &str, size: u32) -> Result<(), Problem> {
        self.with(user, key, Some(size), |value| value.check_size(key))?;
        self.fetch(user, key).await
    }

    pub(crate) async fn append(
        &self,
        user: &str,
        key: &str,
        element: Vec<u8>,
    ) -> Result<(), Problem> {
        self.with(user, key, None, |_| Ok(()))?;
        self.check_no_value(user, key).await?;
        self.global.append(user, key, element).await.map_err(thrown)
    }

    /// The first `count` elements, or all if `count` is 0, concatenated; at most `size` bytes.
    pub(crate) async fn read_appended(
        &self,
        user: &str,
        key: &str,
        size: u32,
        count: i32,
    ) -> Result<Vec<u8>, Problem> {
        self.with(user, key, Some(size), |_| Ok(()))?;
        // LRANGE 0 COUNT-1, where -1 is the last element.
        let count = u32::try_from(count).ok().filter(|count| *count > 0).unwrap_or(u32::MAX);
        self.check_no_value(user, key).await?;
        let bytes = self.global.read_appended(user, key, count).await.map_err(thrown)?;
        if bytes.len() > size as usize {
            let there = bytes.len();
            return throws(format!(
                "list `{key}` has {there} bytes, more than the buffer's {size}"
            ));
        }
        Ok(bytes)
    }
}

fn thrown(error: StoreError) -> Problem {
    Problem::Throws(error.to_string())
}

fn wrong_type<T>(key: &str) -> Result<T, Problem> {
    throws(format!("WRONGTYPE Operation against a key holding the wrong kind of value: `{key}`"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use faasm_relay::store::StateRead;
    use futures_util::future::BoxFuture;

    /// A store in which a value appears right after it was read as missing.
    struct Sudden;

    type Done<'a, T> = BoxFuture<'a, Result<T, StoreError>>;

    impl StateStore for Sudden {
        fn read<'a>(
            &'a self,
            _: &'a str,
            _: &'a str,
            offset: u64,
            _: Option<u64>,
        ) -> Done<'a, StateRead> {
            let chunk = Chunk { offset, bytes: Vec::new().into() };
            Box::pin(async { Ok(StateRead { size: None, chunk }) })
        }

        fn write<'a>(&'a self, _: &'a str, _: &'a str, _: u64, _: Vec<Chunk>) -> Done<'a, ()> {
            Box::pin(async { Ok(()) })
        }

        fn append<'a>(&'a self, _: &'a str, _: &'a str, _: Vec<u8>) -> Done<'a, ()> {
            Box::pin(async { Ok(()) })
        }

        fn read_appended<'a>(&'a self, _: &'a str, key: &'a str, _: u32) -> Done<'a, Vec<u8>> {
            Box::pin(async { Err(StoreError::OtherKind { key: key.to_owned(), is: "a value" }) })
        }

        fn clear_appended<'a>(&'a self, _: &'a str, _: &'a str) -> Done<'a, ()> {
            Box::pin(async { Ok(()) })
        }
    }

    #[tokio::test]
    async fn a_value_that_is_written_while_it_is_looked_for_is_missing() {
        let state = LocalState::new(Arc::new(Sudden));
        assert_eq!(state.size("u", "k").await, Ok(0));
        assert_eq!(state.pull("u", "k", 2).await, Ok(()));
        assert_eq!(state.read("u", "k", 2).await, Ok(vec![0, 0]));
    }
}

//! Tracks which functions the cluster has.
//!
//! A worker that has to run a function it cannot load exits, with all calls that run on it. So the relay rejects calls
//! of functions that the store does not have. Guarded functions check chained names in the same way: each stored
//! function has a marker in its user's state ([`function_key`]).

use super::lock;
use crate::store::{FunctionStore, StateStore, StoreError};
use faasm_asyncify::faasm::{built_for, enterable};
use faasm_bridge::faasm::function_key;
use faasm_bridge::state::Chunk;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex};

/// Most cached functions; beyond that the cache is cleared.
const MAX_KNOWN: usize = 65_536;

/// The value of a marker.
const MARK: &[u8] = b"1";

/// Function pointers of one function.
#[derive(Debug, Default)]
pub(super) struct Pointers {
    /// Pointers that a worker can safely call.
    enterable: BTreeSet<u32>,
    /// The dispatcher entry of a function built for Faasm, to be entered in place of other pointers.
    entry: Option<u32>,
}

impl Pointers {
    fn of(wasm: &[u8]) -> Self {
        let enterable = enterable(wasm).unwrap_or_default();
        let entry = built_for(wasm).and_then(|built| built.pointer_entry);
        // The function controls this value, so it is checked.
        let entry = entry.filter(|entry| enterable.contains(entry));
        Self { enterable, entry }
    }

    pub(super) fn has(&self, pointer: u32) -> bool {
        self.enterable.contains(&pointer)
    }

    pub(super) fn entry(&self) -> Option<u32> {
        self.entry
    }
}

/// Functions that were uploaded through this relay, or through another relay with the same store.
pub(super) struct Functions {
    store: Arc<dyn FunctionStore>,
    /// The cluster's state, where workers see the markers.
    state: Arc<dyn StateStore>,
    /// Functions that are stored and marked. Functions may be replaced but are never removed.
    known: Mutex<HashSet<(String, String)>>,
    /// By content hash.
    pointers: Mutex<HashMap<String, Arc<Pointers>>>,
}

impl Functions {
    pub(super) fn new(store: Arc<dyn FunctionStore>, state: Arc<dyn StateStore>) -> Self {
        Self { store, state, known: Mutex::default(), pointers: Mutex::default() }
    }

    pub(super) fn store(&self) -> &dyn FunctionStore {
        &*self.store
    }

    /// Whether the function is stored. On first lookup this sets its marker, because older relays did not.
    ///
    /// # Errors
    /// The store cannot be read, or the marker cannot be written.
    pub(super) async fn has(&self, user: &str, function: &str) -> Result<bool, StoreError> {
        let name = (user.to_owned(), function.to_owned());
        if lock(&self.known).contains(&name) {
            return Ok(true);
        }
        if self.store.integrity(user, function).await?.is_none() {
            return Ok(false);
        }
        self.mark(user, function).await?;
        let mut known = lock(&self.known);
        if known.len() >= MAX_KNOWN {
            known.clear();
        }
        known.insert(name);
        Ok(true)
    }

    /// The function's pointers; none if it is not stored.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(super) async fn pointers(
        &self,
        user: &str,
        function: &str,
    ) -> Result<Arc<Pointers>, StoreError> {
        let Some(integrity) = self.store.integrity(user, function).await? else {
            return Ok(Arc::default());
        };
        if let Some(known) = lock(&self.pointers).get(&integrity) {
            return Ok(Arc::clone(known));
        }
        let Some(stored) = self.store.get(user, function).await? else {
            return Ok(Arc::default());
        };
        let pointers = Arc::new(Pointers::of(&stored.wasm));
        let mut known = lock(&self.pointers);
        if known.len() >= MAX_KNOWN {
            known.clear();
        }
        known.insert(stored.integrity, Arc::clone(&pointers));
        Ok(pointers)
    }

    /// Sets the marker, so that guarded functions of the user can chain this one.
    ///
    /// # Errors
    /// The marker cannot be written.
    pub(super) async fn mark(&self, user: &str, function: &str) -> Result<(), StoreError> {
        let (chunk, size) = (Chunk { offset: 0, bytes: MARK.to_vec().into() }, MARK.len() as u64);
        match self.state.write(user, &function_key(function), size, vec![chunk]).await {
            // Such a user has no state in this cluster, so their guarded functions cannot chain functions by name.
            Err(error @ StoreError::UserName { .. }) => {
                tracing::warn!(%error, user, function, "guarded functions cannot chain this one");
                Ok(())
            }
            marked => marked,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{StoredFunction, Stores};

    #[tokio::test]
    async fn a_stored_function_is_there_and_has_its_mark() {
        let stores = Stores::in_memory().unwrap();
        let functions = Functions::new(Arc::clone(&stores.functions), Arc::clone(&stores.state));
        assert!(!functions.has("ada", "f").await.unwrap());
        let stored = StoredFunction { integrity: "sha256-x".into(), wasm: vec![1] };
        stores.functions.put("ada", "f", stored).await.unwrap();
        assert!(functions.has("ada", "f").await.unwrap());
        assert!(functions.has("ada", "f").await.unwrap(), "also when it is remembered");
        assert!(!functions.has("bob", "f").await.unwrap());
        let mark = stores.state.read("ada", ".faasm.function.f", 0, None).await.unwrap();
        assert_eq!((mark.size, &mark.chunk.bytes[..]), (Some(1), MARK));
    }
}

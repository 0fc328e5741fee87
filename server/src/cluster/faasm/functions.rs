//! Which functions the cluster has.
//!
//! A worker ends, with all that runs on it, when it is to run a function that it cannot load. So a call of a function that the
//! store does not have is refused before it is sent. A guarded function that chains by name looks for the same in the state of
//! its user, where each stored function has a mark ([`function_key`]).

use super::lock;
use crate::store::{FunctionStore, StateStore, StoreError};
use faasm_asyncify::faasm::{built_for, enterable};
use faasm_bridge::faasm::function_key;
use faasm_bridge::state::Chunk;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex};

/// Most functions that are remembered; beyond that all are looked up again.
const MAX_KNOWN: usize = 65_536;

/// The value of a mark.
const MARK: &[u8] = b"1";

/// Function pointers of one function.
#[derive(Debug, Default)]
pub(super) struct Pointers {
    /// Those that a worker can enter without harm.
    enterable: BTreeSet<u32>,
    /// The one to enter in place of others, of a function that is built for Faasm and carries out what they return.
    entry: Option<u32>,
}

impl Pointers {
    fn of(wasm: &[u8]) -> Self {
        let enterable = enterable(wasm).unwrap_or_default();
        let entry = built_for(wasm).and_then(|built| built.pointer_entry);
        // A function can say anything of itself.
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

/// Functions that were uploaded through this relay, or another one with the same store.
pub(super) struct Functions {
    store: Arc<dyn FunctionStore>,
    /// Where workers see it.
    state: Arc<dyn StateStore>,
    /// Found before, and marked. Functions are replaced and never removed.
    known: Mutex<HashSet<(String, String)>>,
    /// By the hash of a function.
    pointers: Mutex<HashMap<String, Arc<Pointers>>>,
}

impl Functions {
    pub(super) fn new(store: Arc<dyn FunctionStore>, state: Arc<dyn StateStore>) -> Self {
        Self { store, state, known: Mutex::default(), pointers: Mutex::default() }
    }

    pub(super) fn store(&self) -> &dyn FunctionStore {
        &*self.store
    }

    /// Whether the function is there; one that is found for the first time gets its mark, which relays of before did not set.
    ///
    /// # Errors
    /// When the store cannot be asked, or the mark not be set.
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

    /// What is known of a function's pointers; nothing of one that is not there.
    ///
    /// # Errors
    /// When the store cannot be asked.
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

    /// Lets guarded functions of the user chain this one.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) async fn mark(&self, user: &str, function: &str) -> Result<(), StoreError> {
        let (chunk, size) = (Chunk { offset: 0, bytes: MARK.to_vec().into() }, MARK.len() as u64);
        match self.state.write(user, &function_key(function), size, vec![chunk]).await {
            // Such a user has no state in this cluster, so their guarded functions find nothing that they could chain.
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

//! Makes imported memories and tables the module's own.
//!
//! Some linkers leave memory and table to the embedder, so that several modules can share them:
//!
//! ```wat
//! (import "env" "memory" (memory 2 16))                         ;; before
//! (memory 2 16)                                                 ;; after
//!
//! (import "env" "__indirect_function_table" (table 4 funcref))  ;; before
//! (table 4 funcref)                                             ;; after
//! ```
//!
//! Why it is safe: a function is instantiated alone, so nothing else could share the imported memory or table, and a
//! host would have created them with the same limits, filled with zeros and null references. Imports come first in an
//! index space, so no index changes. The host accesses both through the exports that [`crate::normalise()`] adds.

use walrus::{ImportKind, Module};

/// Makes every imported memory and table the module's own.
pub(crate) fn own(module: &mut Module) {
    let imported: Vec<_> =
        module.imports.iter().map(|import| (import.id(), import.kind.clone())).collect();
    for (import, kind) in imported {
        match kind {
            ImportKind::Memory(memory) => module.memories.get_mut(memory).import = None,
            ImportKind::Table(table) => module.tables.get_mut(table).import = None,
            _ => continue,
        }
        module.imports.delete(import);
    }
}

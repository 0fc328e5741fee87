//! The host-interface table: every import a function can have, in one place.
//!
//! [`HostCall`] has one variant per row of `table.rs`. Consumers match on it exhaustively, so a new row does not compile
//! until the guest kernel says what it means. Whole groups of imports that only a cluster has are [`Family`] rows,
//! matched by name pattern.

mod family;
mod table;

pub use family::{FAMILIES, Family};
pub use table::HostCall;

use serde::{Deserialize, Serialize};
use std::fmt;

/// A WebAssembly number type, as far as the host interface uses them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValType {
    I32,
    I64,
}

/// What a host call gives back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Returns {
    Nothing,
    I32,
    /// Toolchains disagree: some declare an `i32` result, some none. Both are accepted; the module's own import type
    /// decides.
    I32OrNothing,
}

/// Which generation of toolchain imports a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Era {
    /// The 2019/20 toolchain: `main` as entry, `env.__syscallN`.
    Legacy,
    /// 2021 onward: a WASI command with `_start`.
    Current,
    /// Both of them.
    Any,
}

/// Whether a call can keep the function waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suspends {
    Never,
    /// Can wait, and often does not: what it asks for may already be here.
    May,
}

/// Where a call can be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Available {
    Everywhere,
    /// Only inside a Faasm cluster.
    Cluster,
}

/// Whether the guest kernel implements a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Ready,
    /// Declared in its final shape, not implemented; the text says why.
    Planned(&'static str),
}

/// Everything the table says about one row.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Import module, `env` or `wasi_snapshot_preview1`.
    pub module: &'static str,
    /// Import name.
    pub name: &'static str,
    pub params: &'static [ValType],
    pub returns: Returns,
    pub era: Era,
    pub suspends: Suspends,
    pub available: Available,
    pub status: Status,
    /// One line for `inspect` and the generated documentation.
    pub summary: &'static str,
}

impl Row {
    /// Whether an import of this type can be bound to the row.
    pub fn accepts(&self, params: &[ValType], results: &[ValType]) -> bool {
        let result_fits = match self.returns {
            Returns::Nothing => results.is_empty(),
            Returns::I32 => results == [ValType::I32],
            Returns::I32OrNothing => results.is_empty() || results == [ValType::I32],
        };
        result_fits && params == self.params
    }

    /// `module.name`, as messages show it.
    pub fn import(&self) -> String {
        format!("{}.{}", self.module, self.name)
    }
}

impl fmt::Display for HostCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let row = self.row();
        write!(f, "{}.{}", row.module, row.name)
    }
}

/// How an import of a function module is to be treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImportClass {
    /// A row of the table.
    Known(HostCall),
    /// One of the rows by pattern, which only a cluster answers.
    Family(&'static Family),
    /// Nothing we know: calling it traps with its name.
    Unknown,
}

/// Finds the row or family for an import.
pub fn classify(module: &str, name: &str) -> ImportClass {
    if let Some(call) = HostCall::by_import(module, name) {
        return ImportClass::Known(call);
    }
    match FAMILIES.iter().find(|family| family.matches(module, name)) {
        Some(family) => ImportClass::Family(family),
        None => ImportClass::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique_and_found() {
        let mut seen = BTreeSet::new();
        for call in HostCall::ALL {
            let row = call.row();
            assert!(seen.insert((row.module, row.name)), "{call} appears twice");
            assert_eq!(classify(row.module, row.name), ImportClass::Known(*call));
        }
    }

    #[test]
    fn indices_are_positions() {
        for (position, call) in HostCall::ALL.iter().enumerate() {
            assert_eq!(call.index(), position as u32);
            assert_eq!(HostCall::from_index(position as u32), Some(*call));
        }
        assert_eq!(HostCall::from_index(HostCall::ALL.len() as u32), None);
    }

    #[test]
    fn both_result_forms_of_state_calls_are_accepted() {
        let row = HostCall::PushState.row();
        assert!(row.accepts(&[ValType::I32], &[]));
        assert!(row.accepts(&[ValType::I32], &[ValType::I32]));
        assert!(!row.accepts(&[], &[]));
    }

    #[test]
    fn cluster_families_match_by_pattern() {
        for (module, name) in [
            ("env", "__faasm_s3_get_num_keys"),
            ("env", "MPI_Init"),
            ("env", "__kmpc_fork_call"),
            ("env", "omp_get_num_threads"),
            ("env", "pthread_create"),
            ("env", "dlopen"),
        ] {
            assert!(matches!(classify(module, name), ImportClass::Family(_)), "{module}.{name}");
        }
        assert_eq!(classify("env", "mystery"), ImportClass::Unknown);
        assert_eq!(classify("other", "MPI_Init"), ImportClass::Unknown);
    }
}

//! The host-interface table: every import a function can have, in one place.
//!
//! [`HostCall`] has one variant per row of `table.rs`. Rows are in groups, each with an enum of its own; the guest kernel matches on
//! those exhaustively, so a new row does not compile until the kernel says what it means. Whole groups of imports that only a cluster has are [`Family`] rows,
//! matched by name pattern.

mod family;
mod table;

pub use family::{FAMILIES, Family};
pub use table::HostCall;
pub(crate) use table::{
    CoreCall, Grouped, LegacyCall, LibcCall, OpenMpCall, StateCall, ThreadCall, WasiCall,
};

use crate::guest::MAX_SHARED;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::ops::RangeInclusive;

/// A WebAssembly number type, as far as the host interface uses them. All parameters are integers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValType {
    I32,
    I64,
    F64,
}

impl ValType {
    /// The name in WebAssembly's text format.
    pub fn name(self) -> &'static str {
        match self {
            ValType::I32 => "i32",
            ValType::I64 => "i64",
            ValType::F64 => "f64",
        }
    }
}

/// The result type of a host call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Returns {
    Nothing,
    I32,
    /// Toolchains disagree: some declare an `i32` result, others no result. Both are accepted; the module's own import
    /// type decides.
    I32OrNothing,
    /// Only for calls that never wait; see [`Guest::number`](crate::guest::Guest::number).
    F64,
}

/// Which generation of toolchain imports a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Era {
    /// The 2019/20 toolchain: `main` as entry, `env.__syscallN`.
    Legacy,
    /// 2021 onward: a WASI command with `_start`.
    Current,
    /// Both generations.
    Any,
}

/// Whether a call can suspend the function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suspends {
    Never,
    /// May wait; it does not if the result is already on this host.
    May,
    /// Does not wait itself, but calls a function of the guest, which may.
    Calls,
}

/// Where a call is implemented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Available {
    Everywhere,
    /// Only in a Faasm cluster.
    Cluster,
}

/// Whether the guest kernel implements a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Ready,
    /// Declared with its final signature, not implemented; the text is the reason.
    Planned(&'static str),
}

/// Everything the table says about one row, except its summary.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Import module, `env` or `wasi_snapshot_preview1`.
    pub module: &'static str,
    /// Import name.
    pub name: &'static str,
    /// All parameters, including those of the longer signature.
    pub params: &'static [ValType],
    /// Number of parameters in every signature; a signature has either all of the others or none.
    pub required: usize,
    pub returns: Returns,
    pub era: Era,
    pub suspends: Suspends,
    pub available: Available,
    pub status: Status,
}

impl Row {
    /// Whether an import of this type can be bound to the row.
    pub fn accepts(&self, params: &[ValType], results: &[ValType]) -> bool {
        let result_fits = match self.returns {
            Returns::Nothing => results.is_empty(),
            Returns::I32 => results == [ValType::I32],
            Returns::I32OrNothing => results.is_empty() || results == [ValType::I32],
            Returns::F64 => results == [ValType::F64],
        };
        result_fits && (params == self.params || params == &self.params[..self.required])
    }

    /// `module.name`, for messages.
    pub fn import(&self) -> String {
        format!("{}.{}", self.module, self.name)
    }
}

impl HostCall {
    /// For a call that calls functions of the guest: how many arguments they have, all of them `i32`.
    pub fn calls_with(self) -> Option<RangeInclusive<u32>> {
        match self {
            // Two pointers to the thread's number, and the shared variables.
            HostCall::KmpcForkCall => Some(2..=2 + MAX_SHARED),
            HostCall::PthreadOnce => Some(0..=0),
            _ => None,
        }
    }

    /// Whether the host may take memory at the end of the guest's for this call, in addition to calls of the guest's
    /// own `malloc` if `has_malloc`.
    pub fn takes_memory(self, has_malloc: bool) -> bool {
        use HostCall as C;
        match self {
            C::AwaitCallOutput | C::ReadStatePtr | C::ReadStateOffsetPtr | C::KmpcForkCall => {
                !has_malloc
            }
            // System calls 45, 223 and 192 of the older toolchain.
            C::Syscall1 | C::Syscall6 => true,
            C::Sbrk | C::Mmap => true,
            // Not for C++ exceptions: throwing one ends the run, so its memory is never read.
            _ => false,
        }
    }
}

impl fmt::Display for HostCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let row = self.row();
        write!(f, "{}.{}", row.module, row.name)
    }
}

/// Classification of an import of a function module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImportClass {
    /// A row of the table.
    Known(HostCall),
    /// A row by pattern, which only a cluster implements.
    Family(&'static Family),
    /// Not in the table: calling it traps with its name.
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
    fn rows_that_call_the_guest_have_argument_counts() {
        for call in HostCall::ALL {
            let calls = call.row().suspends == Suspends::Calls;
            assert_eq!(call.calls_with().is_some(), calls, "{call}");
        }
    }

    #[test]
    fn toolchains_have_names_and_signatures_of_their_own() {
        let i32s = |count| vec![ValType::I32; count];
        assert_eq!(HostCall::by_import("env", "__wasi_fd_read"), Some(HostCall::FdRead));
        assert_eq!(HostCall::by_import("env", "__wasi_fd_dup"), Some(HostCall::WasiFdDup));
        let name = HostCall::by_import("env", "__faasm_chain_function");
        assert_eq!(name, Some(HostCall::ChainName));
        for call in HostCall::ALL {
            let Some(alias) = call.alias() else { continue };
            let (module, name) = alias.split_once('.').unwrap();
            assert_eq!(HostCall::by_import(module, name), Some(*call));
        }
        let row = HostCall::ReadState.row();
        assert!(row.accepts(&i32s(3), &i32s(1)) && row.accepts(&i32s(4), &[]));
        assert!(!row.accepts(&i32s(2), &[]) && !row.accepts(&i32s(5), &[]));
        let row = HostCall::Abort.row();
        assert!(row.accepts(&[], &[]) && row.accepts(&i32s(4), &[]) && !row.accepts(&i32s(2), &[]));
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
            ("env", "__kmpc_omp_task"),
            ("env", "omp_get_cancellation"),
            ("env", "pthread_create"),
            ("env", "dlopen"),
        ] {
            assert!(matches!(classify(module, name), ImportClass::Family(_)), "{module}.{name}");
        }
        assert_eq!(classify("env", "mystery"), ImportClass::Unknown);
        assert_eq!(classify("other", "MPI_Init"), ImportClass::Unknown);
    }
}

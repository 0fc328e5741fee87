//! Decides what replaces each import in a Faasm cluster whose workers run WAMR.
//!
//! Guarded functions keep imports that WAMR itself checks, or that take no pointers and throw nothing; all others trap.
//! Functions built for Faasm keep all imports except those known to fail.

use faasm_bridge::host::{Family, HostCall, ImportClass};

/// An import that a function for Faasm must not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsupported {
    /// `module.name`.
    pub import: String,
    /// What is missing, and what to do instead.
    pub reason: &'static str,
}

/// Why a Faasm cluster does not support a call, if no artefact can replace it.
pub(super) fn missing(
    class: ImportClass,
    name: &str,
    allow_lost_updates: bool,
) -> Option<&'static str> {
    use HostCall as C;
    let call = match class {
        ImportClass::Known(call) => call,
        ImportClass::Family(Family { name: "dynamic linking", .. }) => {
            return Some("Faasm's WAMR cannot load further modules: link them into the function");
        }
        ImportClass::Unknown if name == "shm_open" => {
            return Some("Faasm's WAMR has no shared memory: use state");
        }
        _ => return None,
    };
    Some(match call {
        C::LockStateGlobal | C::UnlockStateGlobal => {
            "Faasm has no locks across the cluster: append to a list, or let one function own the value"
        }
        C::LockStateRead | C::LockStateWrite | C::UnlockStateRead | C::UnlockStateWrite => {
            "Faasm's WAMR has no locks of state: let one function own the value"
        }
        C::ReadStatePtr | C::ReadStateOffsetPtr => {
            "Faasm's WAMR cannot map state into memory: copy it with __faasm_read_state"
        }
        C::PushStatePartial | C::PushStatePartialMask if !allow_lost_updates => {
            "Faasm's WAMR pushes whole values only, which overwrites concurrent pushes: push with __faasm_push_state, or \
             build with --allow-lost-updates"
        }
        C::SnapshotMemory | C::RestoreMemory => {
            "Faasm's WAMR takes no snapshots on request: keep the data in state"
        }
        C::WriteStateFromFile => {
            "Faasm's WAMR cannot write state from files: read the file, and write it with __faasm_write_state"
        }
        C::HostInterfaceTest => {
            "it is a hook for Faasm's own tests, which terminates a worker: remove the call"
        }
        C::CxaAllocateException | C::CxaThrow => {
            "Faasm's WAMR has no C++ exceptions: build with -fno-exceptions"
        }
        _ => return None,
    })
}

/// Whether a guarded function may call the host directly.
pub(super) fn is_harmless(module: &str, class: ImportClass) -> bool {
    use HostCall as C;
    if module.starts_with("wasi_") {
        return matches!(class, ImportClass::Known(_));
    }
    // These take only numbers, or do not dereference their pointers.
    matches!(
        class,
        ImportClass::Known(
            C::Getpid
                | C::Signal
                | C::PthreadMutexInit
                | C::PthreadMutexDestroy
                | C::PthreadMutexLock
                | C::PthreadMutexUnlock
                | C::PthreadMutexattrInit
                | C::PthreadMutexattrDestroy
                | C::PthreadCondInit
                | C::PthreadCondDestroy
                | C::PthreadCondSignal
                | C::PthreadCondBroadcast
                | C::PthreadEqual
                | C::PthreadOnce
        )
    )
}

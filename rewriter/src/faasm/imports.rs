//! What becomes of each import in a Faasm cluster whose workers run WAMR.
//!
//! Guarded functions keep what is known to be checked by WAMR itself or to take no pointers and throw nothing; everything else
//! traps. Functions built for Faasm keep everything but what is known to fail.

use faasm_bridge::host::{Family, HostCall, ImportClass};

/// An import that a function for Faasm cannot have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsupported {
    /// `module.name`.
    pub import: String,
    /// What is missing, and what to do instead.
    pub reason: &'static str,
}

/// Why a Faasm cluster does not answer a call, where it does not, and no artefact can do without.
pub(super) fn missing(
    class: ImportClass,
    name: &str,
    allow_lost_updates: bool,
) -> Option<&'static str> {
    use HostCall as C;
    let call = match class {
        ImportClass::Known(call) => call,
        ImportClass::Family(Family { name: "dynamic linking", .. }) => {
            return Some("Faasm's WAMR loads no further modules: link them into the function");
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
            "Faasm's WAMR maps no state into memory: copy it with __faasm_read_state"
        }
        C::PushStatePartial | C::PushStatePartialMask if !allow_lost_updates => {
            "Faasm's WAMR pushes whole values only, which undoes what others push meanwhile: push with __faasm_push_state, or build \
             with --allow-lost-updates"
        }
        C::SnapshotMemory | C::RestoreMemory => {
            "Faasm's WAMR takes no snapshots on request: keep what is needed in state"
        }
        C::WriteStateFromFile => {
            "Faasm's WAMR writes no state from files: read the file, and write it with __faasm_write_state"
        }
        C::HostInterfaceTest => {
            "it is a hook for Faasm's own tests, which ends a worker: leave it out"
        }
        C::CxaAllocateException | C::CxaThrow => {
            "Faasm's WAMR has no C++ exceptions: build with -fno-exceptions"
        }
        _ => return None,
    })
}

/// Whether a guarded function may call the host as it is.
pub(super) fn is_harmless(module: &str, class: ImportClass) -> bool {
    use HostCall as C;
    if module.starts_with("wasi_") {
        return matches!(class, ImportClass::Known(_));
    }
    // They take numbers only, or do not look at what a pointer points to.
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

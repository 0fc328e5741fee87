//! Determines which party should have defined an import that is not in the host interface, and so what to do about it.

use serde::Serialize;
use std::collections::HashSet;
use std::sync::LazyLock;

/// The party that defines a function which was left as an import.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Provider {
    /// Faasm's host, which has more calls than this version.
    Faasm,
    /// The C or C++ library, its compiler's runtime, or the system below it.
    Library,
    /// The program itself: an object file or a library of its own that was never linked.
    Program,
}

impl Provider {
    /// Classifies by the prefixes and names of each; a name of neither Faasm nor a C library is the program's.
    pub fn of(module: &str, name: &str) -> Provider {
        let begins = |prefixes: &[&str]| prefixes.iter().any(|prefix| name.starts_with(prefix));
        if module.starts_with("wasi_") {
            return Provider::Library;
        }
        if begins(FAASM) {
            return Provider::Faasm;
        }
        if begins(LIBRARY) || is_support(name) || LIBC.contains(name) {
            return Provider::Library;
        }
        Provider::Program
    }

    /// A short description of an import of this kind.
    pub(crate) fn summary(self) -> &'static str {
        match self {
            Provider::Faasm => "a host call of Faasm that this version does not have",
            Provider::Library => "a function of the C or C++ library that was not linked",
            Provider::Program => "a function of the program that was not linked",
        }
    }

    /// What to do about such an import.
    pub(crate) fn advice(self) -> &'static str {
        match self {
            Provider::Faasm => "run the function in a Faasm cluster, or build it without this call",
            Provider::Library => {
                "link the library that defines it, or avoid the call if WASI does not have it (processes, users, \
                 terminals, signals)"
            }
            Provider::Program => "link what defines it, or remove the call",
        }
    }
}

/// Prefixes of Faasm's names: current and former host calls, OpenMP and MPI.
const FAASM: &[&str] = &["__faasm_", "__faasmp_", "_faasm_", "faasm", "__kmpc_", "omp_", "MPI_"];

/// Prefixes of libraries: system calls, C++ with `std` and operators `new` and `delete`, unwinding, threads, and the runtimes
/// of Emscripten and of math on wide numbers.
const LIBRARY: &[&str] = &[
    "__wasi_",
    "__syscall",
    "__sys_",
    "__libc_",
    "__cxa_",
    "__cxx",
    "__gxx_",
    "__wasm_",
    "__stdio_",
    "__std_",
    "_Unwind_",
    "_ZNS",
    "_ZNKS",
    "_ZSt",
    "_ZTIS",
    "_ZTVS",
    "_ZTVN10__cxxabiv1",
    "_Znw",
    "_Zna",
    "_Zdl",
    "_Zda",
    "pthread_",
    "sem_",
    "emscripten_",
    "_emscripten_",
    "__emscripten_",
];

/// Names of C, POSIX and their usual extensions, without those that begin with an underscore.
static LIBC: LazyLock<HashSet<&str>> =
    LazyLock::new(|| include_str!("libc.txt").split_whitespace().collect());

/// A name that is reserved for the implementation: of the compiler's runtime (`__multi3`), or inside a C library (`__towrite`).
fn is_support(name: &str) -> bool {
    name.strip_prefix("__").is_some_and(|rest| {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        !rest.is_empty() && rest.chars().all(plain)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_determine_the_provider() {
        for (name, provider) in [
            ("__faasm_snapshot_memory", Provider::Faasm),
            ("__faasmp_debug_copy", Provider::Faasm),
            ("__kmpc_dispatch_init_4", Provider::Faasm),
            ("omp_get_wtime", Provider::Faasm),
            ("strcpy", Provider::Library),
            ("fork", Provider::Library),
            ("getpwuid", Provider::Library),
            ("sqrtf", Provider::Library),
            ("__multi3", Provider::Library),
            ("__cxa_throw", Provider::Library),
            ("_ZNSt3__212basic_stringIcEC1Ev", Provider::Library),
            ("_ZNKSt9exception4whatEv", Provider::Library),
            ("_Znwm", Provider::Library),
            ("__syscall_getcwd", Provider::Library),
            ("emscripten_memcpy_big", Provider::Library),
            ("pthread_create", Provider::Library),
            ("mystery", Provider::Program),
            ("strcpy_fast", Provider::Program),
            ("_Z7computei", Provider::Program),
            ("_ZN4city5countEv", Provider::Program),
            ("__Init", Provider::Program),
            ("", Provider::Program),
        ] {
            assert_eq!(Provider::of("env", name), provider, "{name}");
        }
        assert_eq!(Provider::of("wasi_unstable", "anything"), Provider::Library);
        assert_eq!(Provider::of("geometry", "area"), Provider::Program);
    }

    #[test]
    fn the_list_of_the_c_library_is_sorted() {
        let names: Vec<&str> = include_str!("libc.txt").split_whitespace().collect();
        assert!(names.is_sorted() && names.len() > 1000);
    }
}

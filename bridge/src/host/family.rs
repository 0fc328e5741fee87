//! Rows by name pattern: groups of imports that only a cluster implements.

/// A group of imports of module `env` recognised by name.
#[derive(Debug, PartialEq, Eq)]
pub struct Family {
    /// Short name for messages, such as `MPI`.
    pub name: &'static str,
    /// Name prefixes that belong to the family.
    pub prefixes: &'static [&'static str],
    /// Whole names that belong to the family.
    pub names: &'static [&'static str],
    /// Purpose of the family.
    pub summary: &'static str,
}

impl Family {
    pub(super) fn matches(&self, module: &str, name: &str) -> bool {
        module == "env"
            && (self.prefixes.iter().any(|prefix| name.starts_with(prefix))
                || self.names.contains(&name))
    }
}

/// Every family, first match wins.
pub static FAMILIES: &[Family] = &[
    Family {
        name: "S3",
        prefixes: &["__faasm_s3_"],
        names: &[],
        summary: "object storage of the cluster",
    },
    Family {
        name: "MPI",
        prefixes: &["MPI_"],
        names: &[],
        summary: "message passing between the ranks of a cluster job",
    },
    Family {
        name: "OpenMP",
        prefixes: &["omp_", "__kmpc_"],
        names: &["__faasm_omp_get_thread_num"],
        summary: "tasks, teams, cancellation, and everything else that needs more than one thread",
    },
    Family {
        name: "pthreads",
        prefixes: &["pthread_", "sem_"],
        names: &[],
        summary: "creating and joining further POSIX threads, and semaphores",
    },
    Family {
        name: "dynamic linking",
        prefixes: &[],
        names: &["dlopen", "dlsym", "dlclose", "dlerror"],
        summary: "loading of further modules at run time",
    },
];

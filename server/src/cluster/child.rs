//! Checks and builds a function in a child process, which has a time limit and a memory limit.
//!
//! The child is this program with a hidden subcommand. Its protocol:
//!
//! ```text
//! arguments         the job and the memory limit in bytes
//! standard input    u64 length, the original; the pipe then stays open, and the child exits when it closes
//! standard output   0 and the job's result; or 1 and the reason why the original is rejected
//! ```
//!
//! The child limits its own memory, the parent limits the time. However the parent ends, its end of the pipe closes, so
//! no child outlives it.

use super::builds::BuildConfig;
use super::{ClusterError, MAX_FUNCTION_BYTES};
use super::{embedded, faasm};
use crate::budget::{Account, Kind, OverBudget};
use faasm_asyncify::Bounds;
use std::io::{self, Read, Write};
use std::path::Path;
use std::process::{ExitCode, ExitStatus, Stdio};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

/// The hidden subcommand.
pub const COMPILE: &str = "compile-child";

/// Far above what compilers of C, C++ and Rust produce for programs of tens of megabytes: CPython has 13 000 functions
/// and SQLite's largest body has 120 kB; a `switch` becomes one nested block per case. Cranelift takes seconds for a
/// function at any of these bounds, and minutes at ten times the bound.
pub(super) const BOUNDS: Bounds = Bounds {
    functions: 200_000,
    imports: 20_000,
    body_bytes: 2 * 1024 * 1024,
    blocks: 10_000,
    loops: 500,
};

/// Most bytes of a child's result: compiled code is several times as large as its original.
const MAX_MADE_BYTES: u64 = 32 * MAX_FUNCTION_BYTES as u64;

/// Interval between two samples of a child's memory.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(20);

/// Threads of a child, and arenas of its allocator: each of them takes address space.
const THREADS: &str = "4";
const HEAPS: &str = "2";

/// Smallest growth of the buffer for a child's result.
const PIECE_BYTES: usize = 256 * 1024;

const MADE: u8 = 0;
const REFUSED: u8 = 1;

/// What a child builds from an original.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Job {
    /// Code for the embedded cluster.
    Compile,
    /// The form that goes to a Faasm cluster. `check_names`: whether its guard checks that chained functions exist.
    ForFaasm { is_trusted: bool, check_names: bool },
}

/// Options of the subcommand, as parsed into [`Job::from_options`].
const FOR_FAASM: &str = "--for-faasm";
const TRUSTED: &str = "--trusted";
const CHECK_NAMES: &str = "--check-names";

impl Job {
    /// The job that the subcommand's options select.
    pub fn from_options(for_faasm: bool, is_trusted: bool, check_names: bool) -> Self {
        match for_faasm {
            true => Self::ForFaasm { is_trusted, check_names },
            false => Self::Compile,
        }
    }

    fn options(self) -> Vec<&'static str> {
        let Self::ForFaasm { is_trusted, check_names } = self else { return Vec::new() };
        let further = [(is_trusted, TRUSTED), (check_names, CHECK_NAMES)];
        let further = further.into_iter().filter_map(|(is_set, option)| is_set.then_some(option));
        [FOR_FAASM].into_iter().chain(further).collect()
    }

    /// Past participle for messages.
    fn done(self) -> &'static str {
        match self {
            Self::Compile => "compiled",
            Self::ForFaasm { .. } => "checked and guarded",
        }
    }

    /// Performs the job in this process.
    fn make(self, original: &[u8]) -> io::Result<Result<Vec<u8>, String>> {
        match self {
            Self::Compile => embedded::compile(original),
            Self::ForFaasm { is_trusted, check_names } => {
                faasm::prepare_bytes(original, is_trusted, check_names)
            }
        }
    }
}

/// Performs a job in a child process. The child's memory and its result are charged to this account. Dropping the
/// future ends the child.
///
/// # Errors
/// The budget is exhausted; the job rejects the original; the build exceeds its time or memory limit; or the child
/// cannot be started.
pub(super) async fn run(
    program: &Path,
    config: &BuildConfig,
    account: &Account,
    job: Job,
    original: &[u8],
) -> Result<Vec<u8>, ClusterError> {
    let internal = |error: io::Error| {
        ClusterError::Internal(format!("building with {}: {error}", program.display()))
    };
    let mut child = Command::new(program)
        .args([COMPILE, "--memory", &config.memory.to_string()])
        .args(job.options())
        .env("RAYON_NUM_THREADS", THREADS)
        .env("MALLOC_ARENA_MAX", HEAPS)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(internal)?;
    let (Some(mut stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(internal(io::Error::other("the child has no pipes")));
    };
    let id = child.id();
    let exchange = async {
        let mut made = Vec::new();
        let give = async {
            // If the child exits early, its exit status says why.
            let _ = stdin.write_all(&(original.len() as u64).to_le_bytes()).await;
            let _ = stdin.write_all(original).await;
            let _ = stdin.flush().await;
        };
        let take = async {
            let mut charge = account.nothing(Kind::Build);
            let mut stdout = stdout.take(MAX_MADE_BYTES);
            loop {
                if made.len() == made.capacity() {
                    let more = made.len().max(PIECE_BYTES);
                    charge.grow(more as u64).map_err(io::Error::other)?;
                    made.reserve_exact(more);
                }
                if stdout.read_buf(&mut made).await? == 0 {
                    return Ok::<_, io::Error>(charge);
                }
            }
        };
        let (_, taken) = tokio::join!(give, take);
        let charge = taken?;
        drop(stdin);
        Ok((child.wait().await?, made, charge))
    };
    let exchange = async {
        tokio::select! {
            exchanged = exchange => exchanged,
            over = watch(id, account) => Err(io::Error::other(over)),
        }
    };
    match tokio::time::timeout(config.time, exchange).await {
        Err(_) => Err(ClusterError::NotAFunction(format!(
            "the function was not {} within {:?}; build it with fewer or smaller functions, or raise \
             builds.time",
            job.done(),
            config.time
        ))),
        Ok(Err(error)) => Err(match error.downcast::<OverBudget>() {
            Ok(over) => ClusterError::OverBudget(over),
            Err(error) => internal(error),
        }),
        Ok(Ok((status, made, _charge))) => read(status, made, job, config),
    }
}

/// Charges the account for the memory of a process until the budget is exhausted.
async fn watch(process: Option<u32>, account: &Account) -> OverBudget {
    let mut charge = account.nothing(Kind::Build);
    let status = process.map(|process| format!("/proc/{process}/status"));
    loop {
        let text = status.as_ref().and_then(|path| std::fs::read_to_string(path).ok());
        // A process that has exited has no `VmRSS`.
        let bytes = text.as_deref().and_then(resident).unwrap_or(0);
        if let Err(over) = charge.set(bytes) {
            return over;
        }
        tokio::time::sleep(SAMPLE_INTERVAL).await;
    }
}

/// `VmRSS` of `/proc/PID/status`.
fn resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

fn read(
    status: ExitStatus,
    mut made: Vec<u8>,
    job: Job,
    config: &BuildConfig,
) -> Result<Vec<u8>, ClusterError> {
    match made.first() {
        Some(&MADE) if status.success() => {
            made.drain(..1);
            Ok(made)
        }
        Some(&REFUSED) if status.success() => {
            Err(ClusterError::NotAFunction(String::from_utf8_lossy(&made[1..]).into_owned()))
        }
        // Out of memory, the allocator aborts the child, or it cannot start a thread.
        _ => Err(ClusterError::NotAFunction(format!(
            "the function could not be {}: the build process ended early ({status}), most likely because it needs more than \
             {} MiB; build it with fewer or smaller functions, or raise builds.memory_bytes",
            job.done(),
            config.memory >> 20
        ))),
    }
}

/// The child's main function: from standard input to standard output, with at most `memory` bytes of address space.
///
/// # Errors
/// A pipe fails, or this machine cannot run WebAssembly.
pub fn compile_child(memory: usize, job: Job) -> io::Result<ExitCode> {
    limit(memory as u64)?;
    let mut stdin = io::stdin().lock();
    let mut length = [0; 8];
    stdin.read_exact(&mut length)?;
    let length = u64::from_le_bytes(length);
    if length > MAX_FUNCTION_BYTES as u64 {
        return Err(io::Error::other("the original exceeds the maximum size of a function"));
    }
    let mut original = Vec::new();
    stdin.by_ref().take(length).read_to_end(&mut original)?;
    drop(stdin);
    if (original.len() as u64) < length {
        return Err(io::Error::other("the original is truncated"));
    }
    std::thread::Builder::new().name("parent".to_owned()).spawn(|| {
        // The parent sends no more data: this read returns when the parent closes the pipe or exits.
        let _ = io::stdin().lock().read(&mut [0]);
        std::process::exit(1);
    })?;
    let (tag, answer) = match job.make(&original)? {
        Ok(made) => (MADE, made),
        Err(why) => (REFUSED, why.into_bytes()),
    };
    let mut out = io::stdout().lock();
    out.write_all(&[tag])?;
    out.write_all(&answer)?;
    out.flush()?;
    // Skips destructors: the operating system frees the memory faster.
    std::process::exit(0);
}

/// Limits the address space of this process, and lowers its scheduling priority.
fn limit(memory: u64) -> io::Result<()> {
    use rustix::process::{Resource, Rlimit, nice, setrlimit};
    let bound = Rlimit { current: Some(memory), maximum: Some(memory) };
    setrlimit(Resource::As, bound)?;
    // This fails if the priority is already the lowest.
    let _ = nice(10);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::{Bound, Bounds as Budgets, Budget};

    #[test]
    fn a_job_survives_the_round_trip_through_options() {
        for flags in 0..8 {
            let [for_faasm, is_trusted, check_names] = [1, 2, 4].map(|bit| flags & bit != 0);
            let job = Job::from_options(for_faasm, is_trusted, check_names);
            let options = job.options();
            let has = |option| options.contains(&option);
            let again = Job::from_options(has(FOR_FAASM), has(TRUSTED), has(CHECK_NAMES));
            assert_eq!(again, job);
        }
    }

    #[test]
    fn the_resident_size_is_parsed() {
        let status = "VmPeak:\t 9 kB\nVmRSS:\t    1234 kB\nRssAnon: 1 kB\n";
        assert_eq!(resident(status), Some(1234 * 1024));
        assert_eq!(resident("Name: x\n"), None);
    }

    #[tokio::test]
    async fn a_process_that_exceeds_the_budget_is_detected() {
        let budget = Budget::new(Budgets { relay: u64::MAX, user: 4096 });
        let over = watch(Some(std::process::id()), &budget.user("ada")).await;
        assert_eq!(over.bound, Bound::User);
        assert_eq!(budget.used(), 0);
    }
}

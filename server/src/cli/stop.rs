//! Stops the relay on a signal: gracefully, or by force after a time limit.
//!
//! A thread with a runtime of its own waits for signals, so that they are handled even if all threads of the relay are
//! blocked.

use anyhow::{Context, Result};
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

/// Additional time after drain and grace, in which the journal flushes to Redis.
const MARGIN: Duration = Duration::from_secs(12);

/// Completes on a termination signal. The process then exits after `time_limit` plus some seconds at the latest.
///
/// # Errors
/// The thread cannot be started, or signal handlers cannot be installed.
pub(crate) fn on_signal(time_limit: Duration) -> Result<oneshot::Receiver<()>> {
    let (told, telling) = oneshot::channel();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let entered = runtime.enter();
    // Before the first connection, so that a signal is never missed.
    let (mut terminate, mut interrupt) =
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    drop(entered);
    let waiting = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping");
        // If the relay has stopped by itself, the process has exited before this point.
        let _ = told.send(());
        tokio::time::sleep(time_limit.saturating_add(MARGIN)).await;
        tracing::error!("the relay did not stop in time and is terminated");
        std::process::exit(1);
    };
    std::thread::Builder::new()
        .name("signals".into())
        .spawn(move || runtime.block_on(waiting))
        .context("starting the thread that waits for signals")?;
    Ok(telling)
}

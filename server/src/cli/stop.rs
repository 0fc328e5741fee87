//! Ends a relay that was told to: when all is in order, and by force where it does not come to an end.
//!
//! Signals are waited for by a thread with a runtime of its own, so that they are heard whatever the relay's own threads do.

use anyhow::{Context, Result};
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

/// For what a relay does after its drain and its grace: its journal tells Redis the rest.
const MARGIN: Duration = Duration::from_secs(12);

/// Completes when the process is told to end; from then on it ends after `time_limit` and some seconds, whatever happens.
///
/// # Errors
/// When there is no thread for it, or signals cannot be heard.
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
        // Where the relay has ended by itself, the process has, too.
        let _ = told.send(());
        tokio::time::sleep(time_limit.saturating_add(MARGIN)).await;
        tracing::error!("the relay does not come to an end, and is ended with what it does");
        std::process::exit(1);
    };
    std::thread::Builder::new()
        .name("signals".into())
        .spawn(move || runtime.block_on(waiting))
        .context("starting the thread that waits for signals")?;
    Ok(telling)
}

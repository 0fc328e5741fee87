//! Subcommands, one file each, and the arguments they share.

pub(crate) mod compile;
pub(crate) mod doctor;
pub(crate) mod explain;
pub(crate) mod run;
pub(crate) mod serve;
mod settings;
mod stop;
pub(crate) mod token;

use faasm_bridge::explain::with_link;
use faasm_relay::cluster::ClusterError;
use faasm_relay::cluster::embedded::{EmbeddedConfig, Printing};
use std::time::Duration;

/// Limits of the calls of `run`; `serve` has settings.
#[derive(Debug, clap::Args)]
pub(crate) struct LimitOpts {
    /// Time limit of a call tree
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    call_timeout: u64,
    /// Memory limit of an instance
    #[arg(long, value_name = "MIB", default_value_t = 1024, value_parser = clap::value_parser!(u64).range(1..=4096))]
    max_memory: u64,
}

impl LimitOpts {
    fn config(&self, printing: Printing) -> EmbeddedConfig {
        let bytes = self.max_memory * 1024 * 1024;
        EmbeddedConfig {
            call_timeout: Duration::from_secs(self.call_timeout),
            max_memory: usize::try_from(bytes).unwrap_or(usize::MAX),
            printing,
            ..EmbeddedConfig::default()
        }
    }
}

/// An error in one line, with its causes; for an error of a cluster also the address of its code's page.
pub(crate) fn describe(error: &anyhow::Error) -> String {
    let message = format!("{error:#}");
    match error.chain().find_map(|cause| cause.downcast_ref::<ClusterError>()) {
        Some(known) => with_link(message, known.code().as_str()),
        None => message,
    }
}

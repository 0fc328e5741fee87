//! The embedded cluster, called directly.

use super::Column;
use crate::case::Case;
use crate::outcome::{Ended, Observed, shortened};
use crate::test_bed::TestBed;
use anyhow::{Context as _, Result};
use faasm_relay::cluster::{Call, Outcome};
use futures_util::future::BoxFuture;
use std::sync::Arc;
use std::time::Duration;

/// Time limit of a run that never ends; the cluster should have ended it earlier.
const TIME_LIMIT: Duration = Duration::from_secs(180);

pub(super) struct Embedded {
    bed: Arc<TestBed>,
}

impl Embedded {
    pub(super) fn new(bed: &Arc<TestBed>) -> Self {
        Self { bed: Arc::clone(bed) }
    }
}

impl Column for Embedded {
    fn id(&self) -> &'static str {
        "embedded"
    }

    fn title(&self) -> &'static str {
        "embedded cluster"
    }

    fn run<'a>(&'a self, case: &'a Case, user: &'a str) -> BoxFuture<'a, Result<Observed>> {
        Box::pin(async move {
            let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
            let call = Call {
                args: case.args.iter().map(|arg| (*arg).to_owned()).collect(),
                env: case.env.iter().map(pair).collect(),
                ..Call::new(user, case.function, case.input.clone())
            };
            // Runs in a task of its own, so that a panic is a difference of this case and does not end the suite.
            let running = tokio::spawn(self.bed.cluster_of(case).call(call));
            let outcome =
                tokio::time::timeout(TIME_LIMIT, running).await.context("no end")???;
            let ended = match outcome {
                Outcome::Returned(result) => Ended::Returned {
                    value: result.return_value,
                    output: shortened(&result.output),
                },
                Outcome::Failed { code, message } => {
                    Ended::Failed { code: code.to_owned(), message }
                }
            };
            let (stdout, stderr) = self.bed.take_printed(user, case.function);
            Ok(Observed { ended, stdout, stderr })
        })
    }
}

//! The places a function can run in, one file each. A new one is a file with a [`Column`], and a row in [`KINDS`].

mod chromium;
mod embedded;

use crate::case::Case;
use crate::lab::Lab;
use crate::outcome::Observed;
use anyhow::Result;
use futures_util::future::BoxFuture;
use std::sync::Arc;

/// A place that runs functions.
pub trait Column: Send + Sync {
    /// One word for the command line.
    fn id(&self) -> &'static str;

    /// The head of the column.
    fn title(&self) -> &'static str;

    /// Runs a case to its end for a user whose state is prepared.
    ///
    /// # Errors
    /// When the place itself fails, which counts as a difference of the case.
    fn run<'a>(&'a self, case: &'a Case, user: &'a str) -> BoxFuture<'a, Result<Observed>>;

    /// Ends what was started for it, and tells what is worth a note.
    fn close(self: Box<Self>) -> BoxFuture<'static, Result<Option<String>>> {
        Box::pin(async { Ok(None) })
    }
}

/// The columns whose engine is Asyncify.
pub const ASYNCIFY: &[&str] = &["page", "worker", "asserts"];

type Open = fn(&Arc<Lab>) -> Box<dyn Column>;

/// Every column, from left to right.
const KINDS: &[Open] = &[
    |lab| Box::new(embedded::Embedded::new(lab)),
    |lab| Box::new(chromium::Asyncify::new(lab, chromium::Variant::Page)),
    |lab| Box::new(chromium::Asyncify::new(lab, chromium::Variant::Worker)),
    |lab| Box::new(chromium::Asyncify::new(lab, chromium::Variant::Asserts)),
];

/// The columns whose id or title contains a text; all without one. Nothing is started before it is needed.
pub fn open(lab: &Arc<Lab>, filter: Option<&str>) -> Vec<Box<dyn Column>> {
    let all = KINDS.iter().map(|open| open(lab));
    all.filter(|column| {
        filter.is_none_or(|text| column.id().contains(text) || column.title().contains(text))
    })
    .collect()
}

//! The places a function can run in. Add a new kind as a file with a [`Column`]; add a new place of a kind to a list
//! here.

mod browser;
mod embedded;
mod faasm;

pub use faasm::Addresses;

use crate::case::Case;
use crate::outcome::Observed;
use crate::test_bed::TestBed;
use anyhow::Result;
use browser::{Functions, InBrowser, Place, Shared};
use faasm_browser_tests::Kind;
use faasm_relay::store::StateStore;
use futures_util::future::BoxFuture;
use std::sync::Arc;
use tokio::sync::Mutex;

/// A place that runs functions.
pub trait Column: Send + Sync {
    /// Identifier: words separated by `-`, for the command line and the cases.
    fn id(&self) -> &'static str;

    /// Title for people.
    fn title(&self) -> &'static str;

    /// Runs a case to its end for a user whose state is prepared.
    ///
    /// # Errors
    /// When the place itself fails, which counts as a difference of the case.
    fn run<'a>(&'a self, case: &'a Case, user: &'a str) -> BoxFuture<'a, Result<Observed>>;

    /// Whether the column captures what functions print.
    fn sees_prints(&self) -> bool {
        true
    }

    /// User of a case: shared with no other case, nor with an earlier run if state outlives one.
    fn user(&self, case: &Case) -> String {
        format!("{}.{}", case.name.replace('/', "."), self.id())
    }

    /// Why a case must not run in this column, or `None`.
    fn skip_reason(&self, _case: &Case) -> Option<&'static str> {
        None
    }

    /// The column's state store, if it has one of its own.
    ///
    /// # Errors
    /// When it cannot be started.
    fn state(&self) -> BoxFuture<'_, Result<Option<Arc<dyn StateStore>>>> {
        Box::pin(async { Ok(None) })
    }

    /// Ends what was started for the column, and returns a note if there is one.
    fn close(self: Box<Self>) -> BoxFuture<'static, Result<Option<String>>> {
        Box::pin(async { Ok(None) })
    }
}

/// Whether a column matches one of the names in a case: its id has all the words of the name.
pub fn is_among(id: &str, names: &[&str]) -> bool {
    names.iter().any(|name| name.split('-').all(|word| id.split('-').any(|part| part == word)))
}

/// The places in browsers, from left to right.
const PLACES: &[(&str, &str, Kind)] = &[
    ("chromium-asyncify-page", "Chromium, Asyncify, in the page", Kind::Chromium),
    ("chromium-asyncify-worker", "Chromium, Asyncify, in a worker", Kind::Chromium),
    ("chromium-asyncify-asserts", "Chromium, Asyncify with asserts", Kind::Chromium),
    ("chromium-own-page", "Chromium, our own pass, in the page", Kind::Chromium),
    ("chromium-own-worker", "Chromium, our own pass, in a worker", Kind::Chromium),
    ("chromium-jspi-page", "Chromium, JSPI, in the page", Kind::Chromium),
    ("chromium-jspi-worker", "Chromium, JSPI, in a worker", Kind::Chromium),
    ("chromium-original-page", "Chromium, JSPI, not built", Kind::Chromium),
    ("firefox-asyncify-page", "Firefox, Asyncify, in the page", Kind::Firefox),
    ("firefox-asyncify-worker", "Firefox, Asyncify, in a worker", Kind::Firefox),
    ("firefox-own-page", "Firefox, our own pass, in the page", Kind::Firefox),
    ("firefox-jspi-page", "Firefox, JSPI, in the page", Kind::Firefox),
    ("firefox-jspi-worker", "Firefox, JSPI, in a worker", Kind::Firefox),
    ("webkit-asyncify-page", "WebKit, Asyncify, in the page", Kind::WebKit),
    ("webkit-asyncify-worker", "WebKit, Asyncify, in a worker", Kind::WebKit),
    ("webkit-own-page", "WebKit, our own pass, in the page", Kind::WebKit),
    ("chromium-asyncify-pool", "Chromium, Asyncify, calls in the browser", Kind::Chromium),
    ("chromium-jspi-pool", "Chromium, JSPI, calls in the browser", Kind::Chromium),
    (
        "chromium-jspi-nested-pool",
        "Chromium, JSPI, calls of a worker in the browser",
        Kind::Chromium,
    ),
    ("chromium-jspi-auto", "Chromium, JSPI, calls in either place", Kind::Chromium),
    ("firefox-asyncify-pool", "Firefox, Asyncify, calls in the browser", Kind::Firefox),
    ("firefox-jspi-pool", "Firefox, JSPI, calls in the browser", Kind::Firefox),
    ("firefox-asyncify-auto", "Firefox, Asyncify, calls in either place", Kind::Firefox),
    ("webkit-asyncify-pool", "WebKit, Asyncify, calls in the browser", Kind::WebKit),
    ("webkit-asyncify-auto", "WebKit, Asyncify, calls in either place", Kind::WebKit),
];

/// A place by the words of its id.
fn place(id: &'static str, title: &'static str, browser: Kind) -> Place {
    let is = |word| is_among(id, &[word]);
    let functions = match is("asserts") {
        true => Functions::WithAsserts,
        false if is("own") => Functions::ByOwnPass,
        false if is("original") => Functions::Originals,
        false => Functions::Built,
    };
    let engine = if is("asyncify") || is("own") { "asyncify" } else { "jspi" };
    let chained = match is("pool") {
        true => "browser",
        false if is("auto") => "auto",
        false => "cluster",
    };
    Place { id, title, browser, engine, worker: is("worker") || is("nested"), functions, chained }
}

/// The columns whose id or title contains a text; all columns without a text. Those of a Faasm cluster use the stand-in
/// unless a real cluster is given. Everything is started on demand.
pub fn open(
    bed: &Arc<TestBed>,
    filter: Option<&str>,
    real: Option<&Addresses>,
) -> Vec<Box<dyn Column>> {
    // Columns with a worker pool use a separate browser.
    let browsers = Kind::ALL.map(|kind| (kind, <[Arc<Mutex<Shared>>; 2]>::default()));
    let mut all: Vec<Box<dyn Column>> = vec![Box::new(embedded::Embedded::new(bed))];
    for place in faasm::PLACES {
        all.push(Box::new(faasm::Faasm::new(bed, place, real.cloned())));
    }
    for (id, title, kind) in PLACES {
        for (_, [plain, with_pool]) in browsers.iter().filter(|(browser, _)| browser == kind) {
            let place = place(id, title, *kind);
            let browser = if place.chained == "cluster" { plain } else { with_pool };
            all.push(Box::new(InBrowser::new(bed, place, browser)));
        }
    }
    if real.is_some() {
        all.retain(|column| is_among(column.id(), &["faasm"]));
    }
    all.retain(|column| {
        filter.is_none_or(|text| column.id().contains(text) || column.title().contains(text))
    });
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_named_by_words() {
        let id = "firefox-jspi-page";
        for names in [&["jspi"] as &[_], &["asyncify", "page"], &["firefox-jspi"], &["page-jspi"]] {
            assert!(is_among(id, names), "{names:?}");
        }
        for names in [&[] as &[_], &["asyncify"], &["firefox-asyncify", "webkit"], &["jsp"]] {
            assert!(!is_among(id, names), "{names:?}");
        }
    }

    #[test]
    fn a_place_is_what_its_id_says() {
        let Place { engine, worker, functions, .. } =
            place("chromium-jspi-worker", "", Kind::Chromium);
        assert_eq!((engine, worker, functions), ("jspi", true, Functions::Built));
        let Place { engine, worker, functions, .. } =
            place("chromium-asyncify-asserts", "", Kind::Chromium);
        assert_eq!((engine, worker, functions), ("asyncify", false, Functions::WithAsserts));
        let Place { engine, worker, functions, .. } =
            place("chromium-own-worker", "", Kind::Chromium);
        assert_eq!((engine, worker, functions), ("asyncify", true, Functions::ByOwnPass));
    }
}

//! The npm package as users get it: packed, installed, and used by pages, workers, TypeScript and a bundler.

mod cdn;
mod npm;
mod pages;
mod vite;

use anyhow::{Context as _, Result};
use faasm_browser_tests::{Browser, Site};
use serde_json::Value;

const USER: &str = "demo";

/// Prints how many words its input has, and outputs the number.
const WORDCOUNT: &str = include_str!("../functions/wordcount.wat");

/// The variable `outcome` of the pages of these tests: a promise, created before anything waits.
const OUTCOME: &str = "
const done = arguments[0];
Promise.resolve(globalThis.outcome ?? { error: 'the page has no outcome' }).then(done, (error) => done({ error: String(error) }));
";

/// Writes a page of the site, opens it, and returns its outcome.
async fn outcome(
    browser: &Browser,
    site: &Site,
    relay: &str,
    name: &str,
    page: &str,
) -> Result<Value> {
    std::fs::write(site.path().join(name), page)?;
    let address = format!("{relay}/{name}");
    browser.client().goto(&address).await.with_context(|| format!("opening {address}"))?;
    Ok(browser.client().execute_async(OUTCOME, vec![]).await?)
}

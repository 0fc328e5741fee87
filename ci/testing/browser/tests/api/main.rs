//! The package's interface, option by option, in real Chromium.

mod callbacks;
mod codes;
mod connection;
mod events;
mod failures;
mod input;
mod memory;
mod placement;
mod residence;
mod state;
mod stop;
mod tokens;

use anyhow::{Result, bail};
use faasm_browser_tests::{Browser, Kind, Page, Relay, Site};
use serde_json::Value;

const USER: &str = "demo";

/// Prelude of every script: `connect`, `load`, `failure`, and functions for bytes and text.
const BEFORE: &str = r#"
const done = arguments[0];
const text = (bytes) => bytes && new TextDecoder().decode(bytes);
const failure = (promise) => promise.then(
  (value) => ({ none: String(value) }),
  (error) => ({ code: error.code, name: error.name, message: error.message, cause: error.cause && String(error.cause) }));
const codes = (promises) => Promise.all(promises.map(async (promise) => (await failure(promise)).code));
(async () => {
  const { connect } = await import("/runtime/index.js");
  const runtime = await connect({ user: "demo" });
  const load = (name, from = runtime) => from.load(new URL(`/functions/${name}.json`, location.href));
"#;

const AFTER: &str = r"
})().then(
  (value) => done({ value }),
  (error) => done({ error: `${error.code ?? error.name}: ${error.message}\n${error.stack}` }));
";

/// A relay with the functions of a test, and a page that it serves.
struct TestBed {
    browser: Browser,
    relay: Relay,
    _site: Site,
}

impl TestBed {
    /// Builds functions from their text and uploads them.
    async fn new(functions: &[(&str, &str)]) -> Result<Self> {
        let mut site = Site::new()?;
        for (name, text) in functions {
            site.add(name, text).await?;
        }
        let relay = Relay::start(site.path()).await?;
        relay.upload(USER, site.originals()).await?;
        let browser = Browser::start(Kind::Chromium).await?;
        Ok(Self { browser, relay, _site: site })
    }

    /// Runs the body of an async function in a fresh page and returns its result.
    async fn run(&self, body: &str) -> Result<Value> {
        let page = Page::open(&self.browser, self.relay.url(), USER).await?;
        let result = page.script_async(&format!("{BEFORE}{body}{AFTER}"), vec![]).await?;
        match result.get("error") {
            Some(error) => bail!("{}", error.as_str().unwrap_or_default()),
            None => Ok(result["value"].clone()),
        }
    }
}

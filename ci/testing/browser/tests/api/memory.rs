//! A page that runs functions all day: a run leaves no memory behind.

use super::{TestBed, USER};
use anyhow::{Context as _, Result};
use faasm_browser_tests::Page;
use fantoccini::Client;
use fantoccini::wd::WebDriverCompatibleCommand;
use serde_json::{Value, json};

/// Outputs its input.
const TINY: &str = include_str!("../functions/tiny.wat");
/// Suspends once, for a millisecond.
const FAULT: &str = include_str!("../functions/fault.wat");

/// Total number of runs, and the number before the first measurement.
const RUNS: u32 = 10_000;
const WARM_UP: u32 = 2_000;

/// A run allocates at least a few hundred bytes of closures and results; leaking any of them would exceed this limit by
/// far.
const MOST_HEAP_GROWTH: f64 = 1_500_000.0;

/// A command of the Chrome DevTools Protocol, which chromedriver forwards.
#[derive(Debug)]
struct DevTools(&'static str);

impl WebDriverCompatibleCommand for DevTools {
    fn endpoint(
        &self,
        base: &url::Url,
        session: Option<&str>,
    ) -> Result<url::Url, url::ParseError> {
        base.join(&format!("session/{}/goog/cdp/execute", session.unwrap_or_default()))
    }

    fn method_and_body(&self, _: &url::Url) -> (http::Method, Option<String>) {
        let body = json!({ "cmd": self.0, "params": {} });
        (http::Method::POST, Some(body.to_string()))
    }
}

/// Bytes in use after a garbage collection: JavaScript objects, and the buffers and closures outside the heap.
async fn heap(client: &Client) -> Result<f64> {
    client.issue_cmd(DevTools("HeapProfiler.collectGarbage")).await?;
    let usage: Value = client.issue_cmd(DevTools("Runtime.getHeapUsage")).await?;
    let bytes = |name: &str| usage[name].as_f64();
    Ok(bytes("usedSize").context("a size")? + bytes("backingStorageSize").unwrap_or(0.0))
}

/// Runs a function a number of times, 20 at once; returns the size of the runtime's own memory.
const RUN: &str = r#"
const [name, times, done] = arguments;
(async () => {
  globalThis.bed ??= (async () => {
    const { connect } = await import("/runtime/index.js");
    const { default: init } = await import("/runtime/faasm_runtime.js");
    const runtime = await connect({ user: "demo" });
    const load = (name) => runtime.load(new URL(`/functions/${name}.json`, location.href));
    const functions = { tiny: await load("tiny"), fault: await load("fault") };
    return { functions, signal: new AbortController().signal, memory: (await init()).memory };
  })();
  const { functions, signal, memory } = await bed;
  let left = times;
  const worker = async () => {
    while (left-- > 0) {
      const events = [];
      const options = name === "tiny" ? { input: "some input" } : {};
      await functions[name].run({ ...options, signal, timeout: 60_000, onStdout: () => {}, onEvent: (event) => events.push(event) });
    }
  };
  await Promise.all(Array.from({ length: 20 }, worker));
  return memory.buffer.byteLength;
})().then((value) => done({ value }), (error) => done({ error: String(error.stack ?? error) }));
"#;

async fn run(page: &Page<'_>, name: &str, times: u32) -> Result<u64> {
    let result = page.script_async(RUN, vec![json!(name), json!(times)]).await?;
    result["value"].as_u64().with_context(|| result["error"].to_string())
}

#[tokio::test]
async fn memory_stays_flat_over_ten_thousand_runs() -> Result<()> {
    let bed = TestBed::new(&[("tiny", TINY), ("fault", FAULT)]).await?;
    let client = bed.browser.client();
    let page = Page::open(&bed.browser, bed.relay.url(), USER).await?;
    for (name, runs) in [("tiny", RUNS), ("fault", RUNS / 10)] {
        let own_before = run(&page, name, WARM_UP).await?;
        let before = heap(client).await?;
        let own = run(&page, name, runs).await?;
        let growth = heap(client).await? - before;
        println!("{name}: {runs} runs, heap {before} {growth:+}, own memory {own_before} to {own}");
        assert!(growth < MOST_HEAP_GROWTH, "{name}: {growth} bytes more");
        assert_eq!(own, own_before, "{name}: the runtime's own memory grows");
    }
    bed.browser.close().await
}

#[tokio::test]
async fn a_disposed_runtime_is_freed() -> Result<()> {
    const CYCLE: &str = r#"
const [times, done] = arguments;
(async () => {
  const { connect } = await import("/runtime/index.js");
  for (let left = times; left > 0; left--) {
    const runtime = await connect({ user: "demo" });
    const tiny = await runtime.load(new URL("/functions/tiny.json", location.href));
    runtime.state.subscribe("k", () => {});
    await runtime.state.put("k", new Uint8Array(100_000));
    await tiny.run();
    runtime.dispose();
  }
})().then(() => done(null), (error) => done(String(error.stack ?? error)));
"#;
    let bed = TestBed::new(&[("tiny", TINY)]).await?;
    let client = bed.browser.client();
    let page = Page::open(&bed.browser, bed.relay.url(), USER).await?;
    let mut sizes = Vec::new();
    for times in [50, 100] {
        assert_eq!(page.script_async(CYCLE, vec![json!(times)]).await?, Value::Null);
        sizes.push(heap(client).await?);
    }
    // A hundred leaked runtimes would take ten megabytes.
    assert!(sizes[1] - sizes[0] < MOST_HEAP_GROWTH, "{sizes:?}");
    bed.browser.close().await
}

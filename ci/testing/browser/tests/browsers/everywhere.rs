//! The main guarantees, in every browser and with each of its engines.

use crate::{USER, examples, in_every_browser, site};
use anyhow::{Context as _, Result};
use faasm_browser_tests::{Browser, Kind, Page, Place, Relay, Run};
use serde_json::json;

in_every_browser! {
    the_same_in_page_worker_and_cluster,
    the_page_stays_responsive_while_a_function_is_suspended,
    many_functions_are_suspended_at_once,
    errors_have_codes_and_say_what_to_do,
}

/// Runs a function that sleeps for 300 ms fifty times at once.
const MANY: &str = r#"
const [engine, done] = arguments;
(async () => {
  const { connect } = await import("/runtime/index.js");
  const runtime = await connect({ user: "demo", engine });
  const sleep = await runtime.load("/functions/sleep.json");
  const before = performance.now();
  const results = await Promise.all(Array.from({ length: 50 }, () => sleep.run()));
  return { values: results.map((r) => r.returnValue), took: performance.now() - before };
})().then(done, (error) => done({ error: String(error) }));
"#;

async fn the_same_in_page_worker_and_cluster(kind: Kind) -> Result<()> {
    let site = site().await?;
    let relay = Relay::start(site.path()).await?;
    relay.upload(USER, site.originals()).await?;
    let browser = Browser::start(kind).await?;
    let examples = examples(&site);
    assert!(examples.len() >= 4, "the Rust examples at least");
    for engine in kind.engines() {
        let page = Page::open(&browser, relay.url(), USER).await?.with_engine(engine);
        for (function, input, value, output) in &examples {
            let mut states = Vec::new();
            for place in [Place::Page, Place::Worker, Place::Cluster] {
                let run = Run { function, input, place };
                let finished =
                    page.run(run).await?.map_err(|e| anyhow::anyhow!("{run:?}: {e:?}"))?;
                assert_eq!(finished.return_value, *value, "{run:?}");
                assert_eq!(finished.text(), *output, "{run:?}");
                let expected = (place != Place::Cluster).then_some(*engine);
                assert_eq!(finished.engine.as_deref(), expected, "{run:?}");
                if place == Place::Page {
                    let hello = function.starts_with("hello");
                    let stdout = if hello { format!("{output}\n") } else { String::new() };
                    assert_eq!(finished.stdout, stdout, "{run:?}");
                    assert_eq!(finished.suspensions > 0, !hello, "{run:?}: {finished:?}");
                }
                let peek = Run { function: "peek", input: "counter", place: Place::Cluster };
                states.push(page.run(peek).await?.expect("peek runs").output);
            }
            assert!(states.iter().all(|state| *state == states[0]), "{function}: {states:?}");
            if function.starts_with("state") {
                assert_eq!(states[0], [2, 0, 0, 0, 0, 0, 0, 0, 122, 0, 0, 0, 0, 0, 0, 0]);
            }
        }
    }
    browser.close().await
}

async fn the_page_stays_responsive_while_a_function_is_suspended(kind: Kind) -> Result<()> {
    let site = site().await?;
    let relay = Relay::start(site.path()).await?;
    let browser = Browser::start(kind).await?;
    for engine in kind.engines() {
        let page = Page::open(&browser, relay.url(), USER).await?.with_engine(engine);
        let run = Run { function: "sleep", input: "", place: Place::Page };
        let finished = page.run(run).await?.expect("sleep runs");
        assert_eq!((finished.return_value, finished.suspensions), (7, 1), "{finished:?}");
        assert!(finished.suspended_ms >= 290.0, "{finished:?}");
        // A timer of 4 ms could fire 75 times; in a blocked page it would not fire at all.
        assert!(finished.ticks >= 20, "{finished:?}");
        assert!(finished.longest_tick < finished.suspended_ms / 2.0, "{finished:?}");

        let deep = Run { function: "deep", input: "", place: Place::Page };
        let finished = page.run(deep).await?.expect("deep runs");
        assert_eq!(finished.return_value, (1..=500).sum::<i32>(), "{finished:?}");
    }
    browser.close().await
}

async fn many_functions_are_suspended_at_once(kind: Kind) -> Result<()> {
    let site = site().await?;
    let relay = Relay::start(site.path()).await?;
    let browser = Browser::start(kind).await?;
    let page = Page::open(&browser, relay.url(), USER).await?;
    for engine in kind.engines() {
        let all = page.script_async(MANY, vec![json!(engine)]).await?;
        assert_eq!(all["values"], json!(vec![7; 50]), "{all}");
        let took = all["took"].as_f64().context("a time")?;
        assert!(took < 50.0 * 300.0 / 2.0, "they wait concurrently: {took} ms");
    }
    browser.close().await
}

async fn errors_have_codes_and_say_what_to_do(kind: Kind) -> Result<()> {
    let site = site().await?;
    let relay = Relay::start(site.path()).await?;
    let browser = Browser::start(kind).await?;
    let page = Page::open(&browser, relay.url(), USER).await?;
    let manifest = site.path().join("functions/sleep.json");
    let text = std::fs::read_to_string(&manifest)?;
    std::fs::write(
        manifest.with_file_name("future.json"),
        text.replace("\"schema\": 1", "\"schema\": 99"),
    )?;
    let module = site.path().join("functions/sleep.asyncify.wasm");
    let mut bytes = std::fs::read(&module)?;
    bytes.extend([0, 2, 1, b'x']);
    std::fs::write(module.with_file_name("tampered.asyncify.wasm"), bytes)?;
    std::fs::write(
        manifest.with_file_name("tampered.json"),
        text.replace("sleep.asyncify.wasm", "tampered.asyncify.wasm"),
    )?;
    let failures = page
        .script_async(
            r#"const done = arguments[0];
               const failure = (promise) => promise.then(() => "no error", (e) => [e.code, e.message]);
               (async () => {
                 const { connect } = await import("/runtime/index.js");
                 const runtime = await connect({ user: "demo", url: location.origin, engine: "asyncify" });
                 const load = (name) => runtime.load(new URL(`/functions/${name}.json`, location.href));
                 const sleep = await load("sleep");
                 return {
                   noUser: await failure(connect({})),
                   badUser: await failure(connect({ user: "../x" })),
                   noRelay: await failure(connect({ user: "demo", url: "ws://127.0.0.1:1/ws" })),
                   badUrl: await failure(connect({ user: "demo", url: "http://" })),
                   missing: await failure(load("missing")),
                   future: await failure(load("future")),
                   // The engine that already has the right bytes would not notice.
                   tampered: await failure((await connect({ user: "demo", engine: "asyncify" })).load("/functions/tampered.json")),
                   badInput: await failure(sleep.run({ input: 7 })),
                   badWhere: await failure(sleep.run({ where: "moon" })),
                   badTransport: await failure(connect({ user: "demo", transport: "pigeon" })),
                   badReconnect: await failure(connect({ user: "demo", reconnectTimeout: -1 })),
                 };
               })().then(done, (error) => done({ error: String(error) }));"#,
            vec![],
        )
        .await?;
    for (name, code, hint) in [
        ("noUser", "bad-options", "user"),
        ("badUser", "refused", "../x"),
        ("noRelay", "cannot-connect", "127.0.0.1:1"),
        ("badUrl", "bad-options", "http://"),
        ("missing", "cannot-load", "404"),
        ("future", "cannot-load", "schema 99"),
        ("tampered", "cannot-load", "tampered.asyncify.wasm"),
        ("badInput", "bad-options", "input"),
        ("badWhere", "bad-options", "moon"),
        ("badTransport", "bad-options", "transport"),
        ("badReconnect", "bad-options", "reconnectTimeout"),
    ] {
        assert_eq!(failures[name][0], json!(code), "{name}: {failures}");
        let message = failures[name][1].as_str().unwrap_or_default();
        assert!(message.contains(hint), "{name}: {message}");
    }
    browser.close().await
}

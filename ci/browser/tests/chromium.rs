//! The main promise, in real Chromium: the same function gives the same in the page and in the cluster, and the page
//! never stops.

use anyhow::{Context as _, Result};
use faasm_browser_tests::{Chromium, Page, Place, Relay, Run, Site};
use fantoccini::Locator;
use serde_json::json;
use std::time::Duration;

const USER: &str = "demo";

/// Outputs the example functions must give for an input, whatever the place and language.
const EXPECTED: [(&str, &str, i32, &str); 4] = [
    ("hello", "Ada", 0, "Hello, Ada!"),
    (
        "chain",
        "Ada",
        0,
        "words: 1 (returned 1)\nletters: 3 (returned 3)\nbackwards: ADA (returned 2)\n",
    ),
    ("chain_named", "Ada", 0, "callee said: Hello, Ada!"),
    ("state", "counter", 122, "counter: steps 2, sum 122, callee returned 2"),
];

/// Reads the state value named by the input, as the cluster has it.
const PEEK: &str = include_str!("functions/peek.wat");
/// Sleeps for 300 ms by `poll_oneoff`.
const SLEEP: &str = include_str!("functions/sleep.wat");
/// Chains a call that sleeps for a minute, says so, and awaits it.
const WAIT: &str = include_str!("functions/wait.wat");
/// Suspends deep inside a recursion, with values on every level.
const DEEP: &str = include_str!("functions/deep.wat");

/// Holds the write lock of a state value for a while, then writes it; or traps with the lock in its hands.
const HOLD: &str = include_str!("functions/hold.wat");
/// Waits for that lock and gives the value.
const TAKE: &str = include_str!("functions/take.wat");

async fn site() -> Result<Site> {
    let mut site = Site::new()?;
    let functions = [
        ("peek", PEEK),
        ("sleep", SLEEP),
        ("wait", WAIT),
        ("deep", DEEP),
        ("hold", HOLD),
        ("take", TAKE),
    ];
    for (name, text) in functions {
        site.add(name, text).await?;
    }
    Ok(site)
}

/// The example functions with what is expected of them.
fn examples(site: &Site) -> Vec<(String, &'static str, i32, &'static str)> {
    let mut examples = Vec::new();
    for function in site.functions(&["_rust", "_c", "_cpp"]) {
        let base = function.rsplit_once('_').map_or(function.as_str(), |(base, _)| base);
        let (_, input, value, output) =
            EXPECTED.iter().find(|(name, ..)| *name == base).expect("every example is expected");
        examples.push((function, *input, *value, *output));
    }
    examples
}

#[tokio::test]
async fn the_same_in_page_worker_and_cluster() -> Result<()> {
    let site = site().await?;
    let relay = Relay::start(site.path()).await?;
    relay.upload(USER, site.originals()).await?;
    let browser = Chromium::start().await?;
    let page = Page::open(&browser, relay.url(), USER).await?;
    let examples = examples(&site);
    assert!(examples.len() >= 4, "the Rust examples at least");
    for (function, input, value, output) in &examples {
        let mut states = Vec::new();
        for place in [Place::Page, Place::Worker, Place::Cluster] {
            let run = Run { function, input, place };
            let finished = page.run(run).await?.map_err(|e| anyhow::anyhow!("{run:?}: {e:?}"))?;
            assert_eq!(finished.return_value, *value, "{run:?}");
            assert_eq!(finished.text(), *output, "{run:?}");
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
    browser.close().await
}

#[tokio::test]
async fn the_page_stays_responsive_while_a_function_is_suspended() -> Result<()> {
    let site = site().await?;
    let relay = Relay::start(site.path()).await?;
    let browser = Chromium::start().await?;
    let page = Page::open(&browser, relay.url(), USER).await?;
    let run = Run { function: "sleep", input: "", place: Place::Page };
    let finished = page.run(run).await?.expect("sleep runs");
    assert_eq!((finished.return_value, finished.suspensions), (7, 1), "{finished:?}");
    assert!(finished.suspended_ms >= 290.0, "{finished:?}");
    // A timer of 4 ms could run 75 times; a blocked page would have run it not once.
    assert!(finished.ticks >= 20, "{finished:?}");
    assert!(finished.longest_tick < finished.suspended_ms / 2.0, "{finished:?}");

    let deep = Run { function: "deep", input: "", place: Place::Page };
    let finished = page.run(deep).await?.expect("deep runs");
    assert_eq!(finished.return_value, (1..=500).sum::<i32>(), "{finished:?}");
    browser.close().await
}

#[tokio::test]
async fn a_stack_too_deep_for_its_buffer_is_an_error_that_names_the_option() -> Result<()> {
    let mut site = site().await?;
    let deeper = DEEP.replace("i32.const 500)", "i32.const 6000)");
    site.add_with("deeper", &deeper, &["--stack-size", "65536"]).await?;
    site.add_with("roomy", &deeper, &["--stack-size", "1048576"]).await?;
    let relay = Relay::start(site.path()).await?;
    let browser = Chromium::start().await?;
    let page = Page::open(&browser, relay.url(), USER).await?;
    let run = |function| Run { function, input: "", place: Place::Page };
    let failed = page.run(run("deeper")).await?.expect_err("65536 bytes hold less than 6000 calls");
    assert_eq!(failed.code, "stack-size", "{failed:?}");
    assert!(failed.message.contains("--stack-size"), "{failed:?}");
    let finished = page.run(run("roomy")).await?.expect("1 MiB holds them");
    assert_eq!(finished.return_value, (1..=6000).sum::<i32>(), "{finished:?}");
    browser.close().await
}

#[tokio::test]
async fn many_functions_are_suspended_at_once() -> Result<()> {
    let site = site().await?;
    let relay = Relay::start(site.path()).await?;
    let browser = Chromium::start().await?;
    let page = Page::open(&browser, relay.url(), USER).await?;
    let all = page
        .script_async(
            r#"const done = arguments[0];
               (async () => {
                 const { connect } = await import("/runtime/index.js");
                 const runtime = await connect({ user: "demo" });
                 const sleep = await runtime.load("/functions/sleep.json");
                 const before = performance.now();
                 const results = await Promise.all(Array.from({ length: 50 }, () => sleep.run()));
                 return { values: results.map((r) => r.returnValue), took: performance.now() - before };
               })().then(done, (error) => done({ error: String(error) }));"#,
            vec![],
        )
        .await?;
    assert_eq!(all["values"], json!(vec![7; 50]), "{all}");
    let took = all["took"].as_f64().context("a time")?;
    assert!(took < 50.0 * 300.0 / 2.0, "they wait side by side: {took} ms");
    browser.close().await
}

#[tokio::test]
async fn runs_of_one_page_share_state_and_its_locks() -> Result<()> {
    let site = site().await?;
    let relay = Relay::start(site.path()).await?;
    let browser = Chromium::start().await?;
    let page = Page::open(&browser, relay.url(), USER).await?;
    let result = page
        .script_async(
            r#"const done = arguments[0];
               (async () => {
                 const { connect } = await import("/runtime/index.js");
                 const runtime = await connect({ user: "demo" });
                 const hold = await runtime.load("/functions/hold.json");
                 const take = await runtime.load("/functions/take.json");
                 const text = (result) => new TextDecoder().decode(result.output);
                 const locked = (input) => new Promise((resolve, reject) => {
                   const ended = hold.run({ input, onStdout: () => resolve({ ended }) });
                   ended.catch(reject);
                 });
                 const first = await locked("");
                 const taken = await take.run();
                 await first.ended;
                 const second = await locked("trap");
                 const after = await take.run();
                 const trap = await second.ended.then(() => "none", (error) => error.code);
                 return [text(taken), taken.stats.suspensions, text(after), trap];
               })().then(done, (error) => done({ error: String(error) }));"#,
            vec![],
        )
        .await?;
    assert_eq!(result, json!(["held", 1, "held", "trap"]));
    browser.close().await
}

#[tokio::test]
async fn a_relay_that_dies_ends_the_function_and_not_the_page() -> Result<()> {
    let site = site().await?;
    let relay = Relay::start(site.path()).await?;
    relay.upload(USER, site.originals()).await?;
    let browser = Chromium::start().await?;
    let page = Page::open(&browser, relay.url(), USER).await?;
    let awaiting = page
        .script_async(
            r#"const done = arguments[0];
               (async () => {
                 const { connect } = await import("/runtime/index.js");
                 const runtime = await connect({ user: "demo" });
                 const wait = await runtime.load("/functions/wait.json");
                 globalThis.sleep = await runtime.load("/functions/sleep.json");
                 let awaiting;
                 const started = new Promise((resolve) => {
                   globalThis.ended = wait.run({ onStdout: resolve }).then(
                     (result) => ({ result: result.returnValue }),
                     (error) => ({ code: error.code, message: error.message, isError: error instanceof Error }));
                 });
                 return started;
               })().then(done, (error) => done({ error: String(error) }));"#,
            vec![],
        )
        .await?;
    assert_eq!(awaiting, json!("awaiting\n"));
    relay.kill().await?;
    let ended = page.script_async("globalThis.ended.then(arguments[0]);", vec![]).await?;
    assert_eq!(ended["code"], json!("connection-lost"), "{ended}");
    assert_eq!(ended["isError"], json!(true), "{ended}");
    let message = ended["message"].as_str().unwrap_or_default();
    assert!(message.contains("connection to the relay was lost"), "{message}");

    // The page lives: what needs no relay still runs.
    let after = page
        .script_async(
            "const done = arguments[0]; sleep.run().then((r) => done(r.returnValue), (e) => done(String(e)));",
            vec![],
        )
        .await?;
    assert_eq!(after, json!(7));
    browser.close().await
}

#[tokio::test]
async fn errors_have_codes_and_say_what_to_do() -> Result<()> {
    let site = site().await?;
    let relay = Relay::start(site.path()).await?;
    let browser = Chromium::start().await?;
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
                 const runtime = await connect({ user: "demo", url: location.origin });
                 const load = (name) => runtime.load(new URL(`/functions/${name}.json`, location.href));
                 const sleep = await load("sleep");
                 return {
                   noUser: await failure(connect({})),
                   badUser: await failure(connect({ user: "../x" })),
                   noRelay: await failure(connect({ user: "demo", url: "ws://127.0.0.1:1/ws" })),
                   badUrl: await failure(connect({ user: "demo", url: "http://" })),
                   missing: await failure(load("missing")),
                   future: await failure(load("future")),
                   tampered: await failure(load("tampered")),
                   badInput: await failure(sleep.run({ input: 7 })),
                   badWhere: await failure(sleep.run({ where: "moon" })),
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
    ] {
        assert_eq!(failures[name][0], json!(code), "{name}: {failures}");
        let message = failures[name][1].as_str().unwrap_or_default();
        assert!(message.contains(hint), "{name}: {message}");
    }
    browser.close().await
}

#[tokio::test]
async fn a_person_runs_every_function_on_the_example_page() -> Result<()> {
    let site = site().await?;
    let relay = Relay::start(site.path()).await?;
    relay.upload(USER, site.originals()).await?;
    let browser = Chromium::start().await?;
    let client = browser.client();
    client.goto(relay.url()).await?;
    client
        .wait()
        .at_most(Duration::from_secs(20))
        .for_element(Locator::Css("#connection.good"))
        .await?;
    for (round, worker) in [false, true].into_iter().enumerate() {
        if worker {
            client.find(Locator::Css("#worker")).await?.click().await?;
        }
        for (function, _, _, _) in examples(&site) {
            let find = |part: &str| format!("#{function} {part}");
            let input = client.find(Locator::Css(&find("input"))).await?;
            input.clear().await?;
            input.send_keys(&format!("Round {round}")).await?;
            client.find(Locator::Css(&find("button[value=browser]"))).await?.click().await?;
            let done = find("button[value=browser]:not(:disabled)");
            client.wait().for_element(Locator::Css(&done)).await?;
            let output = client.find(Locator::Css(&find(".output"))).await?;
            let text = output.text().await?;
            assert!(!output.attr("class").await?.unwrap_or_default().contains("bad"), "{text}");
            assert!(text.to_lowercase().contains("round") || text.contains("DNUOR"), "{text}");
        }
    }
    if let Some(folder) = std::env::var_os("FAASM_SCREENSHOTS") {
        let path = std::path::Path::new(&folder).join("example.png");
        std::fs::write(path, client.screenshot().await?)?;
    }
    browser.close().await
}

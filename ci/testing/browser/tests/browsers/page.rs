//! Behaviour that does not depend on the browser, tested in Chromium.

use crate::{DEEP, USER, examples, site};
use anyhow::Result;
use faasm_browser_tests::{Browser, Kind, Page, Place, Relay, Run};
use fantoccini::Locator;
use serde_json::json;
use std::time::Duration;

#[tokio::test]
async fn a_stack_too_deep_for_its_buffer_is_an_error_that_names_the_option() -> Result<()> {
    let mut site = site().await?;
    let deeper = DEEP.replace("i32.const 500)", "i32.const 6000)");
    site.add_with("deeper", &deeper, &["--stack-size", "65536"]).await?;
    site.add_with("roomy", &deeper, &["--stack-size", "1048576"]).await?;
    let relay = Relay::start(site.path()).await?;
    let browser = Browser::start(Kind::Chromium).await?;
    let page = Page::open(&browser, relay.url(), USER).await?.with_engine("asyncify");
    let run = |function| Run { function, input: "", place: Place::Page };
    let failed = page.run(run("deeper")).await?.expect_err("65536 bytes hold less than 6000 calls");
    assert_eq!(failed.code, "stack-size", "{failed:?}");
    assert!(failed.message.contains("--stack-size"), "{failed:?}");
    let finished = page.run(run("roomy")).await?.expect("1 MiB holds them");
    assert_eq!(finished.return_value, (1..=6000).sum::<i32>(), "{finished:?}");
    browser.close().await
}

#[tokio::test]
async fn runs_of_one_page_share_state_and_its_locks() -> Result<()> {
    let site = site().await?;
    let relay = Relay::start(site.path()).await?;
    let browser = Browser::start(Kind::Chromium).await?;
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
async fn a_dead_relay_ends_the_run_but_not_the_page() -> Result<()> {
    let site = site().await?;
    let relay = Relay::start(site.path()).await?;
    relay.upload(USER, site.originals()).await?;
    let browser = Browser::start(Kind::Chromium).await?;
    let page = Page::open(&browser, relay.url(), USER).await?;
    let awaiting = page
        .script_async(
            r#"const done = arguments[0];
               (async () => {
                 const { connect } = await import("/runtime/index.js");
                 const runtime = await connect({ user: "demo", reconnectTimeout: 0 });
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

    // The page still works: functions that need no relay run.
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
async fn every_function_runs_on_the_example_page() -> Result<()> {
    let site = site().await?;
    let relay = Relay::start(site.path()).await?;
    relay.upload(USER, site.originals()).await?;
    let browser = Browser::start(Kind::Chromium).await?;
    let client = browser.client();
    client.goto(relay.url()).await?;
    client
        .wait()
        .at_most(Duration::from_secs(20))
        .for_element(Locator::Css("#connection.good"))
        .await?;
    // In the page, in a worker, with chained calls in workers of the page, and in the page again.
    let changes = ["", "#worker", "#where option[value=browser]", "#worker"];
    for (round, change) in changes.into_iter().enumerate() {
        if !change.is_empty() {
            client.find(Locator::Css(change)).await?.click().await?;
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

//! Which engine runs a function, which files it fetches, and functions that were not built.

use crate::{USER, in_every_browser, site};
use anyhow::Result;
use faasm_browser_tests::{Browser, Kind, Page, Place, Relay, Run, copy_folder};
use serde_json::{Value, json};

in_every_browser! {
    the_engine_is_measured_or_requested,
    a_module_is_fetched_once_and_kept_for_the_next_visit,
    an_original_runs_where_the_browser_can_suspend_it,
    a_store_past_memory_does_not_corrupt_a_suspension,
}

/// Prelude of each script.
const PRELUDE: &str = r#"
const done = arguments[0];
const failure = (promise) => promise.then(() => "no error", (e) => [e.code, e.message]);
const fetched = () => performance.getEntriesByType("resource")
  .map((entry) => new URL(entry.name).pathname).filter((path) => path.endsWith(".wasm") && path.includes("/functions/"));
const script = async () => {
  const { connect } = await import("/runtime/index.js");
"#;

async fn script(page: &Page<'_>, body: &str) -> Result<Value> {
    let end = "};\nscript().then(done, (error) => done(`failed: ${error}`));";
    page.script_async(&format!("{PRELUDE}{body}{end}"), vec![]).await
}

async fn the_engine_is_measured_or_requested(kind: Kind) -> Result<()> {
    let site = site().await?;
    let relay = Relay::start(site.path()).await?;
    let browser = Browser::start(kind).await?;
    let page = Page::open(&browser, relay.url(), USER).await?;
    let auto = r#"
  const runtime = await connect({ user: "demo" });
  const sleep = await runtime.load("/functions/sleep.json");
  const { engine } = (await sleep.run()).stats;
  return { engine, fetched: fetched() };
"#;
    let found = script(&page, auto).await?;
    let engine = found["engine"].as_str().unwrap_or_default();
    assert!(kind.engines().contains(&engine), "{found}");
    let file = |engine: &str| match engine {
        "jspi" => "/functions/sleep.wasm",
        _ => "/functions/sleep.asyncify.wasm",
    };
    // Only the files that the engine needs are fetched.
    assert_eq!(found["fetched"], json!([file(engine)]), "{found}");

    let asked = r#"
  const runtime = await connect({ user: "demo", engine: "asyncify" });
  const sleep = await runtime.load("/functions/sleep.json");
  const engines = [(await sleep.run()).stats.engine];
  const jspi = await failure(sleep.run({ engine: "jspi" }).then((result) => engines.push(result.stats.engine)));
  const loaded = await failure(runtime.load("/functions/sleep.json", { engine: "jspi" }));
  const connected = await failure(connect({ user: "demo", engine: "jspi" }));
  const wrong = await failure(connect({ user: "demo", engine: "magic" }));
  return { engines, jspi, loaded, connected, wrong };
"#;
    let found = script(&page, asked).await?;
    assert_eq!(found["wrong"][0], json!("bad-options"), "{found}");
    assert_eq!(found["engines"], json!(kind.engines()), "{found}");
    for part in ["jspi", "loaded", "connected"] {
        let code = if kind.engines().contains(&"jspi") { "no error" } else { "no-jspi" };
        let found = if found[part].is_array() { &found[part][0] } else { &found[part] };
        assert_eq!(*found, json!(code), "{part}");
    }
    browser.close().await
}

async fn a_module_is_fetched_once_and_kept_for_the_next_visit(kind: Kind) -> Result<()> {
    let site = site().await?;
    let relay = Relay::start(site.path()).await?;
    let browser = Browser::start(kind).await?;
    // An automated session of WebKit clears the cache between two pages.
    let keeps = kind != Kind::WebKit;
    // The runtime fills the cache without delaying the run.
    let kept = r#"
  const url = new URL("/functions/sleep.asyncify.wasm", location.href).href;
  while (!(await (await caches.open("faasm-modules")).match(url))) await new Promise((next) => setTimeout(next, 10));
"#;
    let load = r#"
  const runtime = await connect({ user: "demo", engine: "asyncify" });
  const load = () => runtime.load("/functions/sleep.json");
  await Promise.all([load(), load()]);
  const sleep = await load();
  const values = await Promise.all([sleep.run(), sleep.run()]);
  KEPT
  return { values: values.map((result) => result.returnValue), fetched: fetched() };
"#;
    let load = &load.replace("KEPT", if keeps { kept } else { "" });
    let module = json!(["/functions/sleep.asyncify.wasm"]);
    let again = if keeps { json!([]) } else { module.clone() };
    for expected in [&module, &again] {
        let page = Page::open(&browser, relay.url(), USER).await?;
        let found = script(&page, load).await?;
        assert_eq!(found, json!({ "values": [7, 7], "fetched": expected }));
    }
    // A cached module that does not match the manifest is ignored and replaced.
    let page = Page::open(&browser, relay.url(), USER).await?;
    let spoil = r#"
  const spoilt = new URL("/functions/sleep.asyncify.wasm", location.href).href;
  await (await caches.open("faasm-modules")).put(spoilt, new Response(new Uint8Array(9)));
"#;
    let found = script(&page, &format!("{spoil}{load}")).await?;
    assert_eq!(found, json!({ "values": [7, 7], "fetched": module }));

    // The manifest may name another file than the one that the runtime guessed.
    let functions = site.path().join("functions");
    let manifest = std::fs::read_to_string(functions.join("sleep.json"))?;
    std::fs::rename(functions.join("sleep.asyncify.wasm"), functions.join("renamed.wasm"))?;
    std::fs::write(
        functions.join("wait.json"),
        manifest.replace("sleep.asyncify.wasm", "renamed.wasm"),
    )?;
    let guess = r#"
  const runtime = await connect({ user: "demo", engine: "asyncify" });
  return (await (await runtime.load("/functions/wait.json")).run()).returnValue;
"#;
    assert_eq!(script(&page, guess).await?, json!(7));
    browser.close().await
}

async fn an_original_runs_where_the_browser_can_suspend_it(kind: Kind) -> Result<()> {
    let site = site().await?;
    let originals = site.path().join("site-originals");
    copy_folder(&site.path().join("originals"), &originals)?;
    std::fs::write(originals.join("broken.wasm"), b"\0asm\x01\0\0\0\x01\x7f")?;
    let relay = Relay::start(site.path()).await?;
    let browser = Browser::start(kind).await?;
    let page = Page::open(&browser, relay.url(), USER).await?;
    let run = r#"
  const runtime = await connect({ user: "demo" });
  const url = "/site-originals/sleep.wasm";
  // An array buffer of the page itself, not of the sandbox that scripts of tests run in.
  const bytes = new Uint8Array(await (await fetch(url)).arrayBuffer()).slice().buffer;
  const load = (source, options) => runtime.load(source, options).then(async (loaded) => {
    const { returnValue, stats } = await loaded.run();
    return [loaded.name, returnValue, stats.engine, stats.suspensions];
  }, (error) => [error.code, error.message.includes("faasm-asyncify build")]);
  return {
    url: await load(url),
    file: await load(new File([bytes], "nap.wasm")),
    blob: await load(new Blob([bytes])),
    buffer: await load(bytes, { name: "rest" }),
    array: await load(new Uint8Array(bytes)),
    built: await load("/functions/sleep.wasm"),
    broken: await load("/site-originals/broken.wasm"),
    asyncify: await load(url, { engine: "asyncify" }),
    nothing: await load(7),
  };
"#;
    let found = script(&page, run).await?;
    let runs = kind.engines().contains(&"jspi");
    for (part, name) in [
        ("url", "sleep"),
        ("file", "nap"),
        ("blob", "function"),
        ("buffer", "rest"),
        ("array", "function"),
    ] {
        let expected = if runs { json!([name, 7, "jspi", 1]) } else { json!(["no-jspi", true]) };
        assert_eq!(found[part], expected, "{part}: {found}");
    }
    let cannot = if runs { "cannot-load" } else { "no-jspi" };
    assert_eq!(found["built"][0], json!(cannot), "{found}");
    assert_eq!(found["broken"], json!([cannot, true]), "{found}");
    assert_eq!(found["asyncify"], json!(["bad-options", true]), "{found}");
    assert_eq!(found["nothing"][0], json!("bad-options"), "{found}");
    browser.close().await
}

/// A store past the end of memory traps in the cluster. In a page it hits the unwind buffer, and does no harm.
async fn a_store_past_memory_does_not_corrupt_a_suspension(kind: Kind) -> Result<()> {
    let mut site = site().await?;
    site.add("past", include_str!("../functions/past.wat")).await?;
    let relay = Relay::start(site.path()).await?;
    let browser = Browser::start(kind).await?;
    let page = Page::open(&browser, relay.url(), USER).await?.with_engine("asyncify");
    let run = Run { function: "past", input: "", place: Place::Page };
    let ended = page.run(run).await?.map_err(|failed| anyhow::anyhow!("{failed:?}"))?;
    assert_eq!((ended.return_value, ended.suspensions), (0, 4));
    browser.close().await
}

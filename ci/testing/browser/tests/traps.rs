//! The stack that a page receives for a trap, in every browser: functions by their names in the source, wherever the
//! names are stored.

use anyhow::{Context as _, Result};
use faasm_browser_tests::{Browser, Kind, Page, Relay, Site};
use serde_json::{Value, json};

/// Sleeps; if its input is not empty, then traps in `crate::fails_here`.
const FAULT: &str = include_str!("functions/fault.wat");

/// Runs a function twice, without and with a trap; returns the error, and which files with names were fetched after
/// each run.
const TRAP: &str = r#"
const [name, engine, done] = arguments;
(async () => {
  const { connect } = await import("/runtime/index.js");
  const runtime = await connect({ user: "demo", engine });
  const loaded = await runtime.load(new URL(`/functions/${name}.json`, location.href));
  const fetched = () => performance.getEntriesByType("resource")
    .map((entry) => new URL(entry.name).pathname).filter((path) => path.endsWith(`${name}.names.json`));
  const { returnValue } = await loaded.run();
  const before = fetched();
  const fails = () => loaded.run({ input: "x" }).then(() => null, (error) => error);
  const errors = await Promise.all([fails(), fails()]);
  const { code, message, stack } = await fails();
  // Frames below the guest's depend on how the page got here.
  const guest = (stack) => stack.split(/\n.*glue\/engine\.js/)[0];
  const same = errors.every((error) => guest(error.stack) === guest(stack));
  return { returnValue, before, code, message, stack, same, after: fetched() };
})().then(done, (error) => done({ error: String(error) }));
"#;

async fn trap(browser: &Browser, relay: &Relay, name: &str, engine: &str) -> Result<Value> {
    let page = Page::open(browser, relay.url(), "demo").await?;
    page.script_async(TRAP, vec![json!(name), json!(engine)]).await
}

#[tokio::test]
async fn a_trap_names_functions_of_the_source_in_chromium() -> Result<()> {
    a_trap_names_functions_of_the_source(Kind::Chromium).await
}

#[tokio::test]
async fn a_trap_names_functions_of_the_source_in_firefox() -> Result<()> {
    a_trap_names_functions_of_the_source(Kind::Firefox).await
}

#[tokio::test]
async fn a_trap_names_functions_of_the_source_in_webkit() -> Result<()> {
    a_trap_names_functions_of_the_source(Kind::WebKit).await
}

async fn a_trap_names_functions_of_the_source(kind: Kind) -> Result<()> {
    let mut site = Site::new()?;
    for how in ["keep", "strip", "move"] {
        site.add_with(&format!("fault_{how}"), FAULT, &["--debug-info", how]).await?;
    }
    let functions = site.path().join("functions");
    let names = functions.join("fault_move.names.json");
    let manifest = std::fs::read_to_string(functions.join("fault_move.json"))?;
    std::fs::write(
        functions.join("fault_tampered.json"),
        manifest.replace("fault_move.names.json", "fault_tampered.names.json"),
    )?;
    std::fs::write(
        functions.join("fault_tampered.names.json"),
        std::fs::read_to_string(&names)?.replace("crate::fails_here", "crate::elsewhere"),
    )?;
    let relay = Relay::start(site.path()).await?;
    let browser = Browser::start(kind).await?;

    for engine in kind.engines() {
        let mut stacks = Vec::new();
        for (name, named, fetched) in [
            ("fault_keep", true, 0),
            ("fault_strip", false, 0),
            // The same bytes; Chromium shows them under the address from which it loaded them first.
            ("fault_move", true, 1),
            ("fault_tampered", false, 1),
        ] {
            let report = trap(&browser, &relay, name, engine).await?;
            assert_eq!(
                (&report["returnValue"], &report["code"]),
                (&json!(0), &json!("trap")),
                "{report}"
            );
            assert_eq!(
                report["before"],
                json!([]),
                "{name}: names are fetched only for a trap: {report}"
            );
            let after = report["after"].as_array().context("files fetched after the run")?;
            assert_eq!(!after.is_empty(), fetched > 0, "{name}: {report}");
            assert_eq!(report["same"], json!(true), "{name}: {report}");
            let stack = report["stack"].as_str().context("a stack")?.to_owned();
            assert_eq!(stack.contains("crate::fails_here"), named, "{name}: {stack}");
            assert_eq!(stack.contains("_start"), named, "{name}: {stack}");
            assert!(!stack.contains("elsewhere"), "{name}: {stack}");
            stacks.push(stack);
        }
        // The frames below the guest belong to its caller. A guest with a stack of its own has none below, and WebKit
        // shows no addresses.
        if *engine == "asyncify" && kind != Kind::WebKit {
            assert!(stacks.iter().all(|stack| stack.contains("/glue/engine.js")), "{stacks:?}");
        }
    }
    browser.close().await
}

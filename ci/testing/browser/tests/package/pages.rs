//! Pages and workers without a bundler.

use super::cdn::Cdn;
use super::npm::Project;
use super::{USER, WORDCOUNT, outcome};
use anyhow::{Context as _, Result};
use faasm_browser_tests::{Browser, Kind, Relay, Site, copy_folder};
use serde_json::json;

/// The script that the pages of these tests run with the package.
const WORDS: &str = r#"
// Chained calls also run in workers, whose script is part of the package.
const runtime = await connect({ user: "demo", where: "browser" });
const ran = new Set();
const onEvent = ({ type, where }) => { if (type === "callFinished") ran.add(where); };
const wordcount = await runtime.load(new URL("/functions/wordcount.json", location.href));
const chain = await runtime.load(new URL("/functions/chain_rust.json", location.href));
const text = ({ output }) => new TextDecoder().decode(output);
return [text(await wordcount.run({ input: "to be or not to be" })), text(await chain.run({ input: "Ada", onEvent })).split("\n")[0], ...ran];
"#;

/// A site with the installed package in `package/`, its relay, and a browser.
struct TestBed {
    project: Project,
    site: Site,
    relay: Relay,
    browser: Browser,
}

impl TestBed {
    async fn new() -> Result<Self> {
        let mut site = Site::new()?;
        site.add("wordcount", WORDCOUNT).await?;
        let project = Project::new(&site.path().join("runtime")).await?;
        copy_folder(&project.package(), &site.path().join("package"))?;
        let relay = Relay::start(site.path()).await?;
        relay.upload(USER, site.originals()).await?;
        let browser = Browser::start(Kind::Chromium).await?;
        Ok(Self { project, site, relay, browser })
    }

    async fn outcome(&self, name: &str, page: &str) -> Result<serde_json::Value> {
        outcome(&self.browser, &self.site, self.relay.url(), name, page).await
    }
}

#[tokio::test]
async fn a_page_imports_the_package_from_another_origin() -> Result<()> {
    let bed = TestBed::new().await?;
    let folder = tempfile::tempdir()?;
    copy_folder(&bed.project.package(), &folder.path().join("npm/@faasm/runtime-web@0.1.0"))?;
    let cdn = Cdn::start(folder.path().to_owned()).await?;
    let page = format!(
        r#"<!doctype html><script type="module">
        import {{ connect }} from "{}/npm/@faasm/runtime-web@0.1.0/index.js";
        globalThis.outcome = (async () => {{ {WORDS} }})();
        </script>"#,
        cdn.url
    );
    assert_eq!(
        bed.outcome("cdn.html", &page).await?,
        json!(["6", "words: 1 (returned 1)", "browser"])
    );
    bed.browser.close().await
}

#[tokio::test]
async fn a_strict_content_security_policy_lets_the_runtime_work() -> Result<()> {
    let bed = TestBed::new().await?;
    let script = format!(
        r#"
        import {{ connect }} from "./package/index.js";
        const violations = [];
        document.addEventListener("securitypolicyviolation", ({{ effectiveDirective }}) => violations.push(effectiveDirective));
        globalThis.outcome = (async () => {{
          const here = await (async () => {{ {WORDS} }})();
          const worker = new Worker("./csp-worker.js", {{ type: "module" }});
          const there = await new Promise((resolve, reject) => {{
            worker.onmessage = ({{ data }}) => resolve(data);
            worker.onerror = (event) => reject(event.message ?? "the worker cannot be loaded");
          }});
          const before = violations.length;
          try {{ new Function(""); }} catch {{}}
          await new Promise((resolve) => setTimeout(resolve));
          return {{ here, there, violations: before, enforced: violations.length > before }};
        }})();"#
    );
    let worker = format!(
        r#"
        import {{ connect }} from "./package/index.js";
        (async () => {{ {WORDS} }})().then(postMessage, (error) => postMessage(String(error)));"#
    );
    std::fs::write(bed.site.path().join("csp.js"), script)?;
    std::fs::write(bed.site.path().join("csp-worker.js"), worker)?;
    let page = r#"<!doctype html>
        <meta http-equiv="Content-Security-Policy"
          content="default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; connect-src 'self' ws: http:">
        <script type="module" src="csp.js"></script>"#;
    let expected = json!(["6", "words: 1 (returned 1)", "browser"]);
    let expected =
        json!({ "here": expected, "there": expected, "violations": 0, "enforced": true });
    assert_eq!(bed.outcome("csp.html", page).await?, expected);
    bed.browser.close().await
}

#[tokio::test]
async fn the_readme_says_how_to_use_it() -> Result<()> {
    const README: &str = include_str!("../../../../../README.md");
    let (_, block) = README.split_once("```html\n").context("a page in the README")?;
    let (block, _) = block.split_once("```").context("its end")?;
    assert!(block.contains("connect({ user:"), "{block}");
    let bed = TestBed::new().await?;
    let page = format!(
        r#"<!doctype html><script>
        globalThis.outcome = new Promise((resolve, reject) => {{
          const said = [];
          console.log = (...what) => {{ said.push(what); resolve(said); }};
          addEventListener("error", (event) => reject(event.message));
          addEventListener("unhandledrejection", (event) => reject(event.reason));
        }});
        </script>{block}"#
    );
    let said = bed.outcome("readme.html", &page).await?;
    assert_eq!(said, json!([["6", 0]]), "its output, and how often it was suspended");
    bed.browser.close().await
}

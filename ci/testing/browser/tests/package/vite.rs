//! The package in TypeScript, and in the Vite example.

use super::npm::{Project, npm, run, screenshots};
use super::{USER, WORDCOUNT};
use anyhow::Result;
use faasm_browser_tests::{Browser, Kind, Relay, Site, copy_folder};
use fantoccini::Locator;
use std::fs;
use std::path::Path;
use std::time::Duration;

/// Uses every option, event and result.
const EVERYTHING: &str = include_str!("everything.ts");

const APP: [&str; 6] =
    ["package.json", "package-lock.json", "tsconfig.json", "vite.config.ts", "index.html", "src"];

#[tokio::test]
async fn the_package_works_with_typescript_and_vite() -> Result<()> {
    let mut site = Site::new()?;
    site.add("wordcount", WORDCOUNT).await?;
    let project = Project::new(&site.path().join("runtime")).await?;
    // As in the checkout, but with the packed package.
    let checkout = tempfile::tempdir()?;
    copy_folder(&project.package(), &checkout.path().join("dist/npm"))?;
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../examples/web/vite");
    let app = checkout.path().join("examples/web/vite");
    fs::create_dir_all(&app)?;
    for name in APP {
        match from.join(name) {
            folder if folder.is_dir() => copy_folder(&folder, &app.join(name))?,
            file => drop(fs::copy(file, app.join(name))?),
        }
    }
    npm(&app, &["ci", "--prefer-offline", "--ignore-scripts"]).await?;

    fs::write(app.join("everything.ts"), EVERYTHING)?;
    let tsc = app.join("node_modules/.bin/tsc");
    for (module, resolution) in [("esnext", "bundler"), ("nodenext", "nodenext")] {
        let modules = ["--module", module, "--moduleResolution", resolution];
        let strict = ["--strict", "--exactOptionalPropertyTypes", "--noEmit", "--ignoreConfig"];
        let target = ["--target", "es2022", "--lib", "es2022", "--types", "", "everything.ts"];
        run(&app, &tsc, &[&modules[..], &strict, &target].concat()).await?;
    }
    fs::remove_file(app.join("everything.ts"))?;
    npm(&app, &["run", "build"]).await?;

    let web = tempfile::tempdir()?;
    copy_folder(&app.join("dist"), web.path())?;
    copy_folder(&site.path().join("functions"), &web.path().join("functions"))?;
    let relay = Relay::start(web.path()).await?;
    relay.upload(USER, site.originals()).await?;
    use_app(&relay).await
}

/// Runs functions in the app through its user interface.
async fn use_app(relay: &Relay) -> Result<()> {
    let browser = Browser::start(Kind::Chromium).await?;
    let client = browser.client();
    client.goto(relay.url()).await?;
    let wait = || client.wait().at_most(Duration::from_secs(20));
    wait().for_element(Locator::Css("#connection.good")).await?;
    for (function, said, happened) in [
        ("chain_rust", "words: 1 (returned 1)", "call 1 returned 1 in the browser"),
        ("state_rust", "counter: steps 2, sum 122", "16 bytes of state counter pushed"),
    ] {
        let option = format!("option[value={function}]");
        client.find(Locator::Css(&option)).await?.click().await?;
        client.find(Locator::Css("#form button:not([type])")).await?.click().await?;
        let output =
            wait().for_element(Locator::Css("#output:not([hidden])")).await?.text().await?;
        assert!(output.contains(said), "{output}");
        let events = client.find(Locator::Css("#events")).await?.text().await?;
        assert!(events.contains(happened), "{events}");
    }
    let state = client.find(Locator::Css("#state")).await?.text().await?;
    assert!(state.ends_with(": 2 0 0 0 0 0 0 0 122 0 0 0 0 0 0 0"), "{state}");
    if let Some(folder) = screenshots() {
        fs::write(folder.join("vite.png"), client.screenshot().await?)?;
    }
    browser.close().await
}

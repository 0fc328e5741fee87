//! `faasm-browser-tests check URL`: runs the example functions in headless Chromium through a running relay.

use anyhow::{Result, bail};
use clap::Parser;
use faasm_browser_tests::{Browser, Kind, Page, Place, Run, Site};

#[derive(Parser)]
enum Command {
    /// Run each example function in the page and in the cluster, and compare
    Check {
        /// Address of a relay with the example site and functions
        url: String,
        /// User whose functions are checked
        #[arg(long, default_value = "demo")]
        user: String,
    },
}

#[tokio::main]
async fn main() -> Result<()> {
    let Command::Check { url, user } = Command::parse();
    let functions = Site::new()?.functions(&["_rust", "_c", "_cpp"]);
    if functions.is_empty() {
        bail!("the relay's site has no functions: run `cargo xtask demo`");
    }
    let browser = Browser::start(Kind::Chromium).await?;
    let page = Page::open(&browser, &url, &user).await?;
    let mut wrong = 0;
    for function in &functions {
        let run = |place| Run { function, input: "Ada", place };
        let here = page.run(run(Place::Page)).await?;
        let there = page.run(run(Place::Cluster)).await?;
        match (here, there) {
            (Ok(here), Ok(there))
                if (here.return_value, &here.output) == (there.return_value, &there.output) =>
            {
                let text = here.text().trim_end().replace('\n', " · ");
                println!("ok    {function:<18} {:>2} suspensions  {text}", here.suspensions);
            }
            (here, there) => {
                wrong += 1;
                println!("WRONG {function}\n      page:    {here:?}\n      cluster: {there:?}");
            }
        }
    }
    browser.close().await?;
    if wrong > 0 {
        bail!(
            "{wrong} of {} functions gave a different result in page and cluster",
            functions.len()
        );
    }
    println!("{} functions gave the same result in the page and in the cluster", functions.len());
    Ok(())
}

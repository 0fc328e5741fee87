//! The main guarantees, in real browsers: a function gives the same result in the page and in the cluster, and never
//! blocks the page.

mod engines;
mod everywhere;
mod page;

use anyhow::Result;
use faasm_browser_tests::Site;

const USER: &str = "demo";

/// Outputs that the example functions must give for an input, in every place and language.
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

/// Outputs the state value named by the input, as the cluster has it.
const PEEK: &str = include_str!("../functions/peek.wat");
/// Sleeps for 300 ms by `poll_oneoff`.
const SLEEP: &str = include_str!("../functions/sleep.wat");
/// Chains a call that sleeps for a minute, reports that, and awaits it.
const WAIT: &str = include_str!("../functions/wait.wat");
/// Suspends deep inside a recursion, with live values on every level.
const DEEP: &str = include_str!("../functions/deep.wat");

/// Holds the write lock of a state value for a while, then writes the value; or traps while it holds the lock.
const HOLD: &str = include_str!("../functions/hold.wat");
/// Waits for that lock and outputs the value.
const TAKE: &str = include_str!("../functions/take.wat");

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

/// The example functions with their expected results.
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

/// Runs tests that take a browser in each browser.
macro_rules! in_every_browser {
    ($($test:ident,)*) => {
        in_every_browser!(@ chromium Chromium $($test)*);
        in_every_browser!(@ firefox Firefox $($test)*);
        in_every_browser!(@ webkit WebKit $($test)*);
    };
    (@ $browser:ident $kind:ident $($test:ident)*) => {
        mod $browser {
            $(#[tokio::test]
            async fn $test() -> anyhow::Result<()> {
                super::$test(faasm_browser_tests::Kind::$kind).await
            })*
        }
    };
}
use in_every_browser;

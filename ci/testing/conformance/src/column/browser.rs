//! A real browser: in the page, or in a worker. One page runs all cases of all columns of its browser, one after the
//! other; it is reopened only if a case has broken it.

use super::Column;
use crate::case::Case;
use crate::functions::{FUNCTIONS, FUNCTIONS_BY_OWN_PASS, FUNCTIONS_WITH_ASSERTS, ORIGINALS};
use crate::outcome::{Ended, MAX_SHOWN_BYTES, Observed};
use crate::test_bed::TestBed;
use anyhow::{Context as _, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use faasm_browser_tests::{Browser, Kind};
use futures_util::future::BoxFuture;
use serde::Deserialize;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;

/// Passes a request to `suite.js`, and returns its answer.
const RUN: &str = r#"
const [request, worker, done] = arguments;
const failed = (error) => done({ broken: String(error?.message ?? error) });
if (worker) {
  const thread = new Worker("/suite.js", { type: "module" });
  thread.onmessage = ({ data }) => { thread.terminate(); done(data); };
  thread.onerror = (event) => { thread.terminate(); failed(event); };
  thread.postMessage(request);
} else {
  import("/suite.js").then(({ runCase }) => runCase(request)).then(done, failed);
}
"#;

/// Time limit for an answer of the page.
const TIME_LIMIT: Duration = Duration::from_secs(90);

/// A place in a page, and the functions that run there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Browser, engine, and place; see [`Column::id`].
    pub(super) id: &'static str,
    pub(super) title: &'static str,
    pub(super) browser: Kind,
    /// The option `engine` of `connect`.
    pub(super) engine: &'static str,
    pub(super) worker: bool,
    pub(super) functions: Functions,
    /// Where chained calls run, as the option of `connect`.
    pub(super) chained: &'static str,
}

/// Which form of the functions runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Functions {
    Built,
    /// Built with Asyncify's asserts: an uninstrumented function that is on the stack during a suspension traps.
    WithAsserts,
    /// Built by our own Asyncify pass.
    ByOwnPass,
    /// Not built: the originals themselves.
    Originals,
}

/// The browser of several columns, started on demand, and the cases after which it had to be restarted.
#[derive(Default)]
pub(super) struct Shared {
    open: Option<Browser>,
    /// Number of runs in the current browser.
    runs: u32,
    broken_by: Vec<String>,
}

/// Maximum number of runs in one browser. Each run leaves a memory until the browser collects it, and Firefox limits
/// the number of memories per process, including garbage of other threads.
const MAX_RUNS: u32 = 250;

pub(super) struct InBrowser {
    bed: Arc<TestBed>,
    place: Place,
    browser: Arc<Mutex<Shared>>,
}

/// The answer of `suite.js` about a run.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    #[serde(default)]
    return_value: i32,
    #[serde(default)]
    output: String,
    #[serde(default)]
    stdout: String,
    #[serde(default)]
    stderr: String,
    error: Option<Failure>,
    broken: Option<String>,
}

#[derive(Deserialize)]
struct Failure {
    code: String,
    message: String,
}

impl InBrowser {
    pub(super) fn new(bed: &Arc<TestBed>, place: Place, browser: &Arc<Mutex<Shared>>) -> Self {
        Self { bed: Arc::clone(bed), place, browser: Arc::clone(browser) }
    }

    async fn ask(&self, browser: &mut Shared, case: &Case, user: &str) -> Result<Answer> {
        if browser.runs >= MAX_RUNS
            && let Some(old) = browser.open.take()
        {
            browser.runs = 0;
            old.close().await?;
        }
        browser.runs += 1;
        let browser = match &mut browser.open {
            Some(browser) => browser,
            none => {
                let fresh = Browser::start(self.place.browser).await?;
                let page = format!("{}/index.html", self.bed.url());
                fresh.client().goto(&page).await.with_context(|| format!("opening {page}"))?;
                none.insert(fresh)
            }
        };
        let (folder, ending) = match self.place.functions {
            Functions::Built => (FUNCTIONS, "json"),
            Functions::WithAsserts => (FUNCTIONS_WITH_ASSERTS, "json"),
            Functions::ByOwnPass => (FUNCTIONS_BY_OWN_PASS, "json"),
            Functions::Originals => (ORIGINALS, "wasm"),
        };
        let request = json!({
            "address": format!("/{folder}/{}.{ending}", case.function),
            "engine": self.place.engine,
            "input": STANDARD.encode(&case.input),
            "args": case.args,
            "env": case.env,
            "user": user,
            "relay": self.bed.relay_of(case),
            "chained": self.place.chained,
            "maxShown": MAX_SHOWN_BYTES,
        });
        let arguments = vec![request, self.place.worker.into()];
        let asking = browser.client().execute_async(RUN, arguments);
        let answer = tokio::time::timeout(TIME_LIMIT, asking).await;
        let answer = answer
            .context("the page does not answer")?
            .context("running the script in the page")?;
        serde_json::from_value(answer).context("parsing the page's answer")
    }
}

impl Column for InBrowser {
    fn id(&self) -> &'static str {
        self.place.id
    }

    fn title(&self) -> &'static str {
        self.place.title
    }

    fn run<'a>(&'a self, case: &'a Case, user: &'a str) -> BoxFuture<'a, Result<Observed>> {
        Box::pin(async move {
            let mut browser = self.browser.lock().await;
            let answer = match self.ask(&mut browser, case, user).await {
                Ok(answer) => answer,
                Err(error) => {
                    browser.open = None;
                    browser.broken_by.push(format!("{} ({})", case.name, self.place.id));
                    return Err(error);
                }
            };
            let Answer { return_value, output, stdout, stderr, error, broken } = answer;
            let ended = match (error, broken) {
                (_, Some(reason)) => bail!(reason),
                (Some(Failure { code, message }), _) => Ended::Failed { code, message },
                (None, None) => Ended::Returned {
                    value: return_value,
                    output: STANDARD
                        .decode(output)
                        .context("decoding the output in the page's answer")?,
                },
            };
            Ok(Observed { ended, stdout, stderr })
        })
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, Result<Option<String>>> {
        Box::pin(async move {
            let mut browser = self.browser.lock().await;
            // The first of the columns that share the browser closes it.
            if let Some(browser) = browser.open.take() {
                browser.close().await?;
            }
            let broken_by = std::mem::take(&mut browser.broken_by);
            let note = format!("{} was broken by {}", self.place.browser, broken_by.join(", "));
            Ok((!broken_by.is_empty()).then_some(note))
        })
    }
}

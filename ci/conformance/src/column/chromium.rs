//! Headless Chromium with the Asyncify engine: in the page, or in a worker of it. One page runs all cases, one after the
//! other; it is opened again only where a case has broken it.

use super::Column;
use crate::case::Case;
use crate::functions::{FUNCTIONS, FUNCTIONS_WITH_ASSERTS};
use crate::lab::Lab;
use crate::outcome::{Ended, MAX_SHOWN_BYTES, Observed};
use anyhow::{Context as _, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use faasm_browser_tests::Chromium;
use futures_util::future::BoxFuture;
use serde::Deserialize;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;

/// Hands a request to `suite.js`, and its answer back.
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

/// Until a page that does not answer is given up.
const PATIENCE: Duration = Duration::from_secs(90);

/// Where in a page, and what runs there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Variant {
    Page,
    Worker,
    /// In the page, built with Asyncify's asserts: a function that is on the stack when another suspends, and is not
    /// instrumented, traps.
    Asserts,
}

pub(super) struct Asyncify {
    lab: Arc<Lab>,
    variant: Variant,
    browser: Mutex<Browser>,
}

/// The browser, once it was needed, and how often it had to be replaced.
#[derive(Default)]
struct Browser {
    open: Option<Chromium>,
    broken_by: Vec<String>,
}

/// What `suite.js` tells of a run.
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

impl Asyncify {
    pub(super) fn new(lab: &Arc<Lab>, variant: Variant) -> Self {
        Self { lab: Arc::clone(lab), variant, browser: Mutex::default() }
    }

    async fn ask(&self, browser: &mut Browser, case: &Case, user: &str) -> Result<Answer> {
        let browser = match &mut browser.open {
            Some(browser) => browser,
            none => {
                let fresh = Chromium::start().await?;
                let page = format!("{}/index.html", self.lab.url());
                fresh.client().goto(&page).await.with_context(|| format!("opening {page}"))?;
                none.insert(fresh)
            }
        };
        let functions = match self.variant {
            Variant::Page | Variant::Worker => FUNCTIONS,
            Variant::Asserts => FUNCTIONS_WITH_ASSERTS,
        };
        let request = json!({
            "functions": functions,
            "function": case.function,
            "input": STANDARD.encode(&case.input),
            "args": case.args,
            "env": case.env,
            "user": user,
            "relay": self.lab.relay_of(case),
            "maxShown": MAX_SHOWN_BYTES,
        });
        let arguments = vec![request, (self.variant == Variant::Worker).into()];
        let asking = browser.client().execute_async(RUN, arguments);
        let answer = tokio::time::timeout(PATIENCE, asking).await;
        let answer = answer.context("the page does not answer")?.context("the page fails")?;
        serde_json::from_value(answer).context("what the page answers")
    }
}

impl Column for Asyncify {
    fn id(&self) -> &'static str {
        match self.variant {
            Variant::Page => "page",
            Variant::Worker => "worker",
            Variant::Asserts => "asserts",
        }
    }

    fn title(&self) -> &'static str {
        match self.variant {
            Variant::Page => "Chromium asyncify (page)",
            Variant::Worker => "Chromium asyncify (worker)",
            Variant::Asserts => "Chromium asyncify (asserts)",
        }
    }

    fn run<'a>(&'a self, case: &'a Case, user: &'a str) -> BoxFuture<'a, Result<Observed>> {
        Box::pin(async move {
            let mut browser = self.browser.lock().await;
            let answer = match self.ask(&mut browser, case, user).await {
                Ok(answer) => answer,
                Err(error) => {
                    browser.open = None;
                    browser.broken_by.push(case.name.clone());
                    return Err(error);
                }
            };
            let Answer { return_value, output, stdout, stderr, error, broken } = answer;
            let ended = match (error, broken) {
                (_, Some(reason)) => bail!(reason),
                (Some(Failure { code, message }), _) => Ended::Failed { code, message },
                (None, None) => Ended::Returned {
                    value: return_value,
                    output: STANDARD.decode(output).context("output of the page")?,
                },
            };
            Ok(Observed { ended, stdout, stderr })
        })
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, Result<Option<String>>> {
        Box::pin(async move {
            let title = self.title();
            let Browser { open, broken_by } = self.browser.into_inner();
            if let Some(browser) = open {
                browser.close().await?;
            }
            let note = format!("{title}: the page was broken by {}", broken_by.join(", "));
            Ok((!broken_by.is_empty()).then_some(note))
        })
    }
}

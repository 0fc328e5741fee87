//! A page that uses the runtime like any other page: it imports the package and runs functions.

use crate::Browser;
use anyhow::{Context as _, Result};
use serde::Deserialize;
use serde_json::{Value, json};

/// Runs one function and reports the result; `arguments[0]` is the [`Run`] as JSON.
const RUN: &str = r#"
const [{ name, input, where, worker, user, engine }, done] = arguments;
(async () => {
  let ticks = 0, before = performance.now(), longest = 0;
  const timer = setInterval(() => {
    const now = performance.now();
    [ticks, longest, before] = [ticks + 1, Math.max(longest, now - before), now];
  }, 4);
  let stdout = "";
  try {
    const manifest = new URL(`/functions/${name}.json`, location.href).href;
    let result;
    if (worker) {
      // One runtime for all runs: Firefox delays connections that follow one whose worker was terminated.
      const threads = window.faasmTestThreads ??= {};
      const ask = (message) => new Promise((resolve, reject) => {
        threads[engine].onmessage = ({ data }) => data.error ? reject(Object.assign(new Error(), data.error)) : resolve(data.result);
        threads[engine].postMessage({ id: 0, ...message });
      });
      if (!threads[engine]) {
        threads[engine] = new Worker("/worker.js", { type: "module" });
        await ask({ connect: { user, engine } });
      }
      result = await ask({ manifest, options: { input, where } });
    } else {
      const { connect } = await import("/runtime/index.js");
      const runtimes = window.faasmTestRuntimes ??= {};
      const runtime = runtimes[engine] ??= await connect({ user, engine });
      const loaded = await runtime.load(manifest);
      result = await loaded.run({ input, where, onStdout: (text) => { stdout += text; } });
    }
    const { returnValue, output, stats } = result;
    return { ok: { returnValue, output: [...output], stdout, ...stats, ticks, longestTick: longest } };
  } catch (error) {
    return { error: { code: String(error.code ?? error.name), message: String(error.message) } };
  } finally {
    clearInterval(timer);
  }
})().then(done);
"#;

/// Where a function runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Page,
    Worker,
    Cluster,
}

/// What to run.
#[derive(Clone, Copy, Debug)]
pub struct Run<'a> {
    pub function: &'a str,
    pub input: &'a str,
    pub place: Place,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Finished {
    pub return_value: i32,
    pub output: Vec<u8>,
    /// Empty for runs in a worker or in the cluster.
    pub stdout: String,
    /// `asyncify` or `jspi`; `None` for runs in the cluster.
    pub engine: Option<String>,
    pub suspensions: u32,
    pub chained_calls: u32,
    pub suspended_ms: f64,
    /// How often a timer of the page fired during the run, and the longest interval between two ticks, in milliseconds.
    pub ticks: u32,
    pub longest_tick: f64,
}

impl Finished {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.output).into_owned()
    }
}

/// The error that a page received for a failed run: its code and message.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Failed {
    pub code: String,
    pub message: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Report {
    Ok(Finished),
    Error(Failed),
}

/// A page of the relay's site, open in a browser.
#[derive(Debug)]
pub struct Page<'a> {
    browser: &'a Browser,
    user: &'a str,
    engine: &'a str,
}

impl<'a> Page<'a> {
    /// Opens the relay's example page, in which scripts of tests run.
    pub async fn open(browser: &'a Browser, url: &str, user: &'a str) -> Result<Self> {
        browser.client().goto(url).await.with_context(|| format!("opening {url}"))?;
        Ok(Self { browser, user, engine: "auto" })
    }

    /// The same page with another engine for the runs that follow.
    pub fn with_engine(self, engine: &'a str) -> Self {
        Self { engine, ..self }
    }

    /// Runs a function to its end.
    pub async fn run(&self, run: Run<'_>) -> Result<Result<Finished, Failed>> {
        let argument = json!({
            "name": run.function,
            "input": run.input,
            "where": if run.place == Place::Cluster { "cluster" } else { "browser" },
            "worker": run.place == Place::Worker,
            "user": self.user,
            "engine": self.engine,
        });
        let report = self.browser.client().execute_async(RUN, vec![argument]).await;
        let report = report.with_context(|| format!("running {run:?}"))?;
        Ok(match serde_json::from_value(report)? {
            Report::Ok(finished) => Ok(finished),
            Report::Error(failed) => Err(failed),
        })
    }

    /// Runs a script in the page and returns its result.
    pub async fn script(&self, script: &str, arguments: Vec<Value>) -> Result<Value> {
        Ok(self.browser.client().execute(script, arguments).await?)
    }

    /// Runs a script that calls its last argument with its result.
    pub async fn script_async(&self, script: &str, arguments: Vec<Value>) -> Result<Value> {
        Ok(self.browser.client().execute_async(script, arguments).await?)
    }
}

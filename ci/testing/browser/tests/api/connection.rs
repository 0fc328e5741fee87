//! Tokens, and disposing of a runtime.

use super::{TestBed, USER};
use anyhow::Result;
use serde_json::json;

/// Sleeps for a minute.
const NAP: &str = include_str!("../functions/nap.wat");
/// Outputs its input.
const TINY: &str = include_str!("../functions/tiny.wat");
/// Chains a call that sleeps for a minute in the cluster, reports that, and awaits it.
const WAIT: &str = include_str!("../functions/wait.wat");

#[tokio::test]
async fn tokens_are_fetched_and_renewed_before_they_expire() -> Result<()> {
    let bed = TestBed::new(&[]).await?;
    let result = bed
        .run(
            r#"
  const base64 = (object) => btoa(JSON.stringify(object)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
  const token = (seconds) => `${base64({ alg: "none" })}.${base64({ exp: Date.now() / 1000 + seconds, sub: "??>>é" })}.`;
  const asked = [];
  const began = performance.now();
  const renewed = await new Promise((resolve, reject) => {
    const provider = async () => {
      asked.push(performance.now() - began);
      if (asked.length === 2) throw new Error("not now");
      if (asked.length === 4) resolve(asked);
      return token(asked.length === 4 ? 3600 : 1.5);
    };
    connect({ user: "demo", token: provider }).then((runtime) => globalThis.kept = runtime, reject);
  });
  const failed = await failure(connect({ user: "demo", token: () => Promise.reject(new Error("signed out")) }));
  const others = await codes([
    connect({ user: "demo", token: () => 7 }), connect({ user: "demo", token: () => { throw 1; } }), connect({ user: "demo", token: 7 }),
  ]);
  for (const token of ["plain", () => "plain", undefined, null]) (await connect({ user: "demo", token })).dispose();
  return { renewed, failed, others };"#,
        )
        .await?;
    let asked: Vec<f64> = serde_json::from_value(result["renewed"].clone())?;
    assert_eq!(
        asked.len(),
        4,
        "first token, failed renewal, retry, renewal before the next expires"
    );
    assert!(asked[2] < 1500.0, "renewed before the first expires: {asked:?}");
    assert_eq!(result["failed"]["code"], "no-token", "{result}");
    assert_eq!(result["failed"]["cause"], "Error: signed out", "{result}");
    assert_eq!(result["others"], json!(["no-token", "no-token", "bad-options"]), "{result}");
    bed.browser.close().await
}

#[tokio::test]
async fn dispose_ends_everything_with_closed() -> Result<()> {
    let bed = TestBed::new(&[("nap", NAP), ("tiny", TINY), ("wait", WAIT)]).await?;
    let result = bed
        .run(
            r#"
  const [nap, tiny, wait] = [await load("nap"), await load("tiny"), await load("wait")];
  let heard = 0;
  const { state } = runtime;
  state.subscribe("k", () => heard++);
  const waiting = await new Promise((resolve) => {
    const runs = [nap.run(), nap.run({ where: "cluster" }), tiny.run({ input: new ReadableStream() })];
    runs.push(wait.run({ onStdout: () => resolve(runs) }));
  });
  const pulling = state.pull("k");
  const loading = load("tiny");
  runtime.dispose();
  const ended = await codes([...waiting, pulling]);
  runtime.dispose();
  const after = await codes([load("tiny"), tiny.run(), tiny.run({ where: "cluster" }), state.get("k"), state.put("k", "v")]);
  let thrown;
  try { state.subscribe("k", () => {}); } catch (error) { thrown = error.code; }
  await loading.catch(() => {});

  // `one` is disposed of inside a host call; `two` must not be affected.
  const [one, two] = [await connect({ user: "demo" }), await connect({ user: "demo" })];
  const [first, second] = [await load("nap", one), await load("tiny", two)];
  const inside = await failure(first.run({ onStdout: () => one[Symbol.dispose ?? "dispose"]() }));
  const other = text((await second.run({ input: "lives", where: "cluster" })).output);
  return { ended, after, thrown, heard, inside: inside.code, other };"#,
        )
        .await?;
    assert_eq!(result["ended"], json!(vec!["closed"; 5]), "{result}");
    assert_eq!(result["after"], json!(vec!["closed"; 5]), "{result}");
    assert_eq!((&result["thrown"], &result["inside"]), (&json!("closed"), &json!("closed")));
    assert_eq!((&result["heard"], &result["other"]), (&json!(0), &json!("lives")), "{result}");
    bed.browser.close().await
}

#[tokio::test]
async fn a_version_that_differs_from_the_clusters_is_reported() -> Result<()> {
    let bed = TestBed::new(&[("tiny", TINY), ("nap", NAP)]).await?;
    let folder = tempfile::tempdir()?;
    let other = folder.path().join("tiny.wasm");
    std::fs::write(&other, wat::parse_str(NAP)?)?;
    bed.relay.upload(USER, &[other]).await?;
    let result = bed
        .run(
            r#"
  const told = [];
  const warned = new Promise((resolve) => { console.warn = (message) => { told.push(message); resolve(); }; });
  // The relay receives this first, and answers it before the requests that follow.
  await load("nap");
  await load("tiny");
  await warned;
  return told;"#,
        )
        .await?;
    let [told] = result.as_array().map(Vec::as_slice).unwrap_or_default() else {
        anyhow::bail!("{result}");
    };
    let told = told.as_str().unwrap_or_default();
    assert!(told.contains("another version of `tiny`") && told.contains("sha256-"), "{told}");
    bed.browser.close().await
}

//! The errors and warnings that a page receives for calls that fail and for misbehaving functions.

use super::TestBed;
use anyhow::Result;
use serde_json::{Value, json};

/// Chains a named function as often as its input says, and awaits each call.
const CALLS: &str = include_str!("../functions/calls.wat");
/// Polls the clock until 200 ms have passed.
const CLOCK_LOOP: &str = include_str!("../functions/clock_loop.wat");
/// Chains a function that does not exist, and ends without awaiting it.
const HEEDLESS: &str = include_str!("../functions/heedless.wat");
/// Calls an import that no host provides.
const MYSTERY: &str = include_str!("../functions/mystery.wat");
/// Outputs its input.
const TINY: &str = include_str!("../functions/tiny.wat");

#[tokio::test]
async fn failed_calls_are_reported_with_their_code() -> Result<()> {
    let functions =
        [("calls", CALLS), ("heedless", HEEDLESS), ("mystery", MYSTERY), ("tiny", TINY)];
    let bed = TestBed::new(&functions).await?;
    let result = bed
        .run(
            r#"
  let warned = [];
  console.warn = (message) => warned.push(message);
  const told = async (where, input) => {
    const from = await connect({ user: "demo", where });
    const ended = [];
    const onEvent = ({ type, where, failure }) => { if (type === "callFinished") ended.push({ where, failure }); };
    warned = [];
    await (await load("calls", from)).run({ input, onEvent });
    from.dispose();
    return { ended, warned };
  };
  const results = {
    fine: await told("cluster", "1tiny"),
    missing: await told("cluster", "3nowhere"),
    cluster: await told("cluster", "1mystery"),
    browser: await told("browser", "2mystery"),
  };
  warned = [];
  await (await load("heedless")).run();
  while (warned.length === 0) await new Promise((resolve) => setTimeout(resolve));
  return { ...results, heedless: warned };"#,
        )
        .await?;
    let fine = json!({ "ended": [{ "where": "cluster", "failure": null }], "warned": [] });
    assert_eq!(result["fine"], fine, "{result}");
    for (kind, count, place, code, part) in [
        ("missing", 3, "cluster", "missing-function", "demo/nowhere does not exist"),
        ("cluster", 1, "cluster", "unknown-import", "env.mystery"),
        ("browser", 2, "browser", "unknown-import", "env.mystery"),
    ] {
        let ended = result[kind]["ended"].as_array().expect("events");
        assert_eq!(ended.len(), count, "{result}");
        for event in ended {
            let failure = &event["failure"];
            assert_eq!((&event["where"], &failure["code"]), (&json!(place), &json!(code)));
            assert!(failure["message"].as_str().is_some_and(|text| text.contains(part)), "{event}");
        }
        let warned = texts(&result[kind]["warned"]);
        assert_eq!(warned.len(), 1, "one warning for each function: {result}");
        for part in ["`calls`", code, part] {
            assert!(warned[0].contains(part), "{part}: {result}");
        }
    }
    let heedless = texts(&result["heedless"]);
    assert!(heedless[0].contains("`nobody`") && heedless[0].contains("`heedless`"), "{result}");
    bed.browser.close().await
}

fn texts(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

#[tokio::test]
async fn a_function_that_polls_the_clock_does_not_block_the_page() -> Result<()> {
    let bed = TestBed::new(&[("clock_loop", CLOCK_LOOP)]).await?;
    let result = bed
        .run(
            r#"
  const fn = await load("clock_loop");
  const results = [];
  for (const engine of ["asyncify", "jspi"]) {
    const awaited = [];
    let meanwhile = 0;
    const timer = setInterval(() => meanwhile++, 1);
    const onEvent = ({ awaits }) => { if (awaits) awaited.push(awaits); };
    const { stats } = await fn.run({ engine, onEvent });
    clearInterval(timer);
    results.push({ engine: stats.engine, awaited, meanwhile, ms: stats.totalMs });
  }
  return results;"#,
        )
        .await?;
    for (engine, ran) in ["asyncify", "jspi"].iter().zip(result.as_array().expect("two runs")) {
        assert_eq!((&ran["engine"], &ran["awaited"]), (&json!(engine), &json!(["sleep"])));
        assert!(ran["meanwhile"].as_u64() > Some(0), "{result}");
        assert!(ran["ms"].as_f64() >= Some(199.0), "{result}");
    }
    bed.browser.close().await
}

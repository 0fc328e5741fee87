//! The events that `onEvent` receives for a run.

use super::TestBed;
use anyhow::{Context as _, Result};
use serde_json::{Value, json};

async fn events(bed: &TestBed, function: &str, input: &str) -> Result<Vec<Value>> {
    let body = format!(
        r#"
  const events = [];
  const fn = await load("{function}");
  const {{ stats }} = await fn.run({{ input: "{input}", onEvent: (event) => {{ events.push(event); throw 1; }} }});
  return {{ events, stats }};"#
    );
    let result = bed.run(&body).await?;
    let events = result["events"].as_array().context("events")?.clone();
    let of = |kind: &str| events.iter().filter(|event| event["type"] == kind).count();
    assert_eq!(json!(of("suspended")), result["stats"]["suspensions"], "{result}");
    assert_eq!(of("suspended"), of("resumed"), "{result}");
    assert_eq!(json!(of("chained")), result["stats"]["chainedCalls"], "{result}");
    let times: Vec<f64> = events.iter().filter_map(|event| event["atMs"].as_f64()).collect();
    assert!(times.len() == events.len() && times.is_sorted() && times[0] >= 0.0, "{result}");
    Ok(events)
}

#[tokio::test]
async fn a_run_reports_events() -> Result<()> {
    let bed = TestBed::new(&[]).await?;

    let chain = events(&bed, "chain_rust", "Ada").await?;
    for chained in chain.iter().filter(|event| event["type"] == "chained") {
        assert_eq!(chained["function"], "chain_rust", "{chain:?}");
        assert!(chained["entry"]["pointer"].is_u64(), "{chain:?}");
        assert_eq!(chained["inputBytes"], 3, "{chain:?}");
        let finished = |event: &&Value| {
            event["type"] == "callFinished" && event["callId"] == chained["callId"]
        };
        let finished: Vec<_> = chain.iter().filter(finished).collect();
        assert_eq!(finished.len(), 1, "{chain:?}");
        assert!(finished[0]["outputBytes"].as_u64() > Some(0), "{chain:?}");
    }
    let named = events(&bed, "chain_named_rust", "Ada").await?;
    let chained = named.iter().find(|event| event["type"] == "chained").context("a call")?;
    assert_eq!((&chained["function"], &chained["entry"]), (&json!("hello_rust"), &Value::Null));

    let state = events(&bed, "state_rust", "counter").await?;
    for (kind, key) in [("statePushed", "counter"), ("statePulled", "counter")] {
        let event = state.iter().find(|event| event["type"] == kind).context("an event")?;
        assert_eq!((&event["key"], &event["bytes"]), (&json!(key), &json!(16)), "{state:?}");
    }
    let awaited: Vec<&str> = state.iter().filter_map(|event| event["awaits"].as_str()).collect();
    assert!(awaited.contains(&"state") && awaited.contains(&"call"), "{state:?}");
    bed.browser.close().await
}

//! Callbacks of the page run in the middle of a host call, while the runtime is at work. Everything that a page can call, it can call
//! from there.

use super::TestBed;
use anyhow::Result;
use serde_json::{Value, json};

/// Gives its input as output.
const TINY: &str = include_str!("../functions/tiny.wat");
/// Chains a call that leaves behind one that sleeps for a minute, and says that it has awaited the first.
const TREE: &str = include_str!("../functions/tree.wat");

/// What there is to call, by class and name; a test compares the names with what the classes have.
const API: &str = r#"
  const api = {
    Runtime: {
      load: ({ here }) => load("tiny", here),
      state: ({ here }) => here.state.get("k"),
    },
    FaasmFunction: {
      name: ({ tiny }) => tiny.name,
      run: ({ tiny }) => tiny.run({ input: "again" }),
    },
    RuntimeState: {
      get: ({ state }) => state.get("k"),
      put: ({ state }) => state.put("k", "w"),
      push: ({ state }) => state.push("k"),
      pull: ({ state }) => state.pull("k"),
      append: ({ state }) => state.append("list", "e"),
      readAppended: ({ state }) => state.readAppended("list", 1),
      clearAppended: ({ state }) => state.clearAppended("list"),
      pin: ({ state }) => state.pin("k"),
      unpin: ({ state }) => state.unpin("k"),
      prefetch: ({ state }) => state.prefetch(["k", "other"]),
      subscribe: ({ state }) => state.subscribe("k", () => {})(),
    },
  };
  // Of every object that bindings make, and of runtimes in workers; what ends everything has a test of its own.
  const others = ["constructor", "free", "dispose", "renew"];
  const names = (object) => Object.getOwnPropertyNames(Object.getPrototypeOf(object))
    .filter((name) => !name.startsWith("__") && !others.includes(name)).sort();
"#;

async fn run(bed: &TestBed, body: &str) -> Result<Value> {
    bed.run(&format!("{API}{body}")).await
}

#[tokio::test]
async fn everything_can_be_called_from_inside_a_callback() -> Result<()> {
    let bed = TestBed::new(&[("tiny", TINY), ("tree", TREE)]).await?;
    let result = run(
        &bed,
        r#"
  const results = {};
  for (const place of ["stdout", "event", "where", "subscription"]) {
    // The first time only: what is called here has callbacks, too.
    let act;
    const once = () => { const now = act; act = undefined; now?.(); };
    const here = await connect({ user: "demo", where: () => { if (place === "where") once(); return "cluster"; } });
    const [tiny, tree, state] = [await load("tiny", here), await load("tree", here), here.state];
    results.names = [here, tiny, state].map(names);
    await state.put("k", "v");
    await state.push("k");
    const ended = [];
    act = () => {
      for (const [name, call] of Object.values(api).flatMap(Object.entries)) {
        ended.push((async () => call({ here, tiny, state }))().then(() => "", (error) => `${name}: ${error.message}`));
      }
    };
    const wasCalled = () => act === undefined;
    if (place === "subscription") state.subscribe("k", once);
    const { returnValue } = await tree.run({
      onStdout: () => place === "stdout" && once(),
      onEvent: () => place === "event" && once(),
    });
    if (place === "subscription") await state.put("k", "x");
    while (!wasCalled()) await new Promise((resolve) => setTimeout(resolve));
    const failed = (await Promise.all(ended)).filter(Boolean);
    // The runtime is as good as before.
    const after = text((await tiny.run({ input: "after" })).output);
    here.dispose();
    results[place] = { returnValue, calls: ended.length, failed, after };
  }
  results.expected = Object.values(api).map((calls) => Object.keys(calls).sort());
  return results;"#,
    )
    .await?;
    assert_eq!(result["names"], result["expected"], "{result}");
    let good = json!({ "returnValue": 0, "calls": 15, "failed": [], "after": "after" });
    for place in ["stdout", "event", "where", "subscription"] {
        assert_eq!(result[place], good, "{place}: {result}");
    }
    bed.browser.close().await
}

#[tokio::test]
async fn a_runtime_can_be_disposed_of_from_inside_any_callback() -> Result<()> {
    let bed = TestBed::new(&[("tiny", TINY), ("tree", TREE)]).await?;
    let result = run(
        &bed,
        r#"
  const ended = {};
  for (const place of ["stdout", "event", "where"]) {
    let here;
    const end = (from) => { if (place === from) here.dispose(); };
    here = await connect({ user: "demo", where: () => { end("where"); return "cluster"; } });
    const tree = await load("tree", here);
    ended[place] = (await failure(tree.run({ onStdout: () => end("stdout"), onEvent: () => end("event") }))).code;
  }
  return ended;"#,
    )
    .await?;
    assert_eq!(result, json!({ "stdout": "closed", "event": "closed", "where": "closed" }));
    bed.browser.close().await
}

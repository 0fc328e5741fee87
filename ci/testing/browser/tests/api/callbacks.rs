//! Callbacks of the page run inside a host call, while the runtime is active. They may call everything that a page may
//! call.

use super::TestBed;
use anyhow::Result;
use serde_json::{Value, json};

/// Outputs its input.
const TINY: &str = include_str!("../functions/tiny.wat");
/// Chains a call that chains a one-minute sleep without awaiting it; reports when it has awaited the first.
const TREE: &str = include_str!("../functions/tree.wat");

/// The interface by class and name; a test compares the names with the members of the classes.
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
  // All methods of objects that the bindings create, also of runtimes in workers. `dispose` has a test of its own.
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
    // Call the interface from the first callback only: the calls made here have callbacks, too.
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
    // The runtime still works.
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

//! Where state values live: pinned to the page, prefetched, or page-only.

use super::{TestBed, USER};
use anyhow::Result;
use faasm_browser_tests::{Browser, Kind, Relay, Site};
use serde_json::json;

/// Chains a named function as often as its input says.
const CALLS: &str = include_str!("../functions/calls.wat");
/// Pulls state `mine/k`, and returns its first byte.
const FOUND: &str = include_str!("../functions/found.wat");
/// Pulls the state value named by its input and outputs it.
const PEEK: &str = include_str!("../functions/peek.wat");
/// Writes its input to state `k`, and pushes it.
const SHOUT: &str = include_str!("../functions/shout.wat");
/// Writes every second byte of state `k`, which has 128 KiB.
const SPARSE: &str = include_str!("../functions/sparse.wat");
/// Writes its input to state `mine/k` and list `mine/l`, and pushes.
const STASH: &str = include_str!("../functions/stash.wat");
/// Outputs the value of state `k`.
const TAKE: &str = include_str!("../functions/take.wat");
/// Creates state `vast` with 257 MiB.
const VAST: &str = include_str!("../functions/vast.wat");

/// Shared by the scripts: a second page of the user, and a way to wait for a pull.
const BEFORE: &str = r#"
  const { state } = runtime;
  const other = await connect({ user: "demo" });
  const write = async (key, value) => { await other.state.put(key, value); await other.state.push(key); };
  // Resolves once `act` has led to a pull of the value.
  const pulled = (act, tier = state, key = "k") => new Promise((resolve, reject) => {
    const end = tier.subscribe(key, ({ type }) => { if (type === "pulled") { end(); resolve(); } });
    Promise.resolve(act()).catch(reject);
  });
  const ran = async (fn) => { const { output, stats } = await fn.run(); return `${text(output)} ${stats.suspensions}`; };
  const status = async (key) => (await fetch(`/s/demo/${encodeURIComponent(key)}`)).status;
"#;

async fn run(bed: &TestBed, body: &str) -> Result<serde_json::Value> {
    bed.run(&format!("{BEFORE}{body}")).await
}

#[tokio::test]
async fn a_pinned_value_is_kept_fresh_and_reads_never_wait() -> Result<()> {
    let bed = TestBed::new(&[("shout", SHOUT), ("take", TAKE)]).await?;
    let result = run(
        &bed,
        r#"
  const [shout, take] = [await load("shout"), await load("take")];
  await write("k", "one");
  await state.pin("k");
  await state.pin("k");
  const seen = { first: await ran(take) };
  await pulled(() => write("k", "two"));
  seen.page = await ran(take);
  await pulled(() => fetch("/s/demo/k", { method: "PUT", body: "six" }));
  seen.http = await ran(take);
  await pulled(() => shout.run({ input: "ten", where: "cluster" }));
  seen.cluster = await ran(take);
  // Unpushed local writes stay, and the page's own push is not pulled back.
  await state.put("k", "own");
  await pulled(() => write("k", "foe"));
  seen.unsent = await ran(take);
  let changes = 0;
  const end = state.subscribe("k", () => changes++);
  await state.push("k");
  seen.sent = text(await other.state.pull("k"));
  seen.changes = changes;
  end();
  // A value can be pinned before it exists.
  await state.pin("late");
  await pulled(() => write("late", "here"), state, "late");
  seen.late = text(await state.get("late"));
  state.unpin("k");
  await write("k", "new");
  await state.get("nothing");
  seen.unpinned = await ran(take);
  // The maximum number of pins.
  const many = Array.from({ length: 256 }, (_, number) => `many ${number}`);
  seen.bounds = await codes([...many.slice(0, 255).map((key) => state.pin(key)), state.pin("more"), state.pin(1)]);
  seen.bounds = seen.bounds.slice(254);
  return seen;"#,
    )
    .await?;
    let expected = json!({
        "first": "one 0", "page": "two 0", "http": "six 0", "cluster": "ten 0", "unsent": "own 0", "sent": "own",
        "changes": 1, "late": "here", "unpinned": "own 0", "bounds": [null, "too-large", "bad-options"],
    });
    assert_eq!(result, expected);
    bed.browser.close().await
}

#[tokio::test]
async fn a_value_pinned_during_a_push_is_the_pushed_value() -> Result<()> {
    let bed = TestBed::new(&[("sparse", SPARSE)]).await?;
    let result = run(
        &bed,
        r#"
  await write("k", "o".repeat(131072));
  await (await load("sparse")).run();
  // The push takes sixteen consecutive requests; reading the value takes one.
  const pushing = state.push("k");
  await Promise.all([state.pin("k"), pushing]);
  const expected = "no".repeat(65536);
  return [text(await other.state.pull("k")) === expected, text(await state.get("k")) === expected];"#,
    )
    .await?;
    assert_eq!(result, json!([true, true]));
    bed.browser.close().await
}

#[tokio::test]
async fn a_failed_pin_is_retried() -> Result<()> {
    let bed = TestBed::new(&[("take", TAKE)]).await?;
    let result = run(
        &bed,
        r#"
  // The relay watches keys with a total length of at most 64 KiB.
  const [long, longer] = ["l".repeat(10_000), "m".repeat(60_000)];
  await write(long, "one");
  await state.pin(longer);
  const seen = { refused: (await failure(state.pin(long))).message.includes("watches at most") };
  await pulled(() => state.unpin(longer), state, long);
  seen.first = text(await state.get(long));
  await pulled(() => write(long, "two"), state, long);
  seen.second = text(await state.get(long));
  return seen;"#,
    )
    .await?;
    assert_eq!(result, json!({ "refused": true, "first": "one", "second": "two" }));
    bed.browser.close().await
}

#[tokio::test]
async fn prefetching_is_bounded() -> Result<()> {
    let bed = TestBed::new(&[("vast", VAST)]).await?;
    let result = run(
        &bed,
        r#"
  const warned = [];
  console.warn = (message) => warned.push(message);
  await (await load("vast")).run({ where: "cluster" });
  await write("k", "one");
  const seen = { codes: await codes([state.prefetch(["vast"]), state.pin("vast"), state.prefetch(["k"])]) };
  // If one value in the options of `connect` or in a manifest is too large, the others are still prefetched.
  const late = await connect({ user: "demo", state: { prefetch: ["vast", "k"] } });
  seen.k = text(await late.state.get("k"));
  while (!warned.length) await late.state.get("absent");
  seen.warned = warned.map((message) => message.includes("`vast` is not prefetched"));
  return seen;"#,
    )
    .await?;
    let codes = json!(["too-large", "too-large", null]);
    assert_eq!(result, json!({ "codes": codes, "k": "one", "warned": [true] }));
    bed.browser.close().await
}

#[tokio::test]
async fn pins_outlive_a_connection_and_a_session() -> Result<()> {
    let bed = TestBed::new(&[("take", TAKE)]).await?;
    let result = run(
        &bed,
        r#"
  const sockets = [];
  const Real = WebSocket;
  let gate = Promise.resolve();
  let version;
  globalThis.WebSocket = class extends Real {
    constructor(...args) { super(...args); sockets.push(this); }
    send(frame) {
      // The first frame contains the protocol version.
      if (version && !this.greeted) (frame = frame.slice())[5] = version;
      this.greeted = true;
      super.send(frame);
    }
  };
  await write("k", "one");
  const here = await connect({ user: "demo", transport: "websocket", state: { pin: ["k"] } });
  await here.state.pin("k");
  const seen = [text(await here.state.get("k"))];
  // First the connection breaks and the value is written meanwhile; then the session ends as well.
  for (const [code, value] of [[4000, "two"], [1000, "six"]]) {
    const count = sockets.length;
    await pulled(() => { sockets.at(-1).close(code); return write("k", value); }, here.state);
    seen.push(text(await here.state.get("k")), sockets.length - count);
    await pulled(() => write("k", "own"), here.state);
    seen.push(text(await here.state.get("k")));
  }
  // A relay of an older version: the value is pulled once, and the page logs a warning.
  const warned = [];
  console.warn = (message) => warned.push(message);
  version = 3;
  const old = await connect({ user: "demo", transport: "websocket" });
  await Promise.all(["k", "l"].map((key) => old.state.pin(key)));
  await write("k", "new");
  await old.state.get("nothing");
  return { seen, old: text(await old.state.get("k")), warned };"#,
    )
    .await?;
    assert_eq!(result["seen"], json!(["one", "two", 1, "own", "six", 1, "own"]), "{result}");
    assert_eq!(result["old"], "own", "{result}");
    assert_eq!(result["warned"].as_array().map(Vec::len), Some(1), "{result}");
    assert!(result["warned"][0].as_str().is_some_and(|text| text.contains("too old")), "{result}");
    bed.browser.close().await
}

#[tokio::test]
async fn prefetched_values_are_read_without_a_request() -> Result<()> {
    let bed = TestBed::new(&[("take", TAKE)]).await?;
    let result = run(
        &bed,
        r#"
  const take = await load("take");
  const keys = Array.from({ length: 40 }, (_, number) => `v${number}`);
  for (const key of ["k", ...keys]) await write(key, key);
  await state.put("v1", "V!");
  await state.prefetch([...keys, "absent", "k", "k"]);
  const seen = { run: await ran(take), own: text(await state.get("v1")), wrong: [] };
  // Reading a prefetched value sends no request.
  runtime.dispose();
  const here = await connect({ user: "demo", state: { prefetch: ["k"] } });
  await pulled(() => {}, here.state).then(async () => { seen.connect = await ran(await load("take", here)); });
  seen.wrong = await codes([
    here.state.prefetch("k"), here.state.prefetch([1]), here.state.prefetch(Array(1025).fill("k")),
    connect({ user: "demo", state: "k" }), connect({ user: "demo", state: { pin: "k" } }),
    connect({ user: "demo", state: { local: Array(257).fill("k") } }),
  ]);
  seen.nothing = await here.state.prefetch([]);
  return seen;"#,
    )
    .await?;
    assert_eq!((&result["run"], &result["connect"]), (&json!("k 0"), &json!("k 0")), "{result}");
    assert_eq!(result["own"], "V!", "{result}");
    assert_eq!(result["wrong"], json!(vec!["bad-options"; 6]), "{result}");
    bed.browser.close().await
}

#[tokio::test]
async fn page_only_state_never_leaves_the_page() -> Result<()> {
    let bed = TestBed::new(&[("calls", CALLS), ("found", FOUND), ("peek", PEEK), ("stash", STASH)])
        .await?;
    let result = run(
        &bed,
        r#"
  const here = await connect({ user: "demo", where: "browser", state: { local: ["mine/*"], pin: ["mine/k"], prefetch: ["mine/k"] } });
  const [peek, stash, found, calls] = await Promise.all(["peek", "stash", "found", "calls"].map((name) => load(name, here)));
  const at = async (where) => text((await peek.run({ input: "mine/k", where })).output);
  const seen = { absent: [await here.state.get("mine/k") === undefined, await at("browser")] };
  const heard = [];
  here.state.subscribe("mine/k", ({ type }) => heard.push(type));
  const events = [];
  seen.stash = (await stash.run({ input: "s", onEvent: ({ type }) => events.push(type) })).returnValue;
  seen.events = events.filter((type) => type.startsWith("state"));
  // Other functions of the page, the page itself, and its workers see the value.
  seen.run = await at("browser");
  seen.page = [text(await here.state.get("mine/k")), text(await here.state.pull("mine/k")), text(await here.state.readAppended("mine/l", 9))];
  const called = async (input) => {
    const places = [];
    const { output } = await calls.run({ input, onEvent: ({ type, where }) => type === "callFinished" && places.push(where) });
    return [...output.slice(0, 1), ...places];
  };
  seen.worker = await called("1found");
  await here.state.put("mine/k", "t");
  await here.state.push("mine/k");
  seen.workerAgain = await called("1found");
  // Writes of a worker reach the page.
  await here.state.clearAppended("mine/l");
  await called("7stash");
  seen.back = [text(await here.state.get("mine/k")), text(await here.state.readAppended("mine/l", 9)), await at("browser")];
  // The cluster has neither value nor list.
  seen.heard = [...new Set(heard)];
  seen.status = [await status("mine/k"), await status("mine/l"), await at("cluster"), await other.state.get("mine/k") === undefined];
  seen.list = (await other.state.readAppended("mine/l", 9)).length;
  here.dispose();
  return seen;"#,
    )
    .await?;
    let expected = json!({
        "absent": [true, ""], "stash": 115, "events": [], "run": "s", "page": ["s", "s", "s"],
        "worker": [115, "browser"], "workerAgain": [116, "browser"], "back": ["7", "7777777", "7"],
        "heard": ["written", "pulled"], "status": [404, 404, "", true], "list": 0,
    });
    assert_eq!(result, expected);
    bed.browser.close().await
}

#[tokio::test]
async fn rules_in_a_manifest_apply_to_the_page() -> Result<()> {
    let mut site = Site::new()?;
    site.add_with("take", TAKE, &["--state-pin", "k", "--state-local", "mine/*"]).await?;
    site.add("stash", STASH).await?;
    let relay = Relay::start(site.path()).await?;
    relay.upload(USER, site.originals()).await?;
    let browser = Browser::start(Kind::Chromium).await?;
    let bed = TestBed { browser, relay, _site: site };
    let result = run(
        &bed,
        r#"
  await write("k", "one");
  const stash = await load("stash");
  let take;
  await pulled(async () => { take = await load("take"); });
  const seen = { first: await ran(take) };
  await pulled(() => write("k", "two"));
  seen.second = await ran(take);
  // Rules in the manifest of one function apply to the whole page.
  await stash.run({ input: "s" });
  seen.status = await status("mine/k");
  seen.page = text(await state.get("mine/k"));
  // Loading fails if a page-only rule cannot be applied.
  const many = Array.from({ length: 257 }, (_, number) => `${number}`);
  const full = await connect({ user: "demo", state: { local: many.slice(1) } });
  seen.refused = await codes([load("take", full), load("stash", full)]);
  const real = globalThis.fetch;
  globalThis.fetch = async (...args) => {
    const manifest = await (await real(...args)).json();
    return Response.json({ ...manifest, state: { local: many } });
  };
  seen.refused.push(...await codes([load("take", other)]));
  return seen;"#,
    )
    .await?;
    let refused = json!(["cannot-load", null, "cannot-load"]);
    let expected = json!({ "first": "one 0", "second": "two 0", "status": 404, "page": "s", "refused": refused });
    assert_eq!(result, expected);
    bed.browser.close().await
}

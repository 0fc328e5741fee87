//! Chained calls in workers of the page: the worker pool, and where each call is placed.

use super::{TestBed, USER};
use anyhow::Result;
use faasm_browser_tests::{Browser, Kind, Relay, Site};
use serde_json::{Value, json};

/// Chains a named function as often as its input says.
const CALLS: &str = include_str!("../functions/calls.wat");
/// Appends a byte to the list `ticks`.
const APPEND: &str = include_str!("../functions/append.wat");
/// Chains itself without end.
const DOWN: &str = include_str!("../functions/down.wat");
/// Never returns.
const ENDLESS: &str = include_str!("../functions/endless.wat");
/// Chains a call that writes state `left`, and ends without awaiting it.
const LEAVE: &str = include_str!("../functions/leave.wat");
/// Sleeps for a minute.
const NAP: &str = include_str!("../functions/nap.wat");
/// Computes for some tenths of a second.
const SPIN: &str = include_str!("../functions/spin.wat");
/// Outputs its input.
const TINY: &str = include_str!("../functions/tiny.wat");
/// Chains a call that chains a one-minute sleep without awaiting it; returns, or sleeps if its input is not empty.
const TREE: &str = include_str!("../functions/tree.wat");
/// Chains a call that sleeps for a minute, reports that, and awaits it.
const WAIT: &str = include_str!("../functions/wait.wat");

/// Shared by the scripts: observable workers, a fixed number of cores, and the place where each call of a run ran.
const BEFORE: &str = r#"
  Object.defineProperty(navigator, "hardwareConcurrency", { value: 4, configurable: true });
  const workers = [];
  const RealWorker = Worker;
  globalThis.Worker = class extends RealWorker {
    constructor(...args) {
      super(...args);
      workers.push(this);
      this.sent = [];
      this.gone = new Promise((resolve) => { this.end = resolve; });
    }
    postMessage(message, ...more) {
      this.sent.push(message);
      super.postMessage(message, ...more);
    }
    terminate() {
      super.terminate();
      this.end(true);
    }
  };
  const open = (where) => connect({ user: "demo", where });
  // Where the calls of a run ran, in the order in which they ended, and their return values.
  const places = async (fn, options = {}) => {
    const ran = [];
    const onEvent = ({ type, where }) => { if (type === "callFinished") ran.push(where); };
    const { output, returnValue } = await fn.run({ ...options, onEvent });
    const values = [...new Int32Array(output.slice(0, output.length & ~3).buffer)];
    return { ran: ran.join(" "), values, returnValue };
  };
  const until = async (condition) => { while (!condition()) await new Promise((resolve) => setTimeout(resolve)); };
  const begun = (fn, options = {}) => new Promise((resolve) => {
    const run = fn.run({ ...options, onEvent: ({ type }) => type === "chained" && setTimeout(() => resolve({ run })) });
  });
"#;

async fn bed() -> Result<TestBed> {
    TestBed::new(&[
        ("append", APPEND),
        ("calls", CALLS),
        ("down", DOWN),
        ("endless", ENDLESS),
        ("leave", LEAVE),
        ("nap", NAP),
        ("spin", SPIN),
        ("tiny", TINY),
        ("tree", TREE),
        ("wait", WAIT),
    ])
    .await
}

async fn run(bed: &TestBed, body: &str) -> Result<Value> {
    bed.run(&format!("{BEFORE}{body}")).await
}

#[tokio::test]
async fn workers_start_with_the_first_call_and_run_side_by_side() -> Result<()> {
    let bed = bed().await?;
    let result = run(
        &bed,
        r#"
  const here = await open("browser");
  const [calls, tiny] = [await load("calls", here), await load("tiny", here)];
  await tiny.run();
  const before = workers.length;
  // A call that never ends blocks its worker; calls that arrive meanwhile use another worker.
  const controller = new AbortController();
  const { run: stuck } = await begun(calls, { input: "1endless", signal: controller.signal });
  await until(() => workers.length > 0);
  const beside = [await places(calls, { input: "3tiny" }), await places(calls, { input: "2spin" })];
  const started = workers.length;
  // The blocked call receives no message: its worker is terminated.
  controller.abort();
  const aborted = (await failure(stuck)).code;
  const gone = await workers[0].gone;
  const after = await places(calls, { input: "4tiny" });
  here.dispose();
  return { before, beside, started, aborted, gone, after };"#,
    )
    .await?;
    assert_eq!(result["before"], 0, "{result}");
    let browser = |count| vec!["browser"; count].join(" ");
    assert_eq!(
        result["beside"],
        json!([
            { "ran": browser(3), "values": [0, 0, 0], "returnValue": 0 },
            { "ran": browser(2), "values": [7, 7], "returnValue": 0 },
        ]),
        "{result}"
    );
    let started = result["started"].as_u64();
    assert!(started > Some(1) && started <= Some(4), "{result}");
    assert_eq!((&result["aborted"], &result["gone"]), (&json!("aborted"), &json!(true)));
    assert_eq!(result["after"]["ran"], browser(4), "{result}");
    bed.browser.close().await
}

#[tokio::test]
async fn the_page_stays_responsive_while_calls_compute() -> Result<()> {
    let bed = bed().await?;
    let result = run(
        &bed,
        r#"
  const here = await open("browser");
  const calls = await load("calls", here);
  let [longest, before] = [0, performance.now()];
  const timer = setInterval(() => {
    const now = performance.now();
    [longest, before] = [Math.max(longest, now - before), now];
  }, 4);
  const began = before;
  const ran = await places(calls, { input: "8spin" });
  const total = performance.now() - began;
  clearInterval(timer);
  here.dispose();
  return { ...ran, total, longest, workers: workers.length };"#,
    )
    .await?;
    println!("{result}");
    assert_eq!(result["values"], json!(vec![7; 8]), "{result}");
    assert_eq!(result["workers"], 4, "{result}");
    let milliseconds = |name: &str| result[name].as_f64().unwrap_or(f64::NAN);
    assert!(milliseconds("longest") < milliseconds("total") / 4.0, "{result}");
    bed.browser.close().await
}

#[tokio::test]
async fn a_dead_worker_makes_only_its_calls_outcome_unknown() -> Result<()> {
    let bed = bed().await?;
    let result = run(
        &bed,
        r#"
  const here = await open("browser");
  const [wait, calls] = [await load("wait", here), await load("calls", here)];
  await places(calls, { input: "1tiny" });
  const { run } = await begun(wait);
  await until(() => workers[0].sent.some(({ options }) => options?.pointer));
  workers[0].dispatchEvent(new ErrorEvent("error", { message: "out of memory" }));
  const died = await failure(run);
  const after = await places(calls, { input: "1tiny" });
  here.dispose();
  return { died, after, workers: workers.length };"#,
    )
    .await?;
    assert_eq!(result["died"]["code"], "outcome-unknown", "{result}");
    let message = result["died"]["message"].as_str().unwrap_or_default();
    assert!(message.contains("out of memory"), "{result}");
    assert_eq!((&result["after"]["ran"], &result["workers"]), (&json!("browser"), &json!(2)));
    bed.browser.close().await
}

#[tokio::test]
async fn a_call_that_exceeds_its_time_limit_fails() -> Result<()> {
    let bed = bed().await?;
    let result = run(
        &bed,
        r#"
  // Shortens the one-minute time limit of a call and the extra second after it.
  const later = setTimeout;
  globalThis.setTimeout = (act, delay, ...more) => later(act, delay === 61_000 ? 300 : delay, ...more);
  const here = await open("browser");
  const calls = await load("calls", here);
  const stuck = await places(calls, { input: "1endless" });
  const gone = await workers[0].gone;
  const after = await places(calls, { input: "1tiny" });
  here.dispose();
  return { stuck, gone, after };"#,
    )
    .await?;
    let ran = |value| json!({ "ran": "browser", "values": [value], "returnValue": 0 });
    assert_eq!((&result["stuck"], &result["after"]), (&ran(1), &ran(0)), "{result}");
    assert_eq!(result["gone"], true, "{result}");
    bed.browser.close().await
}

#[tokio::test]
async fn without_workers_calls_run_in_the_cluster_or_on_a_workers_own_thread() -> Result<()> {
    let bed = bed().await?;
    let result = run(
        &bed,
        r#"
  const results = {};
  const kinds = {
    thrown: () => { throw new Error("no workers here"); },
    refused: () => new RealWorker("/no-such-script.js", { type: "module" }),
    missing: undefined,
  };
  for (const [kind, Kind] of Object.entries(kinds)) {
    globalThis.Worker = Kind && function () { return Kind(); };
    const here = await open("browser");
    results[kind] = await places(await load("calls", here), { input: "3tiny" });
    here.dispose();
  }
  const script = `
    import { connect } from "${location.origin}/runtime/index.js";
    delete self.Worker;
    (async () => {
      const runtime = await connect({ user: "demo", url: "${location.origin}", where: "browser" });
      const ran = [];
      const calls = await runtime.load("${location.origin}/functions/calls.json");
      const onEvent = ({ type, where }) => { if (type === "callFinished") ran.push(where); };
      const down = await (await runtime.load("${location.origin}/functions/down.json")).run({ timeout: 60000 });
      const { output } = await calls.run({ input: "2spin", onEvent });
      runtime.dispose();
      postMessage({ ran: ran.join(" "), values: [...new Int32Array(output.buffer)], returnValue: down.returnValue });
    })().catch((error) => postMessage(String(error.message)));`;
  const thread = new RealWorker(URL.createObjectURL(new Blob([script], { type: "text/javascript" })), { type: "module" });
  results.nested = await new Promise((resolve, reject) => {
    thread.onmessage = ({ data }) => resolve(data);
    thread.onerror = ({ message }) => reject(new Error(message));
  });
  return results;"#,
    )
    .await?;
    let cluster =
        json!({ "ran": "cluster cluster cluster", "values": [0, 0, 0], "returnValue": 0 });
    for kind in ["thrown", "refused", "missing"] {
        assert_eq!(result[kind], cluster, "{kind}: {result}");
    }
    let nested = json!({ "ran": "browser browser", "values": [7, 7], "returnValue": 66 });
    assert_eq!(result["nested"], nested, "{result}");
    bed.browser.close().await
}

#[tokio::test]
async fn calls_chain_as_deep_as_in_the_cluster() -> Result<()> {
    let bed = bed().await?;
    let result = run(
        &bed,
        r#"
  const here = await open("browser");
  const down = await load("down", here);
  const [browser, cluster] = [await down.run(), await down.run({ where: "cluster" })];
  here.dispose();
  return [browser.returnValue, cluster.returnValue];"#,
    )
    .await?;
    // The page's run and 64 calls add 1 each; the next call is rejected with 1.
    assert_eq!(result, json!([66, 66]));
    bed.browser.close().await
}

#[tokio::test]
async fn disposing_ends_workers_and_unawaited_calls_complete() -> Result<()> {
    let bed = bed().await?;
    let result = run(
        &bed,
        r#"
  const here = await open("browser");
  await (await load("leave", here)).run();
  let left;
  while (!left) left = await here.state.pull("left");
  const { run } = await begun(await load("wait", here));
  const { run: stuck } = await begun(await load("calls", here), { input: "1endless" });
  await until(() => workers.length > 1);
  here.dispose();
  const ended = await codes([run, stuck]);
  const gone = await Promise.all(workers.map(({ gone }) => gone));
  return { left: text(left), ended, gone: gone.every(Boolean), workers: workers.length };"#,
    )
    .await?;
    assert_eq!(result["left"], "alone", "{result}");
    assert_eq!(result["ended"], json!(["closed", "closed"]), "{result}");
    assert_eq!(result["gone"], true, "{result}");
    bed.browser.close().await
}

#[tokio::test]
async fn rules_are_by_name_by_function_and_in_the_manifest() -> Result<()> {
    let mut site = Site::new()?;
    for (name, rules) in
        [("calls", &[] as &[&str]), ("rules", &["--where", "browser", "--where", "spin=cluster"])]
    {
        site.add_with(name, CALLS, rules).await?;
    }
    for (name, text) in [("tiny", TINY), ("spin", SPIN)] {
        site.add(name, text).await?;
    }
    let relay = Relay::start(site.path()).await?;
    relay.upload(USER, site.originals()).await?;
    let browser = Browser::start(Kind::Chromium).await?;
    let bed = TestBed { browser, relay, _site: site };
    let result = run(
        &bed,
        r#"
  const options = {
    none: undefined,
    cluster: "cluster",
    names: { default: "cluster", spin: "browser" },
    only: { tiny: "cluster" },
    chosen: (name) => ({ spin: "browser" })[name],
    auto: "auto",
  };
  const results = {};
  for (const [kind, where] of Object.entries(options)) {
    const here = await open(where);
    results[kind] = [];
    for (const name of ["calls", "rules"]) {
      const fn = await load(name, here);
      for (const callee of ["tiny", "spin"]) results[kind].push((await places(fn, { input: `1${callee}` })).ran[0]);
    }
    // A missing function fails as in the cluster.
    const missing = await places(await load("rules", here), { input: "1nowhere" });
    results[kind].push(missing.ran[0], missing.values[0]);
    here.dispose();
  }
  const wrong = await codes([open("here"), open({ tiny: "there" }), open(7)]);
  const odd = [];
  for (const where of [() => "there", () => { throw new Error("oh"); }]) {
    const here = await open(where);
    odd.push((await failure((await load("calls", here)).run({ input: "1tiny" }))).code);
    here.dispose();
  }
  return { results, wrong, odd };"#,
    )
    .await?;
    // First `calls`, which has no rules, then `rules`, which has: where tiny and spin ran. Then the missing function.
    let expected = json!({
        "none": ["c", "c", "b", "c", "c", 1],
        "cluster": ["c", "c", "c", "c", "c", 1],
        "names": ["c", "b", "c", "b", "c", 1],
        "only": ["c", "c", "c", "c", "c", 1],
        "chosen": ["c", "b", "b", "b", "c", 1],
        // The first call runs in the cluster; the second is tried in the page.
        "auto": ["c", "c", "b", "b", "c", 1],
    });
    assert_eq!(result["results"], expected, "{result}");
    assert_eq!(result["wrong"], json!(vec!["bad-options"; 3]), "{result}");
    assert_eq!(result["odd"], json!(vec!["bad-options"; 2]), "{result}");
    bed.browser.close().await
}

#[tokio::test]
async fn workers_get_new_tokens() -> Result<()> {
    let bed = bed().await?;
    let result = run(
        &bed,
        r#"
  const base64 = (object) => btoa(JSON.stringify(object)).replaceAll("=", "");
  let asked = 0;
  const token = () => `${base64({ alg: "none" })}.${base64({ exp: Date.now() / 1000 + 2, number: ++asked })}.`;
  const here = await connect({ user: "demo", where: "browser", token });
  await places(await load("calls", here), { input: "1tiny" });
  const first = workers[0].sent.find(({ begin }) => begin).begin.token;
  const has = () => workers[0].sent.find(({ token }) => token);
  await until(has);
  const renewed = has().token;
  here.dispose();
  return [first !== renewed, renewed.split(".").length];"#,
    )
    .await?;
    assert_eq!(result, json!([true, 3]));
    bed.browser.close().await
}

/// Simulates a blocked page thread: messages of workers are withheld until `release()`, and timers of one length fire
/// on `fire()`.
const BLOCKED: &str = r#"
  let kept = [], timers = [], length;
  const block = (milliseconds) => { [kept, timers, length] = [[], [], milliseconds]; };
  const release = () => { length = undefined; for (const act of kept) act(); };
  const fire = () => timers.forEach((act) => act());
  const said = (kind) => kept.some(({ data }) => data[kind]);
  const realTimeout = setTimeout;
  globalThis.setTimeout = (act, delay, ...more) => delay === length ? timers.push(act) : realTimeout(act, delay, ...more);
  const Watched = Worker;
  globalThis.Worker = class extends Watched {
    set onmessage(hear) {
      super.onmessage = hear && ((event) => {
        if (length) kept.push(Object.assign(() => this.terminated || hear(event), { data: event.data }));
        else hear(event);
      });
    }
    terminate() {
      this.terminated = true;
      super.terminate();
    }
  };
  const ticks = async () => (await runtime.state.readAppended("ticks", 8)).length;
"#;

#[tokio::test]
async fn a_call_runs_once_where_its_worker_starts_while_the_page_is_blocked() -> Result<()> {
    let bed = bed().await?;
    let result = run(
        &bed,
        &format!(
            "{BLOCKED}{}",
            r#"
  const here = await open("browser");
  const calls = await load("calls", here);
  block(20_000);
  const run = places(calls, { input: "1append" });
  // If the worker has the call, it has also run it by the time the page continues.
  await until(() => said("ready") && (said("ended") || !workers[0].sent.some(({ run }) => run)));
  fire();
  release();
  const ran = await run;
  here.dispose();
  return { ran, ticks: await ticks() };"#
        ),
    )
    .await?;
    let ran = json!({ "ran": "browser", "values": [0], "returnValue": 0 });
    assert_eq!(result, json!({ "ran": ran, "ticks": 1 }));
    bed.browser.close().await
}

#[tokio::test]
async fn a_worker_that_is_never_ready_has_run_no_call() -> Result<()> {
    let bed = bed().await?;
    let result = run(
        &bed,
        &format!(
            "{BLOCKED}{}",
            r#"
  const here = await open("browser");
  const calls = await load("calls", here);
  block(20_000);
  const run = places(calls, { input: "1append" });
  await until(() => said("ready"));
  fire();
  const lost = await run;
  const gone = await workers[0].gone;
  release();
  const after = await ticks();
  here.dispose();
  return { lost: lost.ran, gone, after };"#
        ),
    )
    .await?;
    assert_eq!(result, json!({ "lost": "cluster", "gone": true, "after": 1 }));
    bed.browser.close().await
}

#[tokio::test]
async fn a_call_that_ended_while_the_page_was_blocked_has_not_timed_out() -> Result<()> {
    let bed = bed().await?;
    let result = run(
        &bed,
        &format!(
            "{BLOCKED}{}",
            r#"
  const here = await open("browser");
  const calls = await load("calls", here);
  await places(calls, { input: "1tiny" });
  block(61_000);
  const run = places(calls, { input: "1spin" });
  await until(() => said("ended"));
  fire();
  release();
  const ran = await run;
  const after = await places(calls, { input: "1tiny" });
  here.dispose();
  return { ran, after: after.ran, workers: workers.length };"#
        ),
    )
    .await?;
    let ran = json!({ "ran": "browser", "values": [7], "returnValue": 0 });
    assert_eq!(result, json!({ "ran": ran, "after": "browser", "workers": 1 }));
    bed.browser.close().await
}

#[tokio::test]
async fn workers_are_tried_again_after_one_could_not_be_started() -> Result<()> {
    let bed = bed().await?;
    let result = run(
        &bed,
        r#"
  const here = await open("browser");
  const calls = await load("calls", here);
  const Works = Worker;
  let tried = 0;
  globalThis.Worker = function () { tried++; throw new Error("not now"); };
  const where = async (input) => (await places(calls, { input })).ran;
  const realNow = performance.now;
  const without = [await where("1tiny"), await where("1tiny")];
  const attempts = tried;
  globalThis.Worker = Works;
  const tooEarly = await where("1tiny");
  // Half a minute passes.
  performance.now = () => realNow.call(performance) + 31_000;
  const later = await where("2tiny");
  performance.now = realNow;
  here.dispose();
  return { without, attempts, tooEarly, later };"#,
    )
    .await?;
    let expected = json!({
        "without": ["cluster", "cluster"],
        "attempts": 1,
        "tooEarly": "cluster",
        "later": "browser browser",
    });
    assert_eq!(result, expected);
    bed.browser.close().await
}

/// Runs of `tree`, whose last call is in a worker, and timers of more than a minute, which fire on `fire()`.
const TREES: &str = r#"
  const timers = new Map();
  const [realTimeout, realClear] = [setTimeout, clearTimeout];
  globalThis.setTimeout = (act, delay, ...more) => {
    if (!(delay > 70_000 && delay <= 77_777)) return realTimeout(act, delay, ...more);
    const timer = {};
    timers.set(timer, act);
    return timer;
  };
  globalThis.clearTimeout = (timer) => timers.delete(timer) || realClear(timer);
  const fire = () => { for (const act of [...timers.values()]) act(); };
  const here = await open("browser");
  const tree = await load("tree", here);
  const sent = () => workers.flatMap(({ sent }) => sent);
  // Runs that an earlier `leaf()` has not returned.
  const seen = new Set();
  const leaf = async () => {
    const found = () => sent().find(({ run, options }) => run && options.pointer === 2 && !seen.has(run));
    await until(found);
    const { run } = found();
    seen.add(run);
    return { cancelled: () => sent().some(({ cancel }) => cancel === run) };
  };
"#;

#[tokio::test]
async fn ending_a_run_cancels_its_whole_call_tree() -> Result<()> {
    let bed = bed().await?;
    let result = run(
        &bed,
        &format!(
            "{TREES}{}",
            r#"
  const asleep = async (options) => {
    let awaited = false;
    const run = tree.run({ input: "sleep", onStdout: () => { awaited = true; }, ...options });
    await until(() => awaited);
    return { run, leaf: await leaf() };
  };
  const controller = new AbortController();
  const aborted = await asleep({ signal: controller.signal });
  const before = [aborted.leaf.cancelled()];
  controller.abort();
  const ended = await codes([aborted.run]);
  await until(aborted.leaf.cancelled);
  const late = await asleep({ timeout: 77_777 });
  before.push(late.leaf.cancelled());
  fire();
  ended.push(...await codes([late.run]));
  await until(late.leaf.cancelled);
  here.dispose();
  return { before, ended };"#
        ),
    )
    .await?;
    assert_eq!(result, json!({ "before": [false, false], "ended": ["aborted", "timeout"] }));
    bed.browser.close().await
}

#[tokio::test]
async fn unawaited_calls_continue_until_the_deadline_of_their_run() -> Result<()> {
    let bed = bed().await?;
    let result = run(
        &bed,
        &format!(
            "{TREES}{}",
            r#"
  const controller = new AbortController();
  const returned = [(await tree.run({ signal: controller.signal })).returnValue];
  const free = await leaf();
  returned.push((await tree.run({ timeout: 77_777 })).returnValue);
  const bound = await leaf();
  // The run has returned, so aborting it has no effect.
  controller.abort();
  returned.push((await tree.run()).returnValue);
  const other = await leaf();
  const before = [free, bound, other].map(({ cancelled }) => cancelled());
  fire();
  await until(bound.cancelled);
  const after = [free, other].map(({ cancelled }) => cancelled());
  here.dispose();
  return { returned, before, after };"#
        ),
    )
    .await?;
    let expected =
        json!({ "returned": [0, 0, 0], "before": [false, false, false], "after": [false, false] });
    assert_eq!(result, expected);
    bed.browser.close().await
}

#[tokio::test]
async fn calls_chained_by_a_lost_call_are_cancelled() -> Result<()> {
    let bed = bed().await?;
    let result = run(
        &bed,
        r#"
  const here = await open("browser");
  const run = (await load("calls", here)).run({ input: "1wait" });
  const calls = (pointer) => workers.flatMap((worker) =>
    worker.sent.filter(({ run, options }) => run && options.pointer === pointer).map(({ run }) => ({ worker, run })));
  await until(() => calls(1).length > 0);
  const [lost, chained] = [calls(undefined)[0], calls(1)[0]];
  const cancelled = () => chained.worker.sent.some(({ cancel }) => cancel === chained.run);
  const before = [cancelled(), lost.worker === chained.worker];
  lost.worker.dispatchEvent(new ErrorEvent("error", { message: "out of memory" }));
  const { code } = await failure(run);
  await until(cancelled);
  here.dispose();
  return { before, code };"#,
    )
    .await?;
    assert_eq!(result, json!({ "before": [false, false], "code": "outcome-unknown" }));
    bed.browser.close().await
}

//! Runs that end before their function ends: aborted by a signal, or by a timeout.

use super::TestBed;
use anyhow::Result;
use serde_json::json;

/// Prints for ever, and never waits.
const CHATTER: &str = include_str!("../functions/chatter.wat");
/// Chains a call that sleeps for a minute in the cluster, and sleeps too instead of awaiting it.
const DOZE: &str = include_str!("../functions/doze.wat");
/// Holds the write lock of state `k` while it sleeps.
const HOLD: &str = include_str!("../functions/hold.wat");
/// The same with the cluster-wide lock of `k`.
const HOLD_GLOBAL: &str = include_str!("../functions/hold_global.wat");
/// Chains a call that writes state `left`, and ends without awaiting it.
const LEAVE: &str = include_str!("../functions/leave.wat");
/// Sleeps for a minute.
const NAP: &str = include_str!("../functions/nap.wat");
/// Waits for the lock that `hold` holds.
const TAKE: &str = include_str!("../functions/take.wat");
/// Waits for the lock that `hold_global` holds.
const TAKE_GLOBAL: &str = include_str!("../functions/take_global.wat");
/// Outputs its input.
const TINY: &str = include_str!("../functions/tiny.wat");
/// Chains a call that sleeps for a minute in the cluster, reports that, and awaits it.
const WAIT: &str = include_str!("../functions/wait.wat");

#[tokio::test]
async fn a_signal_ends_a_run_and_the_calls_it_has_chained() -> Result<()> {
    let bed = TestBed::new(&[("tiny", TINY), ("wait", WAIT), ("doze", DOZE), ("nap", NAP)]).await?;
    let result = bed
        .run(
            r#"
  const [wait, doze, tiny, nap] = [await load("wait"), await load("doze"), await load("tiny"), await load("nap")];
  let printed = "";
  const dead = AbortSignal.abort(new Error("changed my mind"));
  const never = await failure(wait.run({ signal: dead, onStdout: (text) => { printed += text; } }));

  // Starts as many one-minute calls as the relay performs concurrently for one page. Another call gets a permit only if
  // all of them were cancelled.
  const rounds = [];
  const begin = [
    (signal, onStdout) => wait.run({ signal, onStdout }), (signal, onStdout) => doze.run({ signal, onStdout }),
    (signal, began) => { setTimeout(began); return nap.run({ signal, where: "cluster" }); },
  ];
  for (const start of begin) {
    const controller = new AbortController();
    let started = 0;
    const runs = await new Promise((resolve) => {
      const began = () => ++started === 64 && resolve(runs);
      const runs = Array.from({ length: 64 }, () => start(controller.signal, began));
    });
    controller.abort();
    const ended = new Set(await codes(runs));
    rounds.push([...ended, text((await tiny.run({ input: "after", where: "cluster" })).output)]);
  }
  return { never, printed, rounds };"#,
        )
        .await?;
    assert_eq!(result["never"]["code"], "aborted", "{result}");
    assert_eq!(result["never"]["name"], "FaasmError", "{result}");
    assert_eq!(result["never"]["cause"], "Error: changed my mind", "{result}");
    assert_eq!(result["printed"], "", "{result}");
    assert_eq!(result["rounds"], json!(vec![["aborted", "after"]; 3]), "{result}");
    bed.browser.close().await
}

#[tokio::test]
async fn a_run_ends_wherever_its_function_is() -> Result<()> {
    let functions =
        [("chatter", CHATTER), ("hold", HOLD), ("nap", NAP), ("take", TAKE), ("tiny", TINY)];
    let bed = TestBed::new(&functions).await?;
    let result = bed
        .run(
            r#"
  const [chatter, hold, nap] = [await load("chatter"), await load("hold"), await load("nap")];
  const [take, tiny] = [await load("take"), await load("tiny")];
  const abortOn = (fn, event, options = {}) => {
    const controller = new AbortController();
    return fn.run({ ...options, signal: controller.signal, [event]: () => controller.abort() });
  };
  // Suspended, and inside a host call of a function that never waits; the latter needs no timer.
  const signals = await codes([abortOn(nap, "onEvent"), abortOn(nap, "onStdout"), abortOn(chatter, "onStdout")]);
  const timeouts = await codes([
    nap.run({ timeout: 50 }), chatter.run({ timeout: 50 }), nap.run({ timeout: 50, where: "cluster" }),
    nap.run({ timeout: 50, engine: "jspi" }), chatter.run({ timeout: 50, engine: "jspi" }),
    nap.run({ timeout: 50, engine: "asyncify" }), chatter.run({ timeout: 50, engine: "asyncify" }),
  ]);
  // An aborted run releases its locks.
  const held = await failure(abortOn(hold, "onStdout"));
  const taken = (await take.run()).returnValue;
  const fine = await tiny.run({ timeout: 1e12, signal: new AbortController().signal });
  return { signals, timeouts, held: held.code, taken, fine: fine.returnValue };"#,
        )
        .await?;
    assert_eq!(result["signals"], json!(vec!["aborted"; 3]), "{result}");
    assert_eq!(result["timeouts"], json!(vec!["timeout"; 7]), "{result}");
    assert_eq!(result["held"], "aborted", "{result}");
    assert_eq!((&result["taken"], &result["fine"]), (&json!(0), &json!(0)), "{result}");
    bed.browser.close().await
}

#[tokio::test]
async fn a_run_that_ends_frees_its_locks_of_the_cluster_and_its_place_in_their_queues() -> Result<()>
{
    let bed = TestBed::new(&[("hold", HOLD_GLOBAL), ("take", TAKE_GLOBAL)]).await?;
    let result = bed
        .run(
            r#"
  const [hold, take] = [await load("hold"), await load("take")];
  const begin = (fn, options) => {
    const controller = new AbortController();
    return new Promise((resolve) => {
      const begun = () => resolve({ ended, controller });
      const ended = failure(fn.run({ signal: controller.signal, ...options(begun) }));
    });
  };
  const awaits = (begun) => ({ onEvent: ({ awaits }) => awaits === "lock" && begun() });
  const holder = await begin(hold, (begun) => ({ onStdout: begun }));
  const waiter = await begin(take, awaits);
  const last = take.run();
  waiter.controller.abort();
  const waited = await waiter.ended;
  const began = performance.now();
  holder.controller.abort();
  const held = await holder.ended;
  const { returnValue } = await last;
  const inTheCluster = await take.run({ where: "cluster" });
  return { codes: [waited.code, held.code], taken: [returnValue, inTheCluster.returnValue], took: performance.now() - began };"#,
        )
        .await?;
    assert_eq!(result["codes"], json!(["aborted", "aborted"]), "{result}");
    assert_eq!(result["taken"], json!([0, 0]), "{result}");
    // Shorter than a lease.
    assert!(result["took"].as_f64().is_some_and(|took| took < 8000.0), "{result}");
    bed.browser.close().await
}

#[tokio::test]
async fn a_call_that_is_not_awaited_goes_on_after_its_run() -> Result<()> {
    let bed = TestBed::new(&[("leave", LEAVE)]).await?;
    let result = bed
        .run(
            r#"
  const leave = await load("leave");
  await leave.run();
  let left;
  while (!left) left = await runtime.state.pull("left");
  return text(left);"#,
        )
        .await?;
    assert_eq!(result, "alone");
    bed.browser.close().await
}

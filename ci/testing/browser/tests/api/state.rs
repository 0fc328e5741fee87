//! `runtime.state`: the page's own code uses the state that its runs use.

use super::TestBed;
use anyhow::Result;
use serde_json::json;

/// Pulls state `big` and returns how many of its words differ from the first one.
const EVEN: &str = include_str!("../functions/even.wat");
/// Writes `held` to state `k`.
const HOLD: &str = include_str!("../functions/hold.wat");
/// Pulls the state value named by its input and outputs it.
const PEEK: &str = include_str!("../functions/peek.wat");
/// Outputs the value of state `k`.
const TAKE: &str = include_str!("../functions/take.wat");

#[tokio::test]
async fn page_and_runs_work_on_the_same_two_tiers() -> Result<()> {
    let bed = TestBed::new(&[("hold", HOLD), ("peek", PEEK), ("take", TAKE)]).await?;
    let result = bed
        .run(
            r#"
  const { state } = runtime;
  const [hold, peek, take] = [await load("hold"), await load("peek"), await load("take")];
  const cluster = async (key) => text((await peek.run({ input: key, where: "cluster" })).output);
  const nothing = [await state.get("k"), await state.pull("k"), await state.push("k")];
  await state.put("k", "page");
  const copy = await state.get("k");
  const seen = { own: text(copy), run: text((await take.run()).output), cluster: await cluster("k") };
  copy.fill(0);
  seen.still = text(await state.get("k"));
  await state.push("k");
  seen.pushed = await cluster("k");
  await hold.run();
  seen.written = text(await state.get("k"));
  seen.unsent = await cluster("k");
  seen.pulled = text(await state.pull("k"));
  // A second page of the same user.
  const other = await connect({ user: "demo" });
  seen.other = text(await other.state.get("k"));
  await other.state.put("k", new TextEncoder().encode("else").buffer);
  await other.state.push("k");
  seen.stale = text(await state.get("k"));
  seen.fresh = text(await state.pull("k"));
  const size = await failure(state.put("k", "longer"));
  return { nothing: nothing.map((value) => value === undefined), seen, size, same: runtime.state === state };"#,
        )
        .await?;
    assert_eq!(result["nothing"], json!([true, true, true]), "{result}");
    let expected = json!({
        "own": "page", "run": "page", "cluster": "", "still": "page", "pushed": "page", "written": "held",
        "unsent": "page", "pulled": "page", "other": "page", "stale": "page", "fresh": "else",
    });
    assert_eq!(result["seen"], expected);
    assert_eq!(result["size"]["code"], "state", "{result}");
    assert_eq!(result["same"], true);

    let result = bed
        .run(
            r#"
  const { state } = runtime;
  for (const element of ["a", "bc", "d"]) await state.append("list", element);
  const first = text(await state.readAppended("list", 2));
  await state.clearAppended("list");
  await state.append("list", new Uint8Array([101]));
  const wrong = await codes([
    state.get(1), state.put("k", 1), state.append("list"), state.readAppended("list", -1), state.readAppended("list"),
  ]);
  let thrown;
  try { state.subscribe("k"); } catch (error) { thrown = error.code; }
  return { first, then: text(await state.readAppended("list", 1)), wrong, thrown };"#,
        )
        .await?;
    assert_eq!((&result["first"], &result["then"]), (&json!("abc"), &json!("e")), "{result}");
    assert_eq!(result["wrong"], json!(vec!["bad-options"; 5]), "{result}");
    assert_eq!(result["thrown"], "bad-options", "{result}");
    bed.browser.close().await
}

#[tokio::test]
async fn subscribers_hear_what_happens_in_the_page() -> Result<()> {
    let bed = TestBed::new(&[("hold", HOLD), ("take", TAKE)]).await?;
    let result = bed
        .run(
            r#"
  const { state } = runtime;
  const [hold, take] = [await load("hold"), await load("take")];
  let heard = [];
  const during = (act) => { heard = []; return act().then(() => heard.map(({ type, key }) => `${type} ${key}`)); };
  const end = state.subscribe("k", (change) => heard.push(change));
  const endThrowing = state.subscribe("k", () => { endThrowing(); throw new Error("not for you"); });
  const told = {
    put: await during(() => state.put("k", "page")),
    other: await during(() => state.put("unheard", "page")),
    get: await during(() => state.get("k")),
    push: await during(() => state.push("k")),
    clean: await during(() => state.push("k")),
    pull: await during(() => state.pull("k")),
    run: await during(() => hold.run()),
    read: await during(() => take.run()),
  };
  // Inside a host call, while the kernel uses the state.
  let inside;
  told.inside = await during(() => hold.run({ onStdout: () => { inside = state.subscribe("k", () => heard.push({ type: "inside", key: "k" })); } }));
  inside();
  end();
  end();
  told.ended = await during(() => state.put("k", "gone"));
  return told;"#,
        )
        .await?;
    let expected = json!({
        "put": ["written k"], "other": [], "get": [], "push": ["pushed k"], "clean": [], "pull": ["pulled k"],
        "run": ["written k"], "read": [], "inside": ["written k", "inside k"], "ended": [],
    });
    assert_eq!(result, expected);
    bed.browser.close().await
}

#[tokio::test]
async fn a_value_of_several_transfers_is_never_seen_in_part() -> Result<()> {
    let bed = TestBed::new(&[("even", EVEN)]).await?;
    let result = bed
        .run(
            r#"
  const size = 20 << 20;
  const [writer, reader] = await Promise.all([0, 1].map(() => connect({ user: "demo" })));
  const even = await load("even", reader);
  const seen = { page: 0, cluster: 0, torn: [] };
  const write = async (byte) => {
    await writer.state.put("big", new Uint8Array(size).fill(byte));
    await writer.state.push("big");
  };
  await write(1);
  let done = false;
  const writing = (async () => {
    for (let byte = 2; byte < 8; byte++) await write(byte);
    done = true;
  })();
  // The cluster reads in one step, so a partial value would come from a partial write.
  const look = async (kind, options) => {
    while (!done) {
      const { returnValue } = await even.run(options);
      seen[kind]++;
      if (returnValue !== 0) seen.torn.push(kind);
    }
  };
  await Promise.all([writing, look("page"), look("cluster", { where: "cluster" })]);
  const last = (await reader.state.pull("big"))[size - 1];
  writer.dispose();
  reader.dispose();
  return { ...seen, last };"#,
        )
        .await?;
    assert_eq!((&result["torn"], &result["last"]), (&json!([]), &json!(7)), "{result}");
    assert!(result["page"].as_u64() > Some(0) && result["cluster"].as_u64() > Some(0));
    bed.browser.close().await
}

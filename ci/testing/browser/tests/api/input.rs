//! The types of input that a function accepts.

use super::TestBed;
use anyhow::Result;
use serde_json::json;

/// Outputs its input.
const TINY: &str = include_str!("../functions/tiny.wat");

#[tokio::test]
async fn input_may_have_any_type_that_holds_bytes() -> Result<()> {
    let bed = TestBed::new(&[("tiny", TINY)]).await?;
    let result = bed
        .run(
            r#"
  const tiny = await load("tiny");
  const bytes = new TextEncoder().encode("été");
  const inputs = {
    nothing: undefined, text: "été", array: bytes, buffer: bytes.buffer, blob: new Blob(["é", "té"]),
    part: new Uint8Array([0, ...bytes, 0]).subarray(1, 6), stream: new Response("été").body,
    pieces: new ReadableStream({ start(to) { for (const byte of bytes) to.enqueue(Uint8Array.of(byte)); to.close(); } }),
  };
  const read = {};
  for (const [name, input] of Object.entries(inputs)) {
    read[name] = text((await tiny.run({ input })).output);
    if (name === "text") read.cluster = text((await tiny.run({ input, where: "cluster" })).output);
  }
  return read;"#,
        )
        .await?;
    let expected = json!({
        "nothing": "", "text": "été", "cluster": "été", "array": "été", "buffer": "été", "blob": "été",
        "part": "été", "stream": "été", "pieces": "été",
    });
    assert_eq!(result, expected);

    let result = bed
        .run(
            r#"
  const tiny = await load("tiny");
  const failing = new ReadableStream({ pull() { throw new Error("the disk is full"); } });
  const locked = new Response("x").body;
  locked.getReader();
  let cancelled;
  const controller = new AbortController();
  const pull = () => { controller.abort(); return new Promise(() => {}); };
  const endless = new ReadableStream({ pull, cancel() { cancelled = true; } }, { highWaterMark: 0 });
  const stopped = failure(tiny.run({ input: endless, signal: controller.signal }));
  return {
    failing: await failure(tiny.run({ input: failing })),
    others: await codes([
      tiny.run({ input: locked }),
      tiny.run({ input: new ReadableStream({ start(to) { to.enqueue("text"); } }) }),
      tiny.run({ input: { length: 3 } }), tiny.run({ args: "a b" }), tiny.run({ args: [1] }), tiny.run({ env: { A: 1 } }),
      tiny.run({ signal: {} }), tiny.run({ timeout: 0 }), tiny.run({ timeout: "1s" }), tiny.run({ onEvent: 1 }),
    ]),
    stopped: (await stopped).code, cancelled,
  };"#,
        )
        .await?;
    assert_eq!(result["failing"]["code"], "bad-options", "{result}");
    assert_eq!(result["failing"]["cause"], "Error: the disk is full", "{result}");
    assert_eq!(result["others"], json!(vec!["bad-options"; 10]), "{result}");
    assert_eq!(result["stopped"], "aborted", "{result}");
    assert_eq!(result["cancelled"], true, "{result}");
    bed.browser.close().await
}

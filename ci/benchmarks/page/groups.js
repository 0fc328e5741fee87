// The measurements, in groups whose columns take turns.

import { measure } from "./measure.js";
import * as peers from "./peers.js";

const USER = "bench";
const hasJspi = "Suspending" in WebAssembly;
const u32 = (number) => new Uint8Array(Uint32Array.of(number).buffer);

/** A suspension that is resumed at once. */
export async function suspension(site, options) {
  const ready = () => Promise.resolve();
  const columns = {
    minimal: await peers.minimalDriver("/peers/suspend.wasm", ready),
    "asyncify-wasm": await peers.npmDriver("/peers/suspend.wasm", ready),
    asyncify: await peers.ours("asyncify", site, ready),
  };
  if (hasJspi) {
    columns["raw jspi"] = await peers.rawJspi("/originals/suspend.wasm", ready);
    columns.jspi = await peers.ours("jspi", site, ready);
  }
  return measure(columns, options);
}

/** A read of 8 bytes of state that the page already has. */
export async function ready(site, options) {
  const runtime = await connect();
  await runtime.state.put("counter", new Uint8Array(8));
  const columns = { plain: await peers.plainRead("/originals/read.wasm", false) };
  for (const engine of hasJspi ? ["asyncify", "jspi"] : ["asyncify"]) {
    columns[engine] = await runner(runtime, "read", engine);
  }
  if (hasJspi) columns["raw jspi"] = await peers.plainRead("/originals/read.wasm", true);
  const found = await measure(columns, options);
  runtime.dispose();
  return found;
}

/** A call of a function that does nothing, until its reply. */
export async function call(site, options) {
  const runtime = await connect();
  // As many bytes as the request of a call.
  const bare = await peers.echo(site.echo, 24);
  const found = await measure({ echo: bare, call: await runner(runtime, "chain", "auto") }, options);
  runtime.dispose();
  return found;
}

/** A hundred such calls: concurrently, one after the other, and as bare messages. */
export async function fan(site, options) {
  const FAN = 100;
  const runtime = await connect();
  const blocking = peers.blockingRequests(location.origin, USER);
  const bare = await peers.echo(site.echo, 24);
  const fan = await runner(runtime, "fan", "auto");
  const repeated = (work) => async (times) => {
    for (let i = 0; i < times; i++) await work(FAN);
  };
  const columns = { blocking: repeated(blocking), fan: repeated(fan), echo: repeated((times) => bare(times, times)) };
  const found = await measure(columns, options);
  runtime.dispose();
  return found;
}

async function connect() {
  const { connect } = await import("/runtime/index.js");
  return connect({ user: USER });
}

/** Runs a function whose input is the number of repetitions. */
async function runner(runtime, name, engine) {
  const loaded = await runtime.load(`/functions/${name}.json`, { engine });
  return async (times) => {
    const { returnValue } = await loaded.run({ input: u32(times) });
    if (returnValue !== 0) throw new Error(`${name} returned ${returnValue}`);
  };
}

// The script of a worker of the pool: a runtime that runs the page's calls, and delegates the calls that these chain to
// the page.

import init, { connect } from "./faasm_runtime.js";

let opening;
const functions = new Map();
const running = new Map();
const chained = new Map();
let last = 0;

/** Called by the runtime for each chained call. */
function chain({ signal, ...call }) {
  const id = ++last;
  // The signal is also aborted when the call has ended.
  signal.addEventListener("abort", () => chained.has(id) && postMessage({ forget: id }));
  return new Promise((resolve, reject) => {
    chained.set(id, { resolve, reject });
    postMessage({ chain: id, call }, [call.input.buffer]);
  });
}

async function begin({ begin, module }) {
  await init({ module_or_path: module });
  // `load` gets each function's engine.
  return connect({ ...begin, engine: "asyncify", chain });
}

// Standard output goes to the console, as that of calls in the cluster goes to the relay's log.
const print = (log, key) => (text) => log(`${key.split("/").pop()}: ${text.trimEnd()}`);

async function run({ run: id, key, options }) {
  const controller = new AbortController();
  running.set(id, controller);
  try {
    const began = performance.now();
    const loaded = await functions.get(key);
    const { returnValue, output } = await loaded.run({
      ...options,
      signal: controller.signal,
      onStdout: print(console.log, key),
      onStderr: print(console.warn, key),
    });
    return postMessage({ ended: id, returnValue, output, running: performance.now() - began }, [output.buffer]);
  } catch (error) {
    // The call was not started if its instance cannot be made, for example for lack of memory.
    if (error.code === "cannot-load") return postMessage({ ended: id, notStarted: error.message });
    // As for a failed call in the cluster, the output is the reason.
    const output = new TextEncoder().encode(error.message);
    return postMessage({ ended: id, returnValue: 1, output, failure: error.code ?? "internal", running: 0 }, [output.buffer]);
  } finally {
    running.delete(id);
  }
}

onmessage = ({ data }) => {
  if (data.begin) {
    opening = begin(data);
    opening.then(() => postMessage({ ready: true }), (error) => postMessage({ broken: error.message }));
  } else if (data.load) {
    const { load, url, ...built } = data;
    functions.set(load, opening.then((runtime) => runtime.load(url, built)));
    // Its calls report the error.
    functions.get(load).catch(() => {});
  } else if (data.run) {
    run(data);
  } else if (data.cancel) {
    running.get(data.cancel)?.abort();
  } else if (data.chained) {
    const { resolve, reject } = chained.get(data.chained);
    chained.delete(data.chained);
    if (data.error) reject(Object.assign(new Error(data.error.message), data.error));
    else resolve(data);
  } else if (data.token) {
    opening.then((runtime) => runtime.renew(data.token));
  } else if (data.end) {
    opening.then((runtime) => {
      runtime.dispose();
      // The connection is closed in a later task.
      setTimeout(close, 50);
    });
  }
};

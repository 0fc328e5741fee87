// The script of a worker of the pool: a runtime of its own, which runs the calls that it is given. What these chain goes back
// to the page, which decides where it runs.

import init, { connect } from "./faasm_runtime.js";

let opening;
const functions = new Map();
const running = new Map();
const chained = new Map();
let last = 0;

/** What the runtime calls for each chained call. */
function chain({ signal, ...call }) {
  const id = ++last;
  // It is aborted when it has ended, too.
  signal.addEventListener("abort", () => chained.has(id) && postMessage({ forget: id }));
  return new Promise((resolve, reject) => {
    chained.set(id, { resolve, reject });
    postMessage({ chain: id, call }, [call.input.buffer]);
  });
}

async function begin({ begin, module }) {
  await init({ module_or_path: module });
  // Functions come with their engine.
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
    // It has not begun where its instance cannot be made, for one because memory is short.
    if (error.code === "cannot-load") return postMessage({ ended: id, not_started: error.message });
    // As a call that fails in the cluster: the reason is the output.
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
    // Its calls say so.
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
      // The connection is closed a moment later.
      setTimeout(close, 50);
    });
  }
};

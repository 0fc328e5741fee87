// Baselines: the same guests with other drivers.

const bytesOf = async (url) => new Uint8Array(await (await fetch(url)).arrayBuffer());

/** A minimal driver for Asyncify. */
export async function minimalDriver(url, wait) {
  const START = 16, END = 1024;
  let sleeping = false;
  const imports = {
    env: {
      __faasm_await_call(call) {
        if (sleeping) {
          exports.asyncify_stop_rewind();
          sleeping = false;
          return call;
        }
        exports.asyncify_start_unwind(START);
        sleeping = true;
        pending = wait();
        return 0;
      },
    },
  };
  let pending;
  const { exports } = (await WebAssembly.instantiate(await bytesOf(url), imports)).instance;
  const header = new Int32Array(exports.memory.buffer, START, 2);
  const times = new Int32Array(exports.memory.buffer, 0, 1);
  return async (count) => {
    times[0] = count;
    header[0] = START + 8;
    header[1] = END;
    exports._start();
    while (sleeping) {
      exports.asyncify_stop_unwind();
      await pending;
      exports.asyncify_start_rewind(START);
      exports._start();
    }
  };
}

/** The npm package `asyncify-wasm`. */
export async function npmDriver(url, wait) {
  const { instantiate } = await import("/peers/asyncify-wasm.mjs");
  const imports = { env: { __faasm_await_call: async (call) => (await wait(), call) } };
  const { exports } = (await instantiate(await bytesOf(url), imports)).instance;
  const times = new Int32Array(exports.memory.buffer, 0, 1);
  return (count) => {
    times[0] = count;
    return exports._start();
  };
}

/** JavaScript Promise Integration without a runtime. */
export async function rawJspi(url, wait) {
  const imports = { env: { __faasm_await_call: new WebAssembly.Suspending(async (call) => (await wait(), call)) } };
  const { exports } = (await WebAssembly.instantiate(await bytesOf(url), imports)).instance;
  const start = WebAssembly.promising(exports._start);
  const times = new Int32Array(exports.memory.buffer, 0, 1);
  return (count) => {
    times[0] = count;
    return start();
  };
}

/** The engines of the runtime, without the rest of it: the host call always suspends. */
export async function ours(kind, { engine, functions }, wait) {
  const { asyncify, jspi } = await import(engine);
  const manifest = await (await fetch(`${functions}/suspend.json`)).json();
  const built = manifest.engines[kind];
  const ours = kind === "jspi" ? jspi(wait) : asyncify(wait, built.buffer.bytes);
  let awaited = 0;
  const imports = {
    faasm_bridge: {
      suspend: ours.suspending(ours.suspend),
      "begin:env.__faasm_await_call": (call) => ((awaited = call), 1),
      "finish:env.__faasm_await_call": () => awaited,
    },
  };
  const { exports } = (await WebAssembly.instantiate(await bytesOf(`${functions}/${built.file}`), imports)).instance;
  if (kind === "asyncify") ours.attach(exports, exports.memory);
  return (count) => {
    new Int32Array(exports.memory.buffer, 0, 1)[0] = count;
    return ours.call(exports._start);
  };
}

/** `__faasm_read_state` by hand: decoder, map, copy. With `promising` it returns a promise, like a host without local state. */
export async function plainRead(url, promising) {
  const state = new Map([["counter", Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8)]]);
  const decoder = new TextDecoder();
  let count = 0, bytes;
  const read = (key, target, length) => {
    const value = state.get(decoder.decode(bytes.subarray(key, bytes.indexOf(0, key))));
    if (!value) return 0;
    bytes.set(value.subarray(0, length), target);
    return value.length;
  };
  const imports = {
    env: {
      __faasm_read_input: (target) => (new DataView(bytes.buffer).setUint32(target, count, true), 4),
      __faasm_read_state: promising ? new WebAssembly.Suspending(async (...args) => read(...args)) : read,
    },
  };
  const { exports } = (await WebAssembly.instantiate(await bytesOf(url), imports)).instance;
  bytes = new Uint8Array(exports.memory.buffer);
  const start = promising ? WebAssembly.promising(exports._start) : exports._start;
  return async (times) => {
    count = times;
    await start();
  };
}

/** Echoes messages over a bare WebSocket: a number of them, with a number in flight. */
export async function echo(url, size) {
  const socket = new WebSocket(url);
  socket.binaryType = "arraybuffer";
  await new Promise((resolve, reject) => ([socket.onopen, socket.onerror] = [resolve, reject]));
  const message = new Uint8Array(size);
  return (times, together = 1) =>
    new Promise((resolve) => {
      let sent = 0, received = 0;
      const send = () => (sent++, socket.send(message));
      socket.onmessage = () => {
        if (++received === times) resolve();
        else if (sent < times) send();
      };
      while (sent < Math.min(times, together)) send();
    });
}

/** A synchronous request for each call, in a worker, as in the proof of concept of 2020. */
export function blockingRequests(relay, user) {
  const worker = new Worker("/blocking.js");
  return (times) =>
    new Promise((resolve, reject) => {
      worker.onmessage = ({ data }) => (data ? reject(new Error(data)) : resolve());
      worker.postMessage({ relay, user, times });
    });
}

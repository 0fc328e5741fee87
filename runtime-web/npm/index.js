// The package's entry: instantiates the runtime once, at the first connection. The types are in `index.d.ts`.

import init, * as runtime from "./faasm_runtime.js";

if (Symbol.dispose) {
  // Rather than wasm-bindgen's own, which frees an object and leaves what it has begun.
  runtime.Runtime.prototype[Symbol.dispose] = runtime.Runtime.prototype.dispose;
}

let ready;

// Workers for chained calls. Most pages have none for them, so what starts workers is loaded with the first.
function openPool(settings) {
  let pool, opening;
  const load = async () => {
    try {
      pool = new (await import("./pool.js")).Pool(settings);
    } catch (error) {
      opening = undefined;
      throw Object.assign(error, { not_started: "no workers" });
    }
  };
  return {
    async run(...call) {
      await (opening ??= load());
      return pool.run(...call);
    },
    renew(token) {
      settings.begin.token = token;
      pool?.renew(token);
    },
    end() {
      settings.most = 0;
      pool?.end();
    },
    get size() {
      return pool?.size ?? 1;
    },
  };
}

/** Connects to a relay. See `ConnectOptions`. */
export async function connect(options) {
  ready ??= init();
  try {
    await ready;
  } catch (error) {
    ready = undefined; // a failed download can be tried again
    throw error;
  }
  return runtime.connect(options, openPool);
}

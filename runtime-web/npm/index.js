// The package's entry point: instantiates the runtime at the first connection. The types are in `index.d.ts`.

import init, * as runtime from "./faasm_runtime.js";

if (Symbol.dispose) {
  // Replaces wasm-bindgen's, which frees the object but does not end its runs.
  runtime.Runtime.prototype[Symbol.dispose] = runtime.Runtime.prototype.dispose;
}

let ready;

// The worker pool for chained calls. Its module is loaded with the first call, as most pages have none.
function openPool(settings) {
  let pool, opening;
  const load = async () => {
    try {
      pool = new (await import("./pool.js")).Pool(settings);
    } catch (error) {
      opening = undefined;
      throw Object.assign(error, { notStarted: "no workers" });
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
      settings.max = 0;
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

// The package's entry: instantiates the runtime once, at the first connection. The types are in `index.d.ts`.

import init, * as runtime from "./faasm_runtime.js";

if (Symbol.dispose) {
  // Rather than wasm-bindgen's own, which frees an object and leaves what it has begun.
  runtime.Runtime.prototype[Symbol.dispose] = runtime.Runtime.prototype.dispose;
}

let ready;

// Most pages have no calls for it.
const openPool = async (settings) => new (await import("./pool.js")).Pool(settings);

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

// The package's entry: instantiates the runtime once, at the first connection.

import init, * as runtime from "./faasm_runtime.js";

let ready;

/** Connects to a relay. See `ConnectOptions`. */
export async function connect(options) {
  ready ??= init();
  try {
    await ready;
  } catch (error) {
    ready = undefined; // a failed download can be tried again
    throw error;
  }
  return runtime.connect(options);
}

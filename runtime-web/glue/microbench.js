// A tiny function that does nothing but suspend: shows whether an engine works here, and what a suspension costs.

import { asyncify, jspi } from "./engine.js";

const ready = () => Promise.resolve();

/**
 * @param {"asyncify" | "jspi"} kind
 * @param {Uint8Array} bytes   its module, built from `microbench.wat`
 * @param {number} buffer      bytes for its unwound stack
 */
export function microbench(kind, bytes, buffer) {
  const engine = kind === "jspi" ? jspi(ready) : asyncify(ready, buffer);
  // Before: it has to wait. After: whatever the call gives.
  const half = () => 1;
  // Small enough to be compiled at once, on a page's main thread too.
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(bytes), {
    faasm_bridge: {
      suspend: engine.suspending(engine.suspend),
      "begin:env.__faasm_await_call": half,
      "finish:env.__faasm_await_call": half,
    },
  });
  if (kind === "asyncify") engine.attach(exports, exports.memory);
  const times = new DataView(exports.memory.buffer);
  return {
    /** Suspends and resumes it so many times, with nothing to wait for. */
    suspend(count) {
      times.setUint32(0, count, true);
      return engine.call(exports._start);
    },
    suspensions: engine.suspensions,
  };
}

// A minimal function that only suspends: tests whether an engine works here, and measures a suspension.

import { asyncify, jspi } from "./engine.js";

const ready = () => Promise.resolve();

/**
 * @param {"asyncify" | "jspi"} kind
 * @param {Uint8Array} bytes   its module, built from `microbench.wat`
 * @param {number} buffer      bytes of its unwind buffer
 */
export function microbench(kind, bytes, buffer) {
  const engine = kind === "jspi" ? jspi(ready) : asyncify(ready, buffer);
  // 1 from `begin` means that it has to wait; the result of `finish` is ignored.
  const half = () => 1;
  // Small enough for synchronous compilation, also on a page's main thread.
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
    /** Suspends and resumes it `count` times without a wait. */
    suspend(count) {
      times.setUint32(0, count, true);
      return engine.call(exports._start);
    },
    suspensions: engine.suspensions,
  };
}

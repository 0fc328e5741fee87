// A minimal Asyncify driver: every host call that may block suspends, and is resumed at once.

const HEADER = 8;
const MALLOCED = 1 << 20;

export class Suspending {
  suspensions = 0;
  #host;
  #buffer;
  #exports;
  #data;
  #waiting;
  #rewinding = false;

  /** `buffer` as in the driver's options. */
  constructor(host, buffer) {
    this.#host = host;
    this.#buffer = buffer;
  }

  /** The shim's imports. */
  imports(module) {
    const imports = {};
    for (const { module: from, name } of WebAssembly.Module.imports(module)) {
      if (from !== "faasm_bridge") continue;
      const [half, call] = name.split(/:(.*)/s);
      imports[name] = half === "suspend" ? () => this.#suspend() : this.#half(half, call);
    }
    return imports;
  }

  #half(half, call) {
    const at = call.indexOf(".");
    const perform = this.#host[call.slice(0, at)][call.slice(at + 1)];
    if (half === "finish") return () => perform(...this.#waiting);
    return (...args) => {
      this.#waiting = args;
      return 1;
    };
  }

  attach(exports) {
    this.#exports = exports;
    if (this.#buffer === null) this.#data = [exports.malloc(MALLOCED), MALLOCED];
  }

  #suspend() {
    if (this.#rewinding) {
      this.#rewinding = false;
      this.#exports.asyncify_stop_rewind();
      return;
    }
    this.suspensions += 1;
    const memory = this.#exports.memory.buffer;
    const [start, length] = this.#data ?? [memory.byteLength - this.#buffer, this.#buffer];
    new Uint32Array(memory, start, 2).set([start + HEADER, start + length]);
    this.#exports.asyncify_start_unwind(start);
  }

  /** Calls an export to its end, over all its suspensions. */
  run(entry) {
    entry();
    while (this.#exports.asyncify_get_state() === 1) {
      this.#exports.asyncify_stop_unwind();
      const memory = this.#exports.memory.buffer;
      const start = this.#data?.[0] ?? memory.byteLength - this.#buffer;
      this.#rewinding = true;
      this.#exports.asyncify_start_rewind(start);
      entry();
    }
  }
}

// Workers that run chained calls: started when there are calls for them, ended when there have been none for a while.
// Loaded when the first call is to run in one.

// Each is a thread, a connection to the relay and a copy of the runtime.
const MOST_WORKERS = 8;

// Calls at once: each has an instance with a memory, and browsers reserve gigabytes of addresses for one.
const MOST_CALLS = 64;

// Until a worker without calls is ended, milliseconds.
const IDLE = 30_000;

// Until a worker that says nothing is given up.
const START = 20_000;

// For a worker to end what it was told to end; and beyond a call's own timeout.
const GRACE = 1_000;

const coded = (code, message) => Object.assign(new Error(message), { code });

/** What a call is rejected with that no worker has begun: because there are none, or because this one has to go elsewhere. */
const unstarted = (why, because) => Object.assign(new Error(why), { unstarted: because });

function start() {
  try {
    return new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
  } catch (error) {
    const base = new URL(".", import.meta.url);
    if (base.origin === location.origin) throw error;
    // Workers have to be of the page's origin; what they import does not.
    const text = `import ${JSON.stringify(`${base}worker.js`)};`;
    const url = URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
    try {
      return new Worker(url, { type: "module" });
    } finally {
      setTimeout(() => URL.revokeObjectURL(url), START);
    }
  }
}

/** One worker, and its calls. */
class Member {
  calls = new Map();
  // What calls in it have chained, by its own numbers.
  chained = new Map();
  // Functions that it has, by address and engine.
  known = new Set();
  readyAt;

  constructor(pool) {
    this.pool = pool;
    this.worker = start();
    this.worker.onmessage = ({ data }) => this.hear(data);
    this.worker.onmessageerror = () => this.fail("it sent what cannot be read");
    this.worker.onerror = (event) => {
      event.preventDefault?.();
      this.fail(event.message || "its script cannot be loaded: does the page's Content-Security-Policy allow it (worker-src)?");
    };
    this.timer = setTimeout(() => this.fail("it does not begin"), START);
    this.worker.postMessage({ begin: pool.begin, module: pool.module });
  }

  run(id, { url, engine, manifest, module }, { signal, ...options }) {
    const key = `${engine} ${url}`;
    if (!this.known.has(key)) {
      this.known.add(key);
      try {
        this.worker.postMessage({ load: key, url, engine, manifest, module });
      } catch {
        // A browser that does not clone modules: the worker fetches its own.
        this.worker.postMessage({ load: key, url, engine, manifest });
      }
    }
    clearTimeout(this.readyAt && this.timer);
    return new Promise((resolve, reject) => {
      const late = setTimeout(() => this.expire(id, options.timeout), options.timeout + GRACE);
      this.calls.set(id, { resolve, reject, late, sent: performance.now() });
      this.worker.postMessage({ run: id, key, options }, [options.input.buffer]);
      signal.addEventListener("abort", () => this.cancel(id));
    });
  }

  /** A call that should have ended itself: it computes, and only the end of its worker ends it. */
  expire(id, timeout) {
    const output = new TextEncoder().encode(`timed out after ${timeout / 1000} s`);
    this.settle({ ended: id, returnValue: 1, output, failure: "timeout", running: timeout });
    this.fail("a call in it did not end in time");
  }

  cancel(id) {
    const call = this.calls.get(id);
    if (!call) return;
    call.cancelled = true;
    this.worker.postMessage({ cancel: id });
    // One that only computes does not hear it; nobody else is in such a worker's way.
    setTimeout(() => {
      if (this.calls.has(id) && [...this.calls.values()].every(({ cancelled }) => cancelled)) this.fail("its calls were cancelled");
    }, GRACE);
  }

  hear(data) {
    if (data.ready) {
      this.readyAt = performance.now();
      clearTimeout(this.timer);
    } else if (data.broken) {
      this.fail(data.broken);
    } else if (data.ended) {
      this.settle(data);
    } else if (data.chain) {
      this.chain(data.chain, data.call);
    } else if (data.forget) {
      this.chained.get(data.forget)?.abort();
    }
  }

  settle({ ended, returnValue, output, failure, running, unstarted: why }) {
    const call = this.calls.get(ended);
    if (!call) return;
    this.calls.delete(ended);
    clearTimeout(call.late);
    const total = performance.now() - Math.max(call.sent, this.readyAt);
    if (why) call.reject(unstarted(why, "elsewhere"));
    else call.resolve({ returnValue, output, failure, running, total });
    if (this.calls.size === 0) this.timer = setTimeout(() => this.end(), IDLE);
  }

  chain(id, call) {
    const controller = new AbortController();
    this.chained.set(id, controller);
    this.pool.chained({ ...call, signal: controller.signal }).then(
      ({ returnValue, output, failure }) => this.worker.postMessage({ chained: id, returnValue, output, failure }, [output.buffer]),
      ({ code, message }) => this.worker.postMessage({ chained: id, error: { code, message } }),
    ).finally(() => this.chained.delete(id));
  }

  /** Ends it, and tells its calls: whether they ran at all where it has never been ready. */
  fail(why) {
    this.worker.terminate();
    this.leave();
    const message = `a worker was lost: ${why}`;
    const error = this.readyAt ? coded("outcome-unknown", `${message}; the call in it may or may not have done its work`) : unstarted(message, "no workers");
    if (!this.readyAt) this.pool.shrink(message);
    this.reject(error);
  }

  /** Lets it say goodbye to the relay. */
  end() {
    this.leave();
    this.worker.postMessage({ end: true });
    setTimeout(() => this.worker.terminate(), GRACE);
    this.reject(coded("closed", "the runtime was disposed of"));
  }

  leave() {
    clearTimeout(this.timer);
    this.worker.onmessage = this.worker.onerror = null;
    this.pool.members.delete(this);
  }

  reject(error) {
    for (const { reject, late } of this.calls.values()) {
      clearTimeout(late);
      reject(error);
    }
    this.calls.clear();
  }
}

/** The workers of a runtime. */
export class Pool {
  members = new Set();
  size = Math.max(1, Math.min(navigator.hardwareConcurrency || 2, MOST_WORKERS));
  last = 0;

  /**
   * @param {{ begin: object, module: WebAssembly.Module, chained: (call: object) => Promise<object> }} settings
   *   what workers connect with, the runtime's own module, and what performs the calls that calls in workers chain;
   *   a `size` of 0 where it is all over already
   */
  constructor(settings) {
    Object.assign(this, settings);
  }

  /** Runs a call of a function; `options` are those of `run`. */
  async run(source, options) {
    return this.member().run(++this.last, source, options);
  }

  /** The one with the fewest calls, or a new one. */
  member() {
    let [least, calls] = [undefined, 0];
    for (const member of this.members) {
      calls += member.calls.size;
      if (!least || member.calls.size < least.calls.size) least = member;
    }
    if (calls >= MOST_CALLS) throw unstarted("the workers have enough to do", "elsewhere");
    if (this.members.size < this.size && (!least || least.calls.size > 0)) {
      try {
        least = new Member(this);
        this.members.add(least);
      } catch (error) {
        this.shrink(error.message);
      }
    }
    if (!least) throw unstarted("there are no workers", "no workers");
    return least;
  }

  /** No more workers can be started than there are. */
  shrink(why) {
    if (this.size > this.members.size) console.warn(`faasm: only ${this.members.size} workers for chained calls: ${why}`);
    this.size = this.members.size;
  }

  /** The token to connect with from here on. */
  renew(token) {
    for (const { worker } of this.members) worker.postMessage({ token });
  }

  end() {
    this.size = 0;
    for (const member of [...this.members]) member.end();
  }
}

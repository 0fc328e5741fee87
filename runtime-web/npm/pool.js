// Workers that run chained calls: started on demand, ended when idle.

// Each worker has a thread, a connection to the relay and a copy of the runtime.
const MAX_WORKERS = 8;

// Parallel calls: each has an instance with a memory, for which browsers reserve gigabytes of addresses.
const MAX_CALLS = 64;

// Time until an idle worker is ended, milliseconds.
const IDLE = 30_000;

// Time limit for a worker's start.
const START = 20_000;

// Extra time for a worker to end cancelled calls, and beyond a call's own timeout.
const GRACE_PERIOD = 1_000;

// Delay after a failed start until the next attempt, milliseconds; doubles with each failure in a row.
const RETRY = 30_000;
const MAX_RETRY = 600_000;

// Workers' messages count as handled once the page's thread was free for TURN: a timer that is late by BLOCKED shows
// that it was not. Timers of background pages are always late, hence MAX_TURNS.
const TURN = 50;
const BLOCKED = 50;
const MAX_TURNS = 5;

const coded = (code, message) => Object.assign(new Error(message), { code });

/** The error for a call that was not started: because there are no workers, or because it has to run elsewhere. */
const notStarted = (why, because) => Object.assign(new Error(why), { notStarted: because });

/**
 * Acts after pending messages were handled. A timer that fires after the page's thread was blocked, or the machine
 * slept, can precede them: browsers do not order timers and messages.
 */
function afterMessages(act, left = MAX_TURNS) {
  const armed = performance.now();
  setTimeout(() => {
    const wasBlocked = performance.now() - armed > TURN + BLOCKED;
    if (wasBlocked && left > 1) afterMessages(act, left - 1);
    else act();
  }, TURN);
}

function start() {
  try {
    return new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
  } catch (error) {
    const base = new URL(".", import.meta.url);
    if (base.origin === location.origin) throw error;
    // Workers must have the page's origin; their imports need not.
    const text = `import ${JSON.stringify(`${base}worker.js`)};`;
    const url = URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
    try {
      return new Worker(url, { type: "module" });
    } finally {
      setTimeout(() => URL.revokeObjectURL(url), START);
    }
  }
}

/** A worker and its calls. */
class PoolWorker {
  calls = new Map();
  // Calls chained by its calls, by the worker's numbers: how to cancel each, and the caller's number.
  chained = new Map();
  // Functions loaded in it, by address and engine.
  known = new Set();
  readyAt;

  constructor(pool) {
    this.pool = pool;
    this.worker = start();
    this.worker.onmessage = ({ data }) => this.receive(data);
    this.worker.onmessageerror = () => this.fail("it sent unreadable data");
    this.worker.onerror = (event) => {
      event.preventDefault?.();
      this.fail(event.message || "its script cannot be loaded: does the page's Content-Security-Policy allow it (worker-src)?");
    };
    this.timer = setTimeout(() => afterMessages(() => this.readyAt ?? this.fail("it did not start")), START);
    this.worker.postMessage({ begin: pool.begin, module: pool.module });
  }

  run(id, source, { signal, ...options }) {
    return new Promise((resolve, reject) => {
      const call = { resolve, reject, source, options, number: options.call };
      this.calls.set(id, call);
      signal.addEventListener("abort", () => this.cancel(id));
      if (this.readyAt) this.post(id, call);
    });
  }

  /**
   * Posts a call, once the worker is ready. So a worker that was never ready has run none, and its calls can run
   * elsewhere.
   */
  post(id, call) {
    const { source: { url, engine, manifest, module }, options } = call;
    call.source = call.options = undefined;
    clearTimeout(this.timer);
    const key = `${engine} ${url}`;
    if (!this.known.has(key)) {
      this.known.add(key);
      try {
        this.worker.postMessage({ load: key, url, engine, manifest, module });
      } catch {
        // This browser cannot clone modules: the worker fetches its own.
        this.worker.postMessage({ load: key, url, engine, manifest });
      }
    }
    call.sent = performance.now();
    call.late = setTimeout(() => afterMessages(() => this.expire(id, options.timeout)), options.timeout + GRACE_PERIOD);
    this.worker.postMessage({ run: id, key, options }, [options.input.buffer]);
  }

  /** A call that exceeds its timeout computes: only terminating its worker ends it. */
  expire(id, timeout) {
    const call = this.calls.get(id);
    if (!call) return;
    this.abandon(call);
    const output = new TextEncoder().encode(`timed out after ${timeout / 1000} s`);
    this.settle({ ended: id, returnValue: 1, output, failure: "timeout", running: timeout });
    this.fail("a call in it timed out");
  }

  cancel(id) {
    const call = this.calls.get(id);
    if (!call) return;
    if (!call.sent) {
      this.calls.delete(id);
      call.reject(coded("aborted", "the call was cancelled before starting"));
      return;
    }
    call.cancelled = true;
    this.worker.postMessage({ cancel: id });
    // A call that computes misses the message; terminate the worker if all its calls are cancelled.
    setTimeout(() => {
      if (this.calls.has(id) && [...this.calls.values()].every(({ cancelled }) => cancelled)) this.fail("its calls were cancelled");
    }, GRACE_PERIOD);
  }

  receive(data) {
    if (data.ready) {
      this.readyAt = performance.now();
      clearTimeout(this.timer);
      this.pool.started();
      for (const [id, call] of this.calls) this.post(id, call);
      this.idle();
    } else if (data.broken) {
      this.fail(data.broken);
    } else if (data.ended) {
      this.settle(data);
    } else if (data.chain) {
      this.chain(data.chain, data.call);
    } else if (data.forget) {
      this.chained.get(data.forget)?.controller.abort();
    }
  }

  settle({ ended, returnValue, output, failure, running, notStarted: why }) {
    const call = this.calls.get(ended);
    if (!call) return;
    this.calls.delete(ended);
    clearTimeout(call.late);
    const total = performance.now() - call.sent;
    if (why) call.reject(notStarted(why, "elsewhere"));
    else call.resolve({ returnValue, output, failure, running, total });
    this.idle();
  }

  /** Ends an idle worker after a while. */
  idle() {
    if (this.calls.size > 0) return;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.end(), IDLE);
  }

  chain(id, call) {
    const controller = new AbortController();
    this.chained.set(id, { controller, caller: call.call });
    this.pool.chained({ ...call, signal: controller.signal }).then(
      ({ returnValue, output, failure }) => this.worker.postMessage({ chained: id, returnValue, output, failure }, [output.buffer]),
      ({ code, message }) => this.worker.postMessage({ chained: id, error: { code, message } }),
    ).finally(() => this.chained.delete(id));
  }

  /**
   * Terminates the worker, and rejects its calls. Calls were posted only if it was ready; then their outcome is
   * unknown.
   */
  fail(why) {
    if (!this.pool.members.has(this)) return;
    this.worker.terminate();
    this.leave();
    const message = `a worker was lost: ${why}`;
    const error = this.readyAt ? coded("outcome-unknown", `${message}; the call in it may or may not have been performed`) : notStarted(message, "no workers");
    if (!this.readyAt) this.pool.shrink(message);
    this.reject(error);
  }

  /** Lets it close its session at the relay. */
  end() {
    this.leave();
    this.worker.postMessage({ end: true });
    setTimeout(() => this.worker.terminate(), GRACE_PERIOD);
    this.reject(coded("closed", "the runtime was disposed of"));
  }

  leave() {
    clearTimeout(this.timer);
    this.worker.onmessage = this.worker.onerror = null;
    this.pool.members.delete(this);
  }

  /** Cancels the calls that a lost or terminated call has chained. Detached calls of earlier ones continue. */
  abandon({ number }) {
    for (const { controller, caller } of this.chained.values()) if (caller === number) controller.abort();
  }

  reject(error) {
    for (const call of this.calls.values()) {
      clearTimeout(call.late);
      this.abandon(call);
      call.reject(error);
    }
    this.calls.clear();
  }
}

/** The worker pool of a runtime. */
export class Pool {
  members = new Set();
  max = Math.max(1, Math.min(navigator.hardwareConcurrency || 2, MAX_WORKERS));
  // The current maximum: less than `max` from a failed start until `retryAt`.
  size = this.max;
  retryAt = Infinity;
  pause = RETRY;
  last = 0;

  /**
   * @param {{ begin: object, module: WebAssembly.Module, chained: (call: object) => Promise<object> }} settings
   *   the workers' options of `connect`, the runtime's own module, and the callback for calls that workers delegate;
   *   a `max` of 0 if the runtime is already disposed of
   */
  constructor(settings) {
    Object.assign(this, settings);
    this.size = Math.min(this.size, this.max);
  }

  /** Runs a call of a function; `options` are those of `run`. */
  async run(source, options) {
    return this.member().run(++this.last, source, options);
  }

  /** The worker with the fewest calls, or a new one. */
  member() {
    let [least, calls] = [undefined, 0];
    for (const member of this.members) {
      calls += member.calls.size;
      if (!least || member.calls.size < least.calls.size) least = member;
    }
    if (performance.now() >= this.retryAt) {
      this.size = this.max;
      this.retryAt = Infinity;
    }
    if (calls >= MAX_CALLS) throw notStarted("the workers are at capacity", "elsewhere");
    if (this.members.size < this.size && (!least || least.calls.size > 0)) {
      try {
        least = new PoolWorker(this);
        this.members.add(least);
      } catch (error) {
        this.shrink(error.message);
      }
    }
    if (!least) throw notStarted("there are no workers", "no workers");
    return least;
  }

  /** A start failed: keeps the current number of workers for a while. */
  shrink(why) {
    if (this.size > this.members.size) console.warn(`faasm: only ${this.members.size} workers for chained calls: ${why}`);
    this.size = this.members.size;
    this.retryAt = performance.now() + this.pause;
    this.pause = Math.min(2 * this.pause, MAX_RETRY);
  }

  /** A start succeeded: resets the retry delay. */
  started() {
    this.pause = RETRY;
  }

  /** Sets the token for later connections. */
  renew(token) {
    for (const { worker } of this.members) worker.postMessage({ token });
  }

  end() {
    this.max = this.size = 0;
    for (const member of [...this.members]) member.end();
  }
}

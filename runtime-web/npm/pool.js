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
const GRACE_PERIOD = 1_000;

// After a worker could not be started, until another one may be tried, milliseconds; twice as long after each failure in a row.
const RETRY = 30_000;
const LONGEST_RETRY = 600_000;

// How long the page's thread has to be free before what workers have sent counts as heard, and by how much a timer is late where it
// was not; timers of pages in the background always are, so there is an end to asking.
const HEAR = 50;
const BLOCKED = 50;
const MOST_HEARINGS = 5;

const coded = (code, message) => Object.assign(new Error(message), { code });

/** What a call is rejected with that no worker has begun: because there are none, or because this one has to go elsewhere. */
const not_started = (why, because) => Object.assign(new Error(why), { not_started: because });

/**
 * Acts once messages that have arrived were heard. A timer that fires after the page's thread was blocked, or the machine
 * slept, can be ahead of them: the order between timers and messages is the browser's choice.
 */
function whenHeard(act, left = MOST_HEARINGS) {
  const asked = performance.now();
  setTimeout(() => {
    const wasBlocked = performance.now() - asked > HEAR + BLOCKED;
    if (wasBlocked && left > 1) whenHeard(act, left - 1);
    else act();
  }, HEAR);
}

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
  // What calls in it have chained, by its own numbers: how to end it, and the number of the caller.
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
    this.timer = setTimeout(() => whenHeard(() => this.readyAt ?? this.fail("it does not begin")), START);
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
   * Has the worker run a call: only once it has said that it is ready. So a worker that was never heard of has run none, and
   * its calls can run elsewhere.
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
        // A browser that does not clone modules: the worker fetches its own.
        this.worker.postMessage({ load: key, url, engine, manifest });
      }
    }
    call.sent = performance.now();
    call.late = setTimeout(() => whenHeard(() => this.expire(id, options.timeout)), options.timeout + GRACE_PERIOD);
    this.worker.postMessage({ run: id, key, options }, [options.input.buffer]);
  }

  /** A call that should have ended itself: it computes, and only the end of its worker ends it. */
  expire(id, timeout) {
    const call = this.calls.get(id);
    if (!call) return;
    this.abandon(call);
    const output = new TextEncoder().encode(`timed out after ${timeout / 1000} s`);
    this.settle({ ended: id, returnValue: 1, output, failure: "timeout", running: timeout });
    this.fail("a call in it did not end in time");
  }

  cancel(id) {
    const call = this.calls.get(id);
    if (!call) return;
    if (!call.sent) {
      this.calls.delete(id);
      call.reject(coded("aborted", "the call was cancelled before it began"));
      return;
    }
    call.cancelled = true;
    this.worker.postMessage({ cancel: id });
    // One that only computes does not hear it; nobody else is in such a worker's way.
    setTimeout(() => {
      if (this.calls.has(id) && [...this.calls.values()].every(({ cancelled }) => cancelled)) this.fail("its calls were cancelled");
    }, GRACE_PERIOD);
  }

  hear(data) {
    if (data.ready) {
      this.readyAt = performance.now();
      clearTimeout(this.timer);
      this.pool.started();
      for (const [id, call] of this.calls) this.post(id, call);
      this.rest();
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

  settle({ ended, returnValue, output, failure, running, not_started: why }) {
    const call = this.calls.get(ended);
    if (!call) return;
    this.calls.delete(ended);
    clearTimeout(call.late);
    const total = performance.now() - call.sent;
    if (why) call.reject(not_started(why, "elsewhere"));
    else call.resolve({ returnValue, output, failure, running, total });
    this.rest();
  }

  /** Without calls it ends after a while. */
  rest() {
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

  /** Ends it, and tells its calls. Where it has never been ready none was posted; otherwise nobody knows what they have done. */
  fail(why) {
    if (!this.pool.members.has(this)) return;
    this.worker.terminate();
    this.leave();
    const message = `a worker was lost: ${why}`;
    const error = this.readyAt ? coded("outcome-unknown", `${message}; the call in it may or may not have done its work`) : not_started(message, "no workers");
    if (!this.readyAt) this.pool.shrink(message);
    this.reject(error);
  }

  /** Lets it say goodbye to the relay. */
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

  /** Ends what a call has chained that is lost, or is ended by force. What others have left behind in this worker goes on. */
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

/** The workers of a runtime. */
export class Pool {
  members = new Set();
  most = Math.max(1, Math.min(navigator.hardwareConcurrency || 2, MOST_WORKERS));
  // How many there can be for now: less than `most` after one could not be started, until `retryAt`.
  size = this.most;
  retryAt = Infinity;
  pause = RETRY;
  last = 0;

  /**
   * @param {{ begin: object, module: WebAssembly.Module, chained: (call: object) => Promise<object> }} settings
   *   what workers connect with, the runtime's own module, and what performs the calls that calls in workers chain;
   *   a `most` of 0 where it is all over already
   */
  constructor(settings) {
    Object.assign(this, settings);
    this.size = Math.min(this.size, this.most);
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
    if (performance.now() >= this.retryAt) {
      this.size = this.most;
      this.retryAt = Infinity;
    }
    if (calls >= MOST_CALLS) throw not_started("the workers have enough to do", "elsewhere");
    if (this.members.size < this.size && (!least || least.calls.size > 0)) {
      try {
        least = new Member(this);
        this.members.add(least);
      } catch (error) {
        this.shrink(error.message);
      }
    }
    if (!least) throw not_started("there are no workers", "no workers");
    return least;
  }

  /** One could not be started: for a while there are no more than there are now. */
  shrink(why) {
    if (this.size > this.members.size) console.warn(`faasm: only ${this.members.size} workers for chained calls: ${why}`);
    this.size = this.members.size;
    this.retryAt = performance.now() + this.pause;
    this.pause = Math.min(2 * this.pause, LONGEST_RETRY);
  }

  /** One has started: what kept others from it may be over. */
  started() {
    this.pause = RETRY;
  }

  /** The token to connect with from here on. */
  renew(token) {
    for (const { worker } of this.members) worker.postMessage({ token });
  }

  end() {
    this.most = this.size = 0;
    for (const member of [...this.members]) member.end();
  }
}

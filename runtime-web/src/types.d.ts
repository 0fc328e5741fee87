/// <reference lib="dom" />
/// <reference lib="esnext.disposable" />

/**
 * Connects to a relay.
 *
 * Rejects with a `FaasmError`: `bad-options`, `cannot-connect`, `refused`, `no-jspi` or `no-token`.
 */
export function connect(options: ConnectOptions): Promise<Runtime>;

/** How to reach a relay. */
export interface ConnectOptions {
  /** The user whose functions and state to use. */
  user: string;
  /** The relay's address, `http(s):` or `ws(s):`; by default the relay that served this page. */
  url?: string | URL;
  /**
   * Authorizes this page to act for `user`: a token, or a function that returns one. The runtime calls the function
   * before it connects and, for a JSON Web Token with an `exp`, again before that expires; it uses the new token when
   * it next connects to the relay.
   */
  token?: string | (() => string | Promise<string>);
  /** The engine that suspends functions, unless `load` or `run` specify one; `"auto"` by default. */
  engine?: Engine;
  /**
   * The transport: a WebSocket, or `fetch` for networks that break WebSockets. `"auto"` (the default) uses a WebSocket
   * if one opens.
   */
  transport?: "auto" | "websocket" | "fetch";
  /**
   * The time limit for restoring a lost connection, in milliseconds; meanwhile, runs that wait for the relay stay
   * suspended. After that, everything pending ends with `connection-lost`. Five minutes by default; 0 disables
   * reconnecting.
   */
  reconnectTimeout?: number;
  /**
   * Where chained calls run: one place for all, a place by the called function's name (`default` applies to all
   * others), or a function from the name to a place. If it does not decide, the manifest of the calling function does;
   * otherwise the place is `"cluster"`. Calls that cannot run in the browser run in the cluster.
   */
  where?: Where | { [name: string]: Where } | ((name: string) => Where | null | undefined);
  /** Where state values reside, in addition to the manifests' rules. */
  state?: StateRules;
}

/** Where state values reside, by key. */
export interface StateRules {
  /**
   * Keys of values that `connect` pins, as `state.pin` does; at most 256. Not awaited: errors are logged on the
   * console.
   */
  pin?: string[];
  /** Keys of values that `connect` prefetches, as `state.prefetch` does; not awaited either. */
  prefetch?: string[];
  /**
   * Keys of values and lists that never leave this page; a `*` at the end matches all keys with that prefix. At most
   * 256, including those of manifests. A push of them stays in the page, also from its workers; functions in the
   * cluster do not see them. These keys are never pinned or prefetched.
   */
  local?: string[];
}

/**
 * Where a chained call runs: in the cluster, in a worker of this page, or, with `"auto"`, wherever its result is
 * expected sooner, estimated from measured round trips, sizes and run times.
 */
export type Where = "cluster" | "browser" | "auto";

/**
 * The engine that suspends a function while it waits: `"asyncify"`, which works in every browser, or `"jspi"`,
 * JavaScript Promise Integration, which runs the function's own code; in a browser without it, `"jspi"` fails with
 * `no-jspi`. `"auto"` selects the engine that is better in this browser, which is measured once per page.
 */
export type Engine = "auto" | "asyncify" | "jspi";

/** A connection to a relay, and this page's copy of the user's state. */
export interface Runtime {
  /**
   * Loads a function by the address of the manifest that `faasm-asyncify build` wrote.
   *
   * In a browser with JavaScript Promise Integration, a function that was not built can be loaded too: by an address
   * that ends with `.wasm`, or as a file or bytes.
   *
   * Rejects with a `FaasmError`: `cannot-load`, `bad-options`, `no-jspi` or `closed`.
   */
  load(
    source: string | URL | Blob | Uint8Array | ArrayBuffer,
    options?: LoadOptions,
  ): Promise<FaasmFunction>;
  /** State access for the page's own code. */
  readonly state: RuntimeState;
  /**
   * Closes the connection, ends all runs, and releases everything that the runtime has loaded. Pending and later
   * operations reject with `closed`. State that was not pushed is lost.
   */
  dispose(): void;
  /** `dispose` for `using runtime = await connect(…)`; only in browsers with `Symbol.dispose`. */
  [Symbol.dispose](): void;
}

/** How to load a function. */
export interface LoadOptions {
  /** The engine for this function, instead of that of `connect`. */
  engine?: Engine;
  /**
   * The name of an original in the cluster; by default that of its file. A built function's manifest has its name.
   */
  name?: string;
}

/** A loaded function. */
export interface FaasmFunction {
  /** The function's name, also in the cluster. */
  readonly name: string;
  /**
   * Runs the function. Runs may overlap: each has its own memory, and all share the state.
   *
   * Rejects with a `FaasmError`.
   */
  run(options?: RunOptions): Promise<RunResult>;
}

/** How to run a function. */
export interface RunOptions {
  /** The function's input; a Blob or stream is read to its end first. */
  input?: string | Uint8Array | ArrayBuffer | Blob | ReadableStream<Uint8Array>;
  /** Its command-line arguments, without the function's name. */
  args?: string[];
  /** Its environment variables. */
  env?: Record<string, string>;
  /** `"browser"` (this page; the default) or `"cluster"`. */
  where?: "browser" | "cluster";
  /** The engine for this run, instead of that of `load` or `connect`. */
  engine?: Engine;
  /**
   * Ends the run when it is aborted: the run rejects with `aborted`, with the signal's reason as `cause`, and its
   * unfinished chained calls are cancelled. If the signal is already aborted, nothing is started.
   *
   * A suspended function ends at once, one that computes at its next host call. A function that makes no host calls
   * cannot be interrupted on its own thread: run it in a worker, which you can terminate.
   */
  signal?: AbortSignal;
  /** Ends the run after this many milliseconds; it rejects with `timeout`. */
  timeout?: number;
  /** Called with text that the function prints, as it prints it. Not for runs in the cluster. */
  onStdout?: (text: string) => void;
  /** The same for its standard error. */
  onStderr?: (text: string) => void;
  /** Called with each event of the run, as it happens. Not for runs in the cluster. */
  onEvent?: (event: RunEvent) => void;
}

/** An event of a run. */
export type RunEvent = SuspendedEvent | ResumedEvent | ChainedEvent | CallFinishedEvent | StateEvent;

/** Properties of all events. */
export interface RunEventBase {
  /** The time of the event: milliseconds since the run started. */
  atMs: number;
}

/** The function was suspended. */
export interface SuspendedEvent extends RunEventBase {
  type: "suspended";
  /** The operation that it waits for. */
  awaits: "call" | "sleep" | "state" | "lock" | "file";
}

/** The function was resumed. */
export interface ResumedEvent extends RunEventBase {
  type: "resumed";
  /** The duration of the suspension, in milliseconds. */
  suspendedMs: number;
}

/** The function has chained a call. */
export interface ChainedEvent extends RunEventBase {
  type: "chained";
  /** The id of the call, unique in this run. */
  callId: number;
  /** The called function. */
  function: string;
  /** The entry, if not the main one: a function pointer or an index. */
  entry: { pointer: number } | { index: number } | null;
  inputBytes: number;
}

/** A chained call has ended; the function may not have awaited it yet. */
export interface CallFinishedEvent extends RunEventBase {
  type: "callFinished";
  callId: number;
  /** Its return value; 1 if it failed, with the reason as output. */
  returnValue: number;
  outputBytes: number;
  /** Where it ran. */
  where: "cluster" | "browser";
  /**
   * Why it failed; null if the function returned, with any value. A warning is also logged on the console, once per
   * called function.
   */
  failure: { code: ErrorCode; message: string } | null;
}

/** Bytes of a state value were pulled from, or pushed to, the cluster. */
export interface StateEvent extends RunEventBase {
  type: "statePulled" | "statePushed";
  key: string;
  bytes: number;
}

/** The result of a run. */
export interface RunResult {
  /** The function's return value, or exit code. */
  returnValue: number;
  /** Its output. */
  output: Uint8Array<ArrayBuffer>;
  stats: RunStats;
}

/** Statistics of a run. */
export interface RunStats {
  /** The engine; null if the function ran in the cluster. */
  engine: "asyncify" | "jspi" | null;
  /** The number of suspensions. */
  suspensions: number;
  /** The number of chained calls. */
  chainedCalls: number;
  /** The duration of the run, in milliseconds. */
  totalMs: number;
  /** The total duration of its suspensions, in milliseconds. */
  suspendedMs: number;
}

/**
 * State values of the user, for the page's own code.
 *
 * State has two tiers: this page's copy, which all runs of this runtime share, and the cluster's. A read uses the
 * page's copy and pulls missing parts; a write stays in the page until it is pushed. A value's size never changes.
 *
 * All methods reject with a `FaasmError`: `state` if the size differs, `closed`, or the relay's error.
 */
export interface RuntimeState {
  /** Returns a copy of the value; `undefined` if neither tier has one. */
  get(key: string): Promise<Uint8Array<ArrayBuffer> | undefined>;
  /** Writes the whole value in the page. */
  put(key: string, value: string | Uint8Array | ArrayBuffer): Promise<void>;
  /** Pushes the value to the cluster, whether a run or the page wrote it; resolves once it is durable there. */
  push(key: string): Promise<void>;
  /** Replaces the page's value by the cluster's; unpushed writes are lost. Returns the same as `get`. */
  pull(key: string): Promise<Uint8Array<ArrayBuffer> | undefined>;
  /**
   * Appends an element to a list; lists are in the cluster or, for `local` keys, in the page. Resolves once it is
   * durable there.
   */
  append(key: string, element: string | Uint8Array | ArrayBuffer): Promise<void>;
  /** Returns the first `count` elements of a list, concatenated. */
  readAppended(key: string, count: number): Promise<Uint8Array<ArrayBuffer>>;
  /** Empties a list. */
  clearAppended(key: string): Promise<void>;
  /**
   * Pins a value: keeps the page's copy up to date, so that reads need not wait. Pulls the value, and again whenever
   * the relay reports a write by others; unpushed writes in the page are kept. Resolves once the value is local or
   * known not to exist; the pin is restored after a reconnection.
   *
   * Rejects and does not pin the value: with `too-large` if 256 values are pinned or the pinned values would exceed 256
   * MiB together, with `refused` if the token does not allow reading it, with `state` if the page's copy has another
   * size. With other codes the value stays pinned, and is retried every 5 s.
   */
  pin(key: string): Promise<void>;
  /** Unpins a value. The page's copy stays. */
  unpin(key: string): void;
  /**
   * Pulls the missing parts of these values, at most 1024, several in parallel; ignores values that do not exist.
   * Resolves when all are local, and rejects with the first error; with `too-large` if pinned values and all values
   * ever prefetched in this page would exceed 256 MiB together.
   */
  prefetch(keys: string[]): Promise<void>;
  /**
   * Subscribes `callback` to changes of this page's copy: writes, pulls and pushes by runs or the page. Returns the
   * unsubscribe function.
   *
   * The callback is called in a microtask, when no function is on the stack, and once for several changes of one type
   * before it. Writes by others in the cluster are reported when they are pulled, which happens soon for a pinned
   * value. Lists are not reported.
   */
  subscribe(key: string, callback: (change: StateChange) => void): () => void;
}

/** A change of a state value in this page. */
export interface StateChange {
  type: "written" | "pulled" | "pushed";
  key: string;
}

/** The error of all rejections: an `Error` with a stable code. */
export interface FaasmError extends Error {
  name: "FaasmError";
  code: ErrorCode;
  /** The page's own value: the reason of a signal, or the error of a token provider or stream. */
  cause?: unknown;
}

/** A stable error code. */
export type ErrorCode =
  | "aborted" // by the run's signal
  | "bad-entry" // what was to be called is not a function that can be
  | "bad-options" // an option makes no sense
  | "bad-pointer" // a host call was given a pointer outside memory, or no string
  | "cancelled" // the run that the call descends from was cancelled
  | "cannot-connect" // no relay answers there
  | "cannot-load" // manifest or module cannot be fetched, or are not what they should be
  | "closed" // the runtime was disposed of
  | "cluster-only" // the function imports host calls that only a Faasm cluster has, and was not run
  | "connection-lost" // the connection to the relay was lost, and not restored in time
  | "deadlock" // the function waits for a lock that it holds itself
  | "internal" // any other error; see the message
  | "lock-lost" // the run lost a cluster-wide lock, for example while it was disconnected
  | "missing-function" // the cluster has no such function
  | "no-jspi" // this browser has no JavaScript Promise Integration
  | "no-malloc" // no safe memory for a host call's result: the function was not built, grows its memory itself, and exports no malloc
  | "no-token" // the token provider failed, or did not return a string
  | "not-implemented" // a host call that is not implemented yet
  | "operation-failed" // the cluster could not perform a host call's operation
  | "out-of-memory" // the function's malloc could not allocate an output
  | "outcome-unknown" // a request may or may not have been performed: the session or a worker was lost
  | "over-budget" // the memory budget of this user, or of all users, is exhausted at the relay
  | "queue-full" // too many requests are queued while the connection is down
  | "refused" // the relay rejects the session, or the token lacks the right
  | "stack-exhausted" // the function used up its stack
  | "stack-size" // the stack exceeds the unwind buffer
  | "state" // a state value has another size
  | "timeout" // the run exceeded its timeout, or the cluster's time limit for a call
  | "too-large" // a request exceeds the frame size, an output the relay's limit, or values the limit for pinning
  | "trap" // the function trapped; `stack` names its functions
  | "unknown-import"; // the function called an unknown import

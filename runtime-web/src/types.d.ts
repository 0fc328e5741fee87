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
  /** Whose functions and state to use. */
  user: string;
  /** Address of the relay, `http(s):` or `ws(s):`; the one that served this page when left out. */
  url?: string | URL;
  /**
   * Proof that this page may act for `user`: a token, or a function that gets one. The function is called before
   * connecting and, where it gives a JSON Web Token with an `exp`, again before that expires; the new token is used the
   * next time that the page connects to the relay.
   */
  token?: string | (() => string | Promise<string>);
  /** How functions are suspended, unless `load` or `run` say otherwise; `"auto"` when left out. */
  engine?: Engine;
  /**
   * How frames travel: over a WebSocket, or by `fetch` for networks that break WebSockets. `"auto"` (the default) takes a
   * WebSocket where one opens.
   */
  transport?: "auto" | "websocket" | "fetch";
  /**
   * How long a lost connection is tried to be replaced, milliseconds; runs that wait for the relay take longer meanwhile.
   * After that everything ends with `connection-lost`. Five minutes when left out; 0 for never.
   */
  reconnectTimeout?: number;
  /**
   * Where the calls that functions chain run: for all of them, by the names of the functions that are called (`default` is
   * all the others), or as a function of the name says; what that leaves open, the manifest of the function that chains
   * decides, and else it is `"cluster"`. What cannot run in the browser runs in the cluster.
   */
  where?: Where | { [name: string]: Where } | ((name: string) => Where | null | undefined);
  /** Where values of state live; what manifests of functions say is added to it. */
  state?: StateRules;
}

/** Where values of state live that are named here. */
export interface StateRules {
  /** Keys of values that `connect` pins, as `state.pin` does; at most 256. Not awaited: what fails is said on the console. */
  pin?: string[];
  /** Keys of values that `connect` fetches, as `state.prefetch` does; not awaited either. */
  prefetch?: string[];
  /**
   * Keys of values and lists that never leave this page, and with a `*` at the end all keys that begin so; at most 256, those of
   * manifests included. What is pushed of them stays in the page, as does what runs in its workers; functions in the cluster do
   * not see it. Such a key is neither pinned nor prefetched, whoever says so.
   */
  local?: string[];
}

/**
 * Where a chained call runs: in the cluster, in a worker of this page, or wherever its result is expected sooner, going by
 * measured round trips, sizes and run times.
 */
export type Where = "cluster" | "browser" | "auto";

/**
 * How a function is suspended while it waits: by `"asyncify"`, which every browser can, or by `"jspi"`, JavaScript Promise
 * Integration, which runs the function's own code; where a browser lacks it, asking for it fails with `no-jspi`. `"auto"`
 * takes what this browser does better, which is measured once for each page.
 */
export type Engine = "auto" | "asyncify" | "jspi";

/** A connection to a relay, and this page's copy of the user's state. */
export interface Runtime {
  /**
   * Fetches a function by the address of the manifest that `faasm-asyncify build` wrote.
   *
   * Where the browser has JavaScript Promise Integration, a function that was not built can be loaded too: by an address
   * that ends with `.wasm`, or as a file or bytes.
   *
   * Rejects with a `FaasmError`: `cannot-load`, `bad-options`, `no-jspi` or `closed`.
   */
  load(
    source: string | URL | Blob | Uint8Array | ArrayBuffer,
    options?: LoadOptions,
  ): Promise<FaasmFunction>;
  /** The page's own access to the state that its runs work on. */
  readonly state: RuntimeState;
  /**
   * Ends the connection and everything that runs, and lets go of all that the runtime has loaded. What is unfinished, and
   * whatever is asked of it later, rejects with `closed`. State that was not pushed is gone.
   */
  dispose(): void;
  /** The same, for `using runtime = await connect(…)`; only where the browser has `Symbol.dispose`. */
  [Symbol.dispose](): void;
}

/** How to load a function. */
export interface LoadOptions {
  /** How this function is suspended, instead of what `connect` was told. */
  engine?: Engine;
  /**
   * The name by which the cluster knows a function that was not built; that of its file when left out. The manifest has
   * that of a built one.
   */
  name?: string;
}

/** A loaded function. */
export interface FaasmFunction {
  /** Its name; what the cluster knows it by. */
  readonly name: string;
  /**
   * Runs the function, as often as you like and at the same time: each run has a memory of its own, and all share the
   * state.
   *
   * Rejects with a `FaasmError`.
   */
  run(options?: RunOptions): Promise<RunResult>;
}

/** How to run a function. */
export interface RunOptions {
  /** What the function reads as its input; a Blob or stream is read to its end first. */
  input?: string | Uint8Array | ArrayBuffer | Blob | ReadableStream<Uint8Array>;
  /** Its command line, after the function's own name. */
  args?: string[];
  /** Its environment. */
  env?: Record<string, string>;
  /** `"browser"` (this page; the default) or `"cluster"`. */
  where?: "browser" | "cluster";
  /** How this run is suspended, instead of what `load` or `connect` were told. */
  engine?: Engine;
  /**
   * Ends the run when it is aborted: the run rejects with `aborted`, with the signal's reason as `cause`, and calls that it
   * has chained and that have not ended are cancelled. A signal that is aborted already starts nothing.
   *
   * A function that waits ends at once, one that computes at its next host call. One that only computes cannot be
   * interrupted on its own thread: run it in a worker, which you can terminate.
   */
  signal?: AbortSignal;
  /** The same after this many milliseconds, with `timeout`. */
  timeout?: number;
  /** Called with what the function prints, as it prints it. Not for runs in the cluster. */
  onStdout?: (text: string) => void;
  /** The same for what it prints as errors. */
  onStderr?: (text: string) => void;
  /** Called with what happens to the run, as it happens. Not for runs in the cluster. */
  onEvent?: (event: RunEvent) => void;
}

/** What happens to a run. */
export type RunEvent = SuspendedEvent | ResumedEvent | ChainedEvent | CallFinishedEvent | StateEvent;

/** What all events have. */
export interface RunEventBase {
  /** When it happened: milliseconds since the run began. */
  atMs: number;
}

/** The function has to wait. */
export interface SuspendedEvent extends RunEventBase {
  type: "suspended";
  /** What for. */
  awaits: "call" | "sleep" | "state" | "lock" | "file";
}

/** The function goes on. */
export interface ResumedEvent extends RunEventBase {
  type: "resumed";
  /** How long it was suspended, milliseconds. */
  suspendedMs: number;
}

/** The function has chained a call. */
export interface ChainedEvent extends RunEventBase {
  type: "chained";
  /** The call, within this run. */
  callId: number;
  /** The function that is called. */
  function: string;
  /** Where it is entered, if not at its beginning: by a function pointer, or with an index. */
  entry: { pointer: number } | { index: number } | null;
  inputBytes: number;
}

/** The result of a chained call is here; the function may not have awaited it yet. */
export interface CallFinishedEvent extends RunEventBase {
  type: "callFinished";
  callId: number;
  /** What it returned; 1 where it failed, with the reason as output. */
  returnValue: number;
  outputBytes: number;
  /** Where it ran. */
  where: "cluster" | "browser";
  /**
   * Why it failed; null where the function returned, whatever it returned. The console has a warning, too, once for each
   * function that is called.
   */
  failure: { code: ErrorCode; message: string } | null;
}

/** Bytes of a state value have come from the cluster, or have gone there. */
export interface StateEvent extends RunEventBase {
  type: "statePulled" | "statePushed";
  key: string;
  bytes: number;
}

/** How a run ended. */
export interface RunResult {
  /** What the function returned, or exited with. */
  returnValue: number;
  /** What it wrote as its output. */
  output: Uint8Array<ArrayBuffer>;
  stats: RunStats;
}

/** Figures of a run. */
export interface RunStats {
  /** How the function was suspended; null where it ran in the cluster. */
  engine: "asyncify" | "jspi" | null;
  /** How often the function was suspended. */
  suspensions: number;
  /** How many calls it chained. */
  chainedCalls: number;
  /** From start to end, milliseconds. */
  totalMs: number;
  /** How much of that it was suspended, milliseconds. */
  suspendedMs: number;
}

/**
 * State values of the user, for the page's own code.
 *
 * State has two tiers: this page's copy, which all runs of this runtime work on too, and the cluster's. Reads take what is
 * in the page and pull what is missing; writes stay in the page until they are pushed. A value keeps the size it first had.
 *
 * Everything rejects with a `FaasmError`: `state` where the size is another, `closed`, or why the relay could not do it.
 */
export interface RuntimeState {
  /** The value; `undefined` where neither tier has one. The bytes are a copy. */
  get(key: string): Promise<Uint8Array<ArrayBuffer> | undefined>;
  /** Writes the whole value in the page. */
  put(key: string, value: string | Uint8Array | ArrayBuffer): Promise<void>;
  /** Sends what was written in the page, by whoever wrote it, to the cluster; resolves once it is durable there. */
  push(key: string): Promise<void>;
  /** Takes the cluster's value, unsent writes in the page give way to it. Gives what `get` would. */
  pull(key: string): Promise<Uint8Array<ArrayBuffer> | undefined>;
  /** Appends an element to a list; lists are in the cluster, or for `local` keys in the page. Resolves once it is durable there. */
  append(key: string, element: string | Uint8Array | ArrayBuffer): Promise<void>;
  /** The first `count` elements of a list, one after the other. */
  readAppended(key: string, count: number): Promise<Uint8Array<ArrayBuffer>>;
  /** Empties a list. */
  clearAppended(key: string): Promise<void>;
  /**
   * Keeps the page's copy fresh, so that reads of it need not wait: pulls the value, and again whenever others have written it
   * and the relay knows of that. What was written in the page and is not pushed stays. Resolves once the value is here, or there
   * is none; the connection may break later, and is then told again.
   *
   * Rejects, and the value is not pinned, with `too-large` where 256 are already or their bytes would be more than 256 MiB
   * together, `refused` where the token does not allow it to be read, `state` where the page has another size. Rejects with
   * other codes where it cannot be had now: it stays pinned then, and is asked for again every 5 s.
   */
  pin(key: string): Promise<void>;
  /** Ends that. The page's copy stays. */
  unpin(key: string): void;
  /**
   * Pulls what is missing of these values, at most 1024, some at once; values that do not exist are left out. Resolves when all are
   * here, rejects when the first of them cannot be had; with `too-large` where what is pinned and what was ever prefetched in this
   * page would have more than 256 MiB together.
   */
  prefetch(keys: string[]): Promise<void>;
  /**
   * Has `callback` called after this page's copy was written, took bytes from the cluster, or had its bytes reach the
   * cluster, whoever did it: a run, or the page. Gives a function that ends the subscription.
   *
   * It is called in a microtask, when no function is on the stack, and once for several changes of one type that happen
   * before. What others change in the cluster is heard of when it is pulled, which for a pinned value is soon. Lists are not told
   * of.
   */
  subscribe(key: string, callback: (change: StateChange) => void): () => void;
}

/** What happened to a state value in this page. */
export interface StateChange {
  type: "written" | "pulled" | "pushed";
  key: string;
}

/** What everything here rejects with: an `Error` with a code for programs. */
export interface FaasmError extends Error {
  name: "FaasmError";
  code: ErrorCode;
  /** What the page itself gave or threw: the reason of a signal, the error of a token's provider or of a stream. */
  cause?: unknown;
}

/** What went wrong. */
export type ErrorCode =
  | "aborted" // by the run's signal
  | "bad-entry" // what was to be called is not a function that can be
  | "bad-options" // an option makes no sense
  | "bad-pointer" // a host call was given a pointer outside memory, or no string
  | "cannot-connect" // no relay answers there
  | "cannot-load" // manifest or module cannot be fetched, or are not what they should be
  | "closed" // the runtime was disposed of
  | "cluster-only" // the function imports what only a Faasm cluster has, and was not run
  | "connection-lost" // the relay went away, and did not come back in time
  | "deadlock" // the function waits for a lock that it holds itself
  | "internal" // something that is not in this list; the message says what
  | "lock-lost" // the run lost a lock across the cluster, for one while it had no connection
  | "missing-function" // the cluster has no such function
  | "no-jspi" // this browser has no JavaScript Promise Integration
  | "no-malloc" // there is no safe memory for what a host call hands out: it was not built, grows memory by itself, and exports no malloc
  | "no-token" // the token's provider failed, or gave no string
  | "not-implemented" // a host call that is not implemented yet
  | "operation-failed" // the cluster could not do what a host call asked
  | "out-of-memory" // the function's malloc had no room for an output
  | "outcome-unknown" // the relay lost the session: nobody can tell whether it did what it was asked
  | "over-budget" // the relay has no memory left for this user, or for anybody
  | "queue-full" // too much waits for the connection to come back
  | "refused" // the relay will not have this session, or its token does not allow this
  | "stack-exhausted" // the function called itself too deeply
  | "stack-size" // the stack did not fit where a suspended function keeps it
  | "state" // a state value has another size
  | "timeout" // the run took longer than its timeout, or than a call in the cluster may take
  | "too-large" // longer than a frame may be, or an output of the cluster than its relay sends; or more than can be pinned
  | "trap" // the function trapped; `stack` names its functions
  | "unknown-import"; // the function called an import nobody knows

/** How to reach a relay. */
export interface ConnectOptions {
  /** Whose functions and state to use. */
  user: string;
  /** Address of the relay, `http(s):` or `ws(s):`; the one that served this page when left out. */
  url?: string | URL;
  /** Proof that this page may act for `user`. */
  token?: string;
}

/** How to run a function. */
export interface RunOptions {
  /** What the function reads as its input. */
  input?: string | Uint8Array | ArrayBuffer;
  /** Its command line, after the function's own name. */
  args?: string[];
  /** Its environment. */
  env?: Record<string, string>;
  /** `"browser"` (this page; the default) or `"cluster"`. */
  where?: "browser" | "cluster";
  /** Called with what the function prints, as it prints it. Not for runs in the cluster. */
  onStdout?: (text: string) => void;
  /** The same for what it prints as errors. */
  onStderr?: (text: string) => void;
}

/** How a run ended. */
export interface RunResult {
  /** What the function returned, or exited with. */
  returnValue: number;
  /** What it wrote as its output. */
  output: Uint8Array;
  stats: RunStats;
}

/** Figures of a run. */
export interface RunStats {
  /** How often the function was suspended. */
  suspensions: number;
  /** How many calls it chained. */
  chainedCalls: number;
  /** From start to end, milliseconds. */
  totalMs: number;
  /** How much of that it was suspended, milliseconds. */
  suspendedMs: number;
}

/** What everything here rejects with: an `Error` with `name` "FaasmError" and a code for programs. */
export interface FaasmError extends Error {
  code:
    | "bad-options" // an option makes no sense
    | "cannot-connect" // no relay answers there
    | "refused" // the relay will not have this session
    | "connection-lost" // the relay went away
    | "cannot-load" // manifest or module cannot be fetched, or are not what they should be
    | "cluster-only" // the function needs what only a cluster has
    | "not-implemented" // a host call that is not implemented yet
    | "unknown-import" // the function called an import nobody knows
    | "stack-size" // the stack did not fit where a suspended function keeps it
    | "trap" // the function trapped; `stack` names its functions
    | "stack-exhausted" // the function called itself too deeply
    | "missing-function" // the cluster has no such function
    | "bad-entry" // what was to be called is not a function that can be
    | "timeout" // the cluster ended it after the time a call may take
    | "deadlock" // the function waits for a lock that it holds itself
    | "no-malloc" // a host call needs the function's malloc, and it exports none
    | "bad-pointer" // a host call was given a pointer outside memory, or no string
    | "state" // a state value has another size
    | "operation-failed" // the cluster could not do what a host call asked
    | "out-of-memory" // the function's malloc had no room for an output
    | "too-large" // longer than a frame may be
    | "internal";
}

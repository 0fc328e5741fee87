export type {
  ConnectOptions,
  FaasmError,
  FaasmFunction,
  RunOptions,
  RunResult,
  RunStats,
  Runtime,
} from "./faasm_runtime.js";
import type { ConnectOptions, Runtime } from "./faasm_runtime.js";

/**
 * Connects to a relay.
 *
 * Rejects with a `FaasmError`: `cannot-connect`, `refused` or `bad-options`.
 */
export function connect(options: ConnectOptions): Promise<Runtime>;

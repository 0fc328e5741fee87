// Uses every option, event and result of the package; it only has to compile.

import { connect } from "@faasm/runtime-web";
import type {
  ConnectOptions, Engine, ErrorCode, FaasmError, FaasmFunction, LoadOptions, RunEvent, RunOptions, RunResult, RunStats,
  Runtime, RuntimeState, StateChange, StateRules, Where,
} from "@faasm/runtime-web";

const engines: Engine[] = ["auto", "asyncify", "jspi"];

const options = {
  user: "demo",
  url: new URL("https://relay.example"),
  token: async () => "token",
  engine: "auto",
  transport: "websocket",
  reconnectTimeout: 1000,
  where: { default: "auto", square: "browser" },
  state: { pin: ["key"], prefetch: ["key"], local: ["mine/*"] } satisfies Required<StateRules>,
} satisfies Required<ConnectOptions>;

export const places: ConnectOptions["where"][] = ["cluster", (name: string): Where | undefined => (name === "square" ? "browser" : undefined)];

function never(value: never): never {
  throw new Error(String(value));
}

function onEvent(event: RunEvent): string | number {
  const at: number = event.atMs;
  switch (event.type) {
    case "suspended": {
      const awaits: "call" | "sleep" | "state" | "lock" | "file" = event.awaits;
      return awaits;
    }
    case "resumed":
      return event.suspendedMs + at;
    case "chained": {
      const { callId, function: name, inputBytes, entry } = event;
      if (entry && "pointer" in entry) return entry.pointer;
      return entry ? entry.index : `${callId} ${name} ${inputBytes}`;
    }
    case "callFinished":
      if (event.failure) return meaning(event.failure.code) + event.failure.message;
      return event.where === "browser" ? event.callId : event.returnValue + event.outputBytes;
    case "statePulled":
    case "statePushed":
      return event.key.length + event.bytes;
    default:
      return never(event);
  }
}

const runOptions = {
  input: "text",
  args: ["-v"],
  env: { LANG: "C" },
  where: "browser",
  engine: "jspi",
  signal: AbortSignal.timeout(1000),
  timeout: 1000,
  onStdout: (text: string) => console.log(text),
  onStderr: (text) => console.error(text.length),
  onEvent,
} satisfies Required<RunOptions>;

const inputs: Required<RunOptions>["input"][] = [
  "text", new Uint8Array(1), new ArrayBuffer(1), new Blob(["text"]), new Response("text").body!,
];

function meaning(code: ErrorCode): string {
  const retry: ErrorCode[] = ["cannot-connect", "connection-lost", "outcome-unknown"];
  return retry.includes(code) ? "try again" : code;
}

async function useState(state: RuntimeState): Promise<void> {
  const value: Uint8Array<ArrayBuffer> | undefined = await state.get("key");
  if (value) await crypto.subtle.digest("SHA-256", value);
  for (const bytes of ["text", new Uint8Array(1), new ArrayBuffer(1)]) {
    await state.put("key", bytes);
    await state.append("list", bytes);
  }
  await state.push("key");
  const pulled: Uint8Array | undefined = await state.pull("key");
  const list: Uint8Array = await state.readAppended("list", pulled?.length ?? 3);
  await state.clearAppended("list");
  const end: () => void = state.subscribe("key", ({ type, key }: StateChange) => {
    const known: "written" | "pulled" | "pushed" = type;
    console.log(known, key, list.length);
  });
  end();
  await state.pin("key");
  await state.prefetch(["key", "other"]);
  state.unpin("key") satisfies void;
}

export async function everything(): Promise<void> {
  using runtime: Runtime = await connect(options);
  const load = { engine: "asyncify", name: "fn" } satisfies Required<LoadOptions>;
  const fn: FaasmFunction = await runtime.load(new URL("/functions/fn.json", location.href), load);
  await runtime.load("/functions/fn.json");
  for (const original of [new Blob([]), new Uint8Array(8), new ArrayBuffer(8)]) await runtime.load(original, { name: "fn" });
  await useState(runtime.state);
  try {
    await fn.run();
    for (const input of inputs) await fn.run({ input });
    for (const engine of engines) await fn.run({ engine });
    const { returnValue, output, stats }: RunResult = await fn.run(runOptions);
    const { engine, suspensions, chainedCalls, totalMs, suspendedMs }: RunStats = stats;
    const where: "asyncify" | "jspi" | null = engine;
    console.log(fn.name, where, returnValue + suspensions + chainedCalls + totalMs + suspendedMs, new Blob([output]));
  } catch (error) {
    const { name, code, message, stack, cause } = error as FaasmError;
    console.log(name satisfies "FaasmError", meaning(code), message, stack, cause);
  }
  runtime.dispose();
}

// @ts-expect-error: `user` is required
connect({});
// @ts-expect-error: not a place
const elsewhere: RunOptions = { where: "moon" };
// @ts-expect-error: not a code
const code: ErrorCode = "oops";
export const wrong = [elsewhere, code];

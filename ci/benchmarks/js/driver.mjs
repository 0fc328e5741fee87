// Runs one module in Node: `node driver.mjs MODULE OPTIONS`, with options as JSON:
//   rounds   how many rounds the workload is to do
//   entry    the exports that make up its entry, in order
//   suspend  for an instrumented module: { buffer: bytes at the end of memory, or null where the guest's malloc gives them }
// What the workload prints goes to standard output; with `suspend`, a last line on standard error says how often it was
// suspended.

import { readFileSync } from "node:fs";
import { WASI } from "node:wasi";
import { blockingCalls } from "./host.mjs";
import { Suspending } from "./suspending.mjs";

const [path, json] = process.argv.slice(2);
const { rounds, entry, suspend } = JSON.parse(json);

const wasi = new WASI({ version: "preview1", args: ["workload", String(rounds)] });
const memory = { of: undefined };
const env = blockingCalls(() => memory.of.buffer);
// The processor time of this thread for every clock: what other programs do while a round runs is none of its time.
const THREAD_CLOCK = 3;
const clock_time_get = (_clock, precision, to) =>
  wasi.wasiImport.clock_time_get(THREAD_CLOCK, precision, to);
const host = { env, wasi_snapshot_preview1: { ...wasi.wasiImport, clock_time_get } };

const module = new WebAssembly.Module(readFileSync(path));
const driver = suspend && new Suspending(host, suspend.buffer);
const imports = driver ? { ...host, faasm_bridge: driver.imports(module) } : host;
const instance = new WebAssembly.Instance(module, imports);
memory.of = instance.exports.memory;
driver?.attach(instance.exports);

// Node starts commands by `_start`, which is not all of every entry.
const _start = () => {
  for (const name of entry) driver ? driver.run(instance.exports[name]) : instance.exports[name]();
};
const status = wasi.start({ exports: { memory: instance.exports.memory, _start } });
if (driver) console.error(`suspensions ${driver.suspensions}`);
process.exitCode = status;

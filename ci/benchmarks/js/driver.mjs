// Runs one module in Node: `node driver.mjs MODULE OPTIONS`, where OPTIONS is JSON with these fields:
//   rounds   number of rounds of the workload
//   entry    the exports that make up its entry, in order
//   suspend  for an instrumented module: { buffer: bytes at the end of memory, or null if the guest's malloc provides them }
// The workload's output goes to standard output. With `suspend`, the last line on standard error is the number of
// suspensions.

import { readFileSync } from "node:fs";
import { WASI } from "node:wasi";
import { blockingCalls } from "./host.mjs";
import { Suspending } from "./suspending.mjs";

const [path, json] = process.argv.slice(2);
const { rounds, entry, suspend } = JSON.parse(json);

const wasi = new WASI({ version: "preview1", args: ["workload", String(rounds)] });
const memory = { of: undefined };
const env = blockingCalls(() => memory.of.buffer);
// Every clock returns the CPU time of this thread, so that other programs do not affect the time of a round.
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

// Node starts commands by `_start`, but some entries consist of several exports.
const _start = () => {
  for (const name of entry) driver ? driver.run(instance.exports[name]) : instance.exports[name]();
};
const status = wasi.start({ exports: { memory: instance.exports.memory, _start } });
if (driver) console.error(`suspensions ${driver.suspensions}`);
process.exitCode = status;

// Host calls from a guest to the runtime, both WebAssembly: passes arguments as numbers, copies bytes between their
// memories, and allocates nothing.

import { takesWords } from "./pointer.js";

// The runtime's memory and exports, set with the first guest.
let runtime, calls, wideArguments, own = new Uint8Array(0);

// Guests, by the number of their run.
const guests = [];

const NONE = new Uint8Array(0);

// When a memory has grown, its views are detached, and so empty.
function ours() {
  if (own.length === 0) own = new Uint8Array(runtime.buffer);
  return own;
}

function of(guest) {
  if (guest.bytes.length === 0) guest.bytes = new Uint8Array(guest.memory.buffer);
  return guest.bytes;
}

/** Registers the guest of a run, with its memory and its table, if it has one. */
export function openGuest(run, memory, table) {
  guests[run] = { memory, table, bytes: NONE };
}

export function closeGuest(run) {
  guests[run] = undefined;
}

/** The size of its memory in bytes. */
export function memorySize(run) {
  return of(guests[run]).length;
}

/** Copies from the guest's memory. The runtime has checked the bounds, here and below. */
export function copyFromGuest(run, from, to, length) {
  copy(of(guests[run]), from, ours(), to, length);
}

/** Copies into the guest's memory. */
export function copyToGuest(run, to, from, length) {
  copy(ours(), from, of(guests[run]), to, length);
}

/** Length of the string at `from`, up to its NUL; -1 if none of the next `most` bytes is NUL. */
export function stringLength(run, from, most) {
  const bytes = of(guests[run]), end = from + most;
  // For most keys a loop is faster than a call of a built-in.
  const near = Math.min(end, from + 64);
  for (let at = from; at < near; at++) if (bytes[at] === 0) return at - from;
  const found = near < end ? bytes.indexOf(0, near) : -1;
  return found >= 0 && found < end ? found - from : -1;
}

function copy(source, from, target, to, length) {
  if (length > 32) target.set(source.subarray(from, from + length), to);
  else for (let i = 0; i < length; i++) target[to + i] = source[from + i];
}

/**
 * Sets the runtime's memory and exports for the functions below.
 *
 * @param {WebAssembly.Memory} memory
 * @param {object} exports  raw exports: wasm-bindgen's glue would cost as much as the calls
 * @param {number} wide     address for the arguments of calls with i64 or many arguments, eight bytes each
 */
export function useRuntime(memory, exports, wide) {
  [runtime, calls, wideArguments] = [memory, exports, wide];
}

// (module (func (export "trap") unreachable))
const TRAPS = [0, 97, 115, 109, 1, 0, 0, 0, 1, 4, 1, 96, 0, 0, 3, 2, 1, 0, 7, 8, 1, 4, 116, 114, 97, 112, 0, 0, 10, 5, 1, 3, 0, 0, 11];
let trap;

/**
 * The exception by which a host call ends a guest: a trap. A catch-all handler of the guest, as C++ has for `catch
 * (...)` and destructors, would catch any other JavaScript error, and the guest would continue.
 */
export function uncatchable() {
  trap ??= new WebAssembly.Instance(new WebAssembly.Module(new Uint8Array(TRAPS))).exports.trap;
  try {
    return trap();
  } catch (error) {
    return error;
  }
}

// A flag in the row number: the arguments are at `wide`.
const WIDE = 1 << 31;

// The maximum number of arguments passed directly.
const WORDS = 7;

/**
 * The function to import for one row of the host interface.
 *
 * @param {"host_call" | "host_begin" | "host_finish" | "host_called" | "host_number" | "host_trap"} kind
 * @param {number} run
 * @param {number} row
 * @param {string} params  one letter each: `i` for i32, `I` for i64
 */
export function importFunction(kind, run, row, params) {
  const call = calls[kind];
  if (params.includes("I") || params.length > WORDS) {
    return (...args) => {
      const target = new DataView(runtime.buffer, wideArguments, 8 * args.length);
      args.forEach((value, i) => {
        if (params[i] === "I") target.setBigInt64(8 * i, value, true);
        else target.setInt32(8 * i, value, true);
      });
      return call(run, row | WIDE, 0, 0, 0, 0, 0, 0, 0);
    };
  }
  // Always all parameters: calls with missing arguments are slower.
  switch (params.length) {
    case 0: return () => call(run, row, 0, 0, 0, 0, 0, 0, 0);
    case 1: return (a) => call(run, row, a, 0, 0, 0, 0, 0, 0);
    case 2: return (a, b) => call(run, row, a, b, 0, 0, 0, 0, 0);
    case 3: return (a, b, c) => call(run, row, a, b, c, 0, 0, 0, 0);
    case 4: return (a, b, c, d) => call(run, row, a, b, c, d, 0, 0, 0);
    case 5: return (a, b, c, d, e) => call(run, row, a, b, c, d, e, 0, 0);
    default: return (a, b, c, d, e, f, g) => call(run, row, a, b, c, d, e, f, g);
  }
}

/**
 * The function to import for a blocking row, in a module without the rewriter's shim: returns a promise only if it has
 * to wait. The guest stays suspended meanwhile, also while `finish` calls its `malloc`.
 *
 * @param {number} run
 * @param {(...args: (number | bigint)[]) => number} begin  1: it has to wait, 2: it calls a function of the guest
 * @param {() => Promise<void>} suspend
 * @param {() => number} finish
 */
export function waitingFunction(run, begin, suspend, finish) {
  return (...args) => {
    const began = begin(...args);
    if (began === 0) return finish();
    return (began === 1 ? suspend() : callGuest(run)).then(() => finish());
  };
}

// Calls the guest function of a host call on its own stack, which can be suspended too.
function callGuest(run) {
  const [COUNT, ARGUMENT, FUNCTION] = [0, 1, 2];
  const index = calls.host_called(run, FUNCTION, 0), count = calls.host_called(run, COUNT, 0);
  const { table } = guests[run];
  const target = table && index < table.length ? table.get(index) : null;
  if (!target || !takesWords(target, count)) {
    throw new WebAssembly.RuntimeError(`no function of ${count} i32 without a result is at ${index} of the table`);
  }
  const args = Array.from({ length: count }, (_, position) => calls.host_called(run, ARGUMENT, position));
  return WebAssembly.promising(target)(...args);
}

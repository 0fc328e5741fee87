// Between a guest and the runtime, both of them WebAssembly: arguments of host calls go over as numbers, bytes from one
// memory to the other, and nothing is allocated on the way.

import { takesWords } from "./pointer.js";

// The runtime's memory and exports, once it has its first guest.
let runtime, calls, wideArguments, own = new Uint8Array(0);

// Memories of guests, by the numbers that the runtime knows the runs by.
const guests = [];

const NONE = new Uint8Array(0);

// A view of a memory that has grown is detached, and then empty.
function ours() {
  if (own.length === 0) own = new Uint8Array(runtime.buffer);
  return own;
}

function of(guest) {
  if (guest.bytes.length === 0) guest.bytes = new Uint8Array(guest.memory.buffer);
  return guest.bytes;
}

/** The guest of a run: from here on its memory and its table, if it has one, are there for the functions below. */
export function openGuest(run, memory, table) {
  guests[run] = { memory, table, bytes: NONE };
}

export function closeGuest(run) {
  guests[run] = undefined;
}

/** Bytes of its memory. */
export function memorySize(run) {
  return of(guests[run]).length;
}

/** Copies out of the guest's memory. The runtime has checked the bounds, here and below. */
export function copyFromGuest(run, from, to, length) {
  copy(of(guests[run]), from, ours(), to, length);
}

/** Copies into it. */
export function copyToGuest(run, to, from, length) {
  copy(ours(), from, of(guests[run]), to, length);
}

/** Length of the string at `from`, up to its NUL; -1 where none of the next `most` bytes is one. */
export function stringLength(run, from, most) {
  const bytes = of(guests[run]), end = from + most;
  // A call of a built-in costs more than most keys are long.
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
 * What the functions below need of the runtime.
 *
 * @param {WebAssembly.Memory} memory
 * @param {object} exports  of its module, called as they are: bindings would cost as much as the calls
 * @param {number} wide     where the arguments of a call go that has wider ones than i32, or many, eight bytes each
 */
export function useRuntime(memory, exports, wide) {
  [runtime, calls, wideArguments] = [memory, exports, wide];
}

// (module (func (export "trap") unreachable))
const TRAPS = [0, 97, 115, 109, 1, 0, 0, 0, 1, 4, 1, 96, 0, 0, 3, 2, 1, 0, 7, 8, 1, 4, 116, 114, 97, 112, 0, 0, 10, 5, 1, 3, 0, 0, 11];
let trap;

/**
 * What ends a guest when a host call throws it: the error of a trap. Handlers of the guest for any exception, as C++ has for
 * `catch (...)` and destructors, take every other error of JavaScript, and the guest would go on.
 */
export function uncatchable() {
  trap ??= new WebAssembly.Instance(new WebAssembly.Module(new Uint8Array(TRAPS))).exports.trap;
  try {
    return trap();
  } catch (error) {
    return error;
  }
}

// Told to the runtime beside the row: the arguments are where `wide` said.
const WIDE = 1 << 31;

// Most arguments that go over as such.
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
  // Always as many arguments as the runtime takes: engines adapt each call where some are missing.
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
 * The function to import for a row that can wait, in a module without the rewriter's halves of it: it tries, and gives a
 * promise only where it has to wait. The guest is suspended meanwhile, also while `finish` calls its `malloc`.
 *
 * @param {number} run
 * @param {(...args: (number | bigint)[]) => number} begin  1 where it has to wait, 2 where a function of the guest is to be called
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

// Calls the function of the guest that a host call asks for, on a stack of its own, which can be suspended too.
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

// Import functions of a guest: each hands its arguments to the runtime through a few slots of the runtime's own memory,
// eight bytes each, since a call through wasm-bindgen takes a fixed number of them.

let view = new DataView(new ArrayBuffer(0));

/**
 * The function to import for one row of the host interface.
 *
 * @param {(row: number) => number} handle  what the runtime does with the row
 * @param {WebAssembly.Memory} memory       the runtime's memory
 * @param {number} slots                    where the arguments go in it
 * @param {number} row                      which row
 * @param {string} params                   one letter each: `i` for i32, `I` for i64
 */
export function importFunction(handle, memory, slots, row, params) {
  const ready = () => {
    if (view.buffer !== memory.buffer) view = new DataView(memory.buffer);
    return view;
  };
  if (params.includes("I")) {
    return (...args) => {
      const target = ready();
      for (let i = 0; i < params.length; i++) {
        if (params[i] === "I") target.setBigInt64(slots + 8 * i, args[i], true);
        else target.setInt32(slots + 8 * i, args[i], true);
      }
      return handle(row);
    };
  }
  return (a, b, c, d, e, f, g) => {
    const target = ready();
    switch (params.length) {
      case 7: target.setInt32(slots + 48, g, true); // fall through
      case 6: target.setInt32(slots + 40, f, true); // fall through
      case 5: target.setInt32(slots + 32, e, true); // fall through
      case 4: target.setInt32(slots + 24, d, true); // fall through
      case 3: target.setInt32(slots + 16, c, true); // fall through
      case 2: target.setInt32(slots + 8, b, true); // fall through
      case 1: target.setInt32(slots, a, true);
    }
    return handle(row);
  };
}

/**
 * The function to import for a row that can wait, in a module without the rewriter's halves of it: it tries, and gives a
 * promise only where it has to wait. The guest is suspended meanwhile, also while `finish` calls its `malloc`.
 *
 * @param {(...args: (number | bigint)[]) => number} begin  1 where it has to wait
 * @param {() => Promise<void>} suspend
 * @param {() => number} finish
 */
export function waitingFunction(begin, suspend, finish) {
  return (...args) => (begin(...args) === 0 ? finish() : suspend().then(() => finish()));
}

// Function pointers as entries. JavaScript cannot query a function's signature; but a module links only if its import's
// type matches, so a module with one import tests a signature.

const I32 = 0x7f;

// The signatures of functions that can be chained: parameters, results.
const SIGNATURES = [[[], []], [[], [I32]], [[I32], [I32]]];

// (module (import "" "" (func (type 0))))
function importer(params, results) {
  const type = [0x60, params.length, ...params, results.length, ...results];
  const header = [0, 0x61, 0x73, 0x6d, 1, 0, 0, 0];
  return new WebAssembly.Module(Uint8Array.of(...header, 1, type.length + 1, 1, ...type, 2, 5, 1, 0, 0, 0, 0));
}

let importers;

function parametersOf(target) {
  importers ??= SIGNATURES.map(([params, results]) => ({ module: importer(params, results), count: params.length }));
  const fitting = importers.find(({ module }) => {
    try {
      return new WebAssembly.Instance(module, { "": { "": target } });
    } catch {
      return false;
    }
  });
  return fitting?.count;
}

// Modules by number of parameters.
const takers = [];

/** Whether a function takes `count` i32 and returns nothing. */
export function takesWords(target, count) {
  const module = (takers[count] ??= importer(Array(count).fill(I32), []));
  try {
    return Boolean(new WebAssembly.Instance(module, { "": { "": target } }));
  } catch {
    return false;
  }
}

function reject(why) {
  throw Object.assign(new Error(why), { code: "bad-entry" });
}

function decimal(input) {
  const digits = input.replace(/^[\0 \n]+|[\0 \n]+$/g, "");
  const value = Number(digits);
  if (!/^[+-]?[0-9]+$/.test(digits) || value !== (value | 0)) {
    reject(`a chained (i32) -> i32 takes a decimal number as input, not \`${input.slice(0, 40)}\``);
  }
  return value;
}

/**
 * The function behind a pointer, and its argument, if it takes one.
 *
 * @param {WebAssembly.Table | undefined} table
 * @param {number} index
 * @param {string} input
 * @returns {[Function, number | undefined]}
 */
export function pointerEntry(table, index, input) {
  if (!table) reject("the function has no table, and so no function pointers");
  if (index >= table.length) {
    reject(`function pointer ${index} lies outside the table, which has ${table.length} entries`);
  }
  const target = table.get(index);
  if (!target) reject(`function pointer ${index} is null`);
  const count = parametersOf(target);
  if (count === undefined) {
    reject(`function pointer ${index} has a signature that cannot be chained: () -> i32, (i32) -> i32 and () -> () can`);
  }
  return [target, count ? decimal(input) : undefined];
}

// Function pointers as entries. JavaScript does not say what signature a function of the table has; but an import links only
// with a function that has its type, so a module of one import tells.

const I32 = 0x7f;

// What can be chained, with the number of its parameters.
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

// By the number of parameters.
const takers = [];

/** Whether a function takes so many i32 and gives nothing. */
export function takesWords(target, count) {
  const module = (takers[count] ??= importer(Array(count).fill(I32), []));
  try {
    return Boolean(new WebAssembly.Instance(module, { "": { "": target } }));
  } catch {
    return false;
  }
}

function refused(why) {
  throw Object.assign(new Error(why), { code: "bad-entry" });
}

function decimal(input) {
  const digits = input.replace(/^[\0 \n]+|[\0 \n]+$/g, "");
  const value = Number(digits);
  if (!/^[+-]?[0-9]+$/.test(digits) || value !== (value | 0)) {
    refused(`a chained (i32) -> i32 takes a decimal number as input, not \`${input.slice(0, 40)}\``);
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
  if (!table) refused("the function has no table, and so no function pointers");
  if (index >= table.length) {
    refused(`function pointer ${index} lies outside the table, which has ${table.length} entries`);
  }
  const target = table.get(index);
  if (!target) refused(`function pointer ${index} is null`);
  const count = parametersOf(target);
  if (count === undefined) {
    refused(`function pointer ${index} has a signature that cannot be chained: () -> i32, (i32) -> i32 and () -> () can`);
  }
  return [target, count ? decimal(input) : undefined];
}

// The calls of Faasm's host interface that the workloads make, answered immediately from memory.

const decoder = new TextDecoder();

/** Imports of module `env`; `buffer` returns the guest's current memory. */
export function blockingCalls(buffer) {
  const values = new Map();
  // Keyed by address: the workloads' keys are constants, and a call should cost little compared with the measured work.
  const known = new Map();
  const find = (key, total) => {
    const bytes = new Uint8Array(buffer(), key);
    const name = decoder.decode(bytes.subarray(0, bytes.indexOf(0)));
    if (!values.has(name)) values.set(name, new Uint8Array(total));
    known.set(key, values.get(name));
    return values.get(name);
  };
  const value = (key, total) => known.get(key) ?? find(key, total);
  return {
    __faasm_chain_name: () => 1,
    __faasm_await_call: () => 1,
    __faasm_read_state_offset(key, total, offset, to, length) {
      new Uint8Array(buffer(), to, length).set(value(key, total).subarray(offset, offset + length));
      return length;
    },
    __faasm_write_state_offset(key, total, offset, from, length) {
      value(key, total).set(new Uint8Array(buffer(), from, length), offset);
      return length;
    },
  };
}

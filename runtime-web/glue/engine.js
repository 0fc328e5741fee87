// Two engines that suspend and resume a function, with one interface:
//
// * `suspend()`: called in an import that can suspend; the import returns its result.
// * `suspending(f)`: wraps such an import `f` for the import object.
// * `attach(exports, memory)`: binds the engine to the instance.
// * `call(f, argument)`: calls a function of the guest, with or without an argument, and drives it through all its
//   suspensions.
// * `suspensions()`: the number of suspensions.
//
// Both call `wait` for each suspension; the guest resumes when the promise that it returns is resolved.

const NORMAL = 0, UNWINDING = 1, REWINDING = 2;

// Asyncify keeps two pointers at the start of the buffer: next free byte, and end.
const HEADER_BYTES = 8;

/**
 * Suspension by Binaryen's Asyncify: the guest's code unwinds its stack into linear memory, and rewinds it later.
 *
 * The instrumented module exports four functions that switch its state. To suspend, the import calls
 * `asyncify_start_unwind`; every function then saves its locals and returns, until the outermost call returns here. To
 * resume, `call` calls `asyncify_start_rewind` and enters the same function again: every function restores its locals
 * and continues at its call, down to the import, which ends the rewinding.
 *
 * @param {() => Promise<void>} wait
 * @param {number} bytes  size of the unwind buffer, at the end of memory
 */
export function asyncify(wait, bytes) {
  let state = NORMAL, suspensions = 0, buffer = 0;
  let pointers = new Uint32Array(0);
  let memory, startUnwind, stopUnwind, startRewind, stopRewind;

  // The buffer is at the end of memory, and moves when memory grows. Its pointers are written at each suspension, since
  // a running guest can store past its own memory, into the buffer.
  const reset = () => {
    // When memory has grown, the view is detached, and so empty.
    if (pointers.length === 0) {
      buffer = memory.buffer.byteLength - bytes;
      pointers = new Uint32Array(memory.buffer, buffer, 2);
    }
    pointers[0] = buffer + HEADER_BYTES;
    pointers[1] = buffer + bytes;
  };

  return {
    suspend() {
      if (state === REWINDING) {
        stopRewind();
        state = NORMAL;
        return;
      }
      // The rewriter turns a start function, which would run before the exports are known, into an export.
      if (!memory) throw new Error("suspended during instantiation");
      reset();
      startUnwind(buffer);
      state = UNWINDING;
      suspensions++;
    },
    suspending: (f) => f,
    attach(exports, itsMemory) {
      const control = (name) => {
        if (typeof exports[name] === "function") return exports[name];
        const error = new Error(`the module does not export \`${name}\`: build it again with faasm-asyncify`);
        throw Object.assign(error, { code: "cannot-load" });
      };
      startUnwind = control("asyncify_start_unwind");
      stopUnwind = control("asyncify_stop_unwind");
      startRewind = control("asyncify_start_rewind");
      stopRewind = control("asyncify_stop_rewind");
      memory = itsMemory;
    },
    async call(f, argument) {
      // Rewinding restores arguments like locals.
      const enter = argument === undefined ? f : () => f(argument);
      for (;;) {
        let value;
        try {
          value = enter();
        } catch (thrown) {
          if (state !== UNWINDING) throw thrown;
          // The buffer ends where memory ends, so an overflow traps.
          const error = new Error(
            `the function's stack exceeds the unwind buffer of ${bytes} bytes: build it with a larger --stack-size`,
          );
          throw Object.assign(error, { code: "stack-size" });
        }
        if (state !== UNWINDING) return value;
        stopUnwind();
        state = NORMAL;
        await wait();
        startRewind(buffer);
        state = REWINDING;
      }
    },
    suspensions: () => suspensions,
  };
}

/**
 * Suspension by JavaScript Promise Integration: the browser keeps the guest's stack; the guest's code is not
 * instrumented.
 *
 * The import that suspends is a `WebAssembly.Suspending`: it returns a promise, and the browser switches stacks until
 * the promise is resolved. Entries are called through `WebAssembly.promising`, which returns a promise of their result.
 *
 * @param {() => Promise<void>} wait
 */
export function jspi(wait) {
  let suspensions = 0;
  return {
    suspend() {
      suspensions++;
      return wait();
    },
    suspending: (f) => new WebAssembly.Suspending(f),
    attach() {},
    call: (f, argument) => WebAssembly.promising(f)(argument),
    suspensions: () => suspensions,
  };
}

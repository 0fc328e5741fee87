// How a function is suspended and resumed, in two ways with one shape:
//
// * `suspend`: called in an import that can suspend; the import returns what this gives.
// * `suspending(f)`: what a module imports for such an import `f`.
// * `attach(exports, memory)`: the instance is there.
// * `call(f, argument)`: calls a function of the guest that takes nothing, or this argument, and takes it through all its
//   suspensions.
// * `suspensions()`: how often it was suspended.
//
// Both get `wait`, which is called once for each suspension and gives a promise: the guest goes on when it is resolved.

const NORMAL = 0, UNWINDING = 1, REWINDING = 2;

// Bytes of Asyncify's own two pointers at the start of the buffer: next free byte, and end.
const HEADER_BYTES = 8;

/**
 * Suspension by Binaryen's Asyncify: the guest's code unwinds its own stack into linear memory, and rewinds it later.
 *
 * The instrumented module exports four functions that switch its state. To suspend, `asyncify_start_unwind` is called
 * inside the import; every function then saves its locals and returns, until the outermost call comes back here. To resume,
 * `asyncify_start_rewind` is called and the same function entered again: every function restores its locals and goes on
 * where it was, down to the import, which ends the rewinding.
 *
 * @param {() => Promise<void>} wait
 * @param {number} bytes  at the end of memory, for the unwound stack
 */
export function asyncify(wait, bytes) {
  let state = NORMAL, suspensions = 0, buffer = 0;
  let pointers = new Uint32Array(0);
  let memory, startUnwind, stopUnwind, startRewind, stopRewind;

  // The buffer is where memory ends, wherever that is. Its pointers are written for each suspension: while the guest runs, it can
  // store past its own memory, into the buffer.
  const place = () => {
    // A view of before memory grew is detached, and then empty.
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
      // A start function would run before the exports are known; the rewriter makes it an export of its own.
      if (!memory) throw new Error("suspended while it was being instantiated");
      place();
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
      // Rewinding restores arguments as it does locals.
      const enter = argument === undefined ? f : () => f(argument);
      for (;;) {
        let value;
        try {
          value = enter();
        } catch (thrown) {
          if (state !== UNWINDING) throw thrown;
          // The buffer ends where memory ends, so unwinding traps where it does not fit.
          const error = new Error(
            `the function's stack did not fit in the ${bytes} bytes kept for suspending it: build it with a larger --stack-size`,
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
 * Suspension by JavaScript Promise Integration: the browser keeps the guest's stack, and the guest's code is as it was.
 *
 * The import that suspends is a `WebAssembly.Suspending`: it gives a promise, and the browser sets the stack aside until the
 * promise is resolved. Entries are called through `WebAssembly.promising`, which gives a promise of their result.
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

// Promises that a suspended guest waits for. Made here: through wasm-bindgen each would take a closure.

/** A promise that `resume` resolves. */
export function suspension() {
  let resolve;
  const promise = new Promise((resolved) => { resolve = resolved; });
  promise.resume = resolve;
  return promise;
}

export function resume(promise) {
  promise.resume();
}

// The runtime in a module worker: connects, loads functions and runs them for the page.

import { connect } from "./runtime/index.js";

let runtime;
const loaded = new Map();

async function answer(message) {
  if (message.connect) {
    // The relay is the server of the page.
    runtime = await connect(message.connect);
    return undefined;
  }
  const { manifest, options } = message;
  if (!loaded.has(manifest)) loaded.set(manifest, runtime.load(manifest));
  return (await loaded.get(manifest)).run(options);
}

onmessage = async ({ data }) => {
  try {
    postMessage({ id: data.id, result: await answer(data) });
  } catch (error) {
    const { name, message, code } = error;
    postMessage({ id: data.id, error: { name, message, code } });
  }
};

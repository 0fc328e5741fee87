// The same runtime in a module worker: connects, loads and runs what the page asks for.

import { connect } from "./runtime/index.js";

let runtime;
const loaded = new Map();

async function answer(message) {
  if (message.connect) {
    // The relay is where the page is from.
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

// Runs one case with the package, as any page would; in the page, or as the script of a worker.

import { connect } from "./runtime/index.js";

const decode = (text) => Uint8Array.from(atob(text), (character) => character.charCodeAt(0));

function encode(bytes) {
  let text = "";
  for (let at = 0; at < bytes.length; at += 8192) text += String.fromCharCode(...bytes.subarray(at, at + 8192));
  return btoa(text);
}

// Replaces a long output by the same text as `shortened` in outcome.rs.
async function shown(bytes, maxShown) {
  if (bytes.length <= maxShown) return encode(bytes);
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  const hex = Array.from(hash, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return btoa(`[${bytes.length} bytes, sha256 ${hex}]`);
}

export async function runCase({ address, engine, input, args, env, user, relay, chained, maxShown }) {
  let [stdout, stderr] = ["", ""];
  // Calls by pointer can always run in the browser, unless there are very many.
  const byPointer = new Set();
  let elsewhere = 0;
  let runtime;
  try {
    runtime = await connect({ user, url: relay, engine, where: chained });
    const loaded = await runtime.load(new URL(address, self.location.href));
    const { returnValue, output, stats } = await loaded.run({
      input: decode(input), args,
      env: Object.fromEntries(env),
      onStdout: (text) => { stdout += text; },
      onStderr: (text) => { stderr += text; },
      onEvent: ({ type, callId, entry, where }) => {
        if (type === "chained" && entry) byPointer.add(callId);
        if (type === "callFinished" && byPointer.has(callId) && where !== "browser") elsewhere++;
      },
    });
    if (stats.engine !== engine) return { broken: `it ran with the engine ${stats.engine}` };
    if (chained === "browser" && byPointer.size < 32 && elsewhere > 0) return { broken: `${elsewhere} calls ran in the cluster` };
    return { returnValue, output: await shown(output, maxShown), stdout, stderr };
  } catch (error) {
    if (error.name !== "FaasmError") return { broken: `not a FaasmError: ${error.stack ?? error}` };
    return { error: { code: String(error.code), message: String(error.message) }, stdout, stderr };
  } finally {
    runtime?.dispose();
  }
}

if (typeof WorkerGlobalScope !== "undefined" && self instanceof WorkerGlobalScope) {
  self.onmessage = async ({ data }) => self.postMessage(await runCase(data));
}

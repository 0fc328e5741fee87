// Modules of functions: compiled and hashed while they arrive, kept for the next visit, and handed out only where they
// hash to what the manifest says.

const KEPT = "faasm-modules";

async function integrityOf(bytes) {
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return `sha256-${btoa(String.fromCharCode(...hash))}`;
}

// Without a Cache Storage (pages without TLS, some private windows) modules are fetched at each visit.
async function kept(url) {
  try {
    return await (await (await caches.open(KEPT)).match(url))?.arrayBuffer();
  } catch {
    return undefined;
  }
}

async function keep(url, bytes) {
  try {
    const response = new Response(bytes, { headers: { "content-type": "application/wasm" } });
    await (await caches.open(KEPT)).put(url, response);
  } catch {
    // As above; or it is full.
  }
}

async function get(url, init) {
  const response = await fetch(url, init);
  if (!response.ok) throw new Error(`HTTP status ${response.status}`);
  return response;
}

async function load(url, expected) {
  if (!globalThis.crypto?.subtle) {
    // Only a page without TLS cannot hash; the browser can, before it hands anything out.
    const integrity = await expected;
    return integrity && WebAssembly.compileStreaming(get(url, { integrity }));
  }
  const old = await kept(url);
  if (old) {
    const [actual, wanted] = await Promise.all([integrityOf(old), expected]);
    if (wanted === undefined) return undefined;
    if (actual === wanted) return WebAssembly.compile(old);
  }
  const response = await get(url);
  const copy = response.clone();
  // It fails where the server names another type, too; what is wrong with the module shows below.
  const compiling = WebAssembly.compileStreaming(response).catch(() => undefined);
  const bytes = await copy.arrayBuffer();
  const [actual, wanted] = await Promise.all([integrityOf(bytes), expected]);
  if (wanted === undefined) return undefined;
  if (actual !== wanted) throw new Error("its bytes are not those of the manifest: deploy both together");
  const module = (await compiling) ?? (await WebAssembly.compile(bytes));
  keep(url, bytes);
  return module;
}

/**
 * The module at `url`, fetched and compiled before it is known what it has to be.
 *
 * @param {string} url
 * @param {Promise<string | undefined>} expected  its `sha256-…`; `undefined` where it is not needed after all
 * @returns {Promise<WebAssembly.Module | undefined>}
 */
export function loadModule(url, expected) {
  const module = load(url, expected);
  // One that turns out not to be needed may fail without anybody looking.
  module.catch(() => {});
  return module;
}

// Modules of functions: compiled and hashed while they are downloaded, cached for the next visit, and returned only if
// their hash is the manifest's.

const CACHE = "faasm-modules";

async function integrityOf(bytes) {
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return `sha256-${btoa(String.fromCharCode(...hash))}`;
}

// Without Cache Storage (pages without TLS, some private windows) modules are fetched at each visit.
async function cached(url) {
  try {
    return await (await (await caches.open(CACHE)).match(url))?.arrayBuffer();
  } catch {
    return undefined;
  }
}

async function store(url, bytes) {
  try {
    const response = new Response(bytes, { headers: { "content-type": "application/wasm" } });
    await (await caches.open(CACHE)).put(url, response);
  } catch {
    // As above, or the storage is full.
  }
}

async function get(url, init) {
  const response = await fetch(url, init);
  if (!response.ok) throw new Error(`HTTP status ${response.status}`);
  return response;
}

async function load(url, expected) {
  if (!globalThis.crypto?.subtle) {
    // A page without TLS has no `crypto.subtle`; `fetch` checks the integrity instead.
    const integrity = await expected;
    return integrity && WebAssembly.compileStreaming(get(url, { integrity }));
  }
  const old = await cached(url);
  if (old) {
    const [actual, wanted] = await Promise.all([integrityOf(old), expected]);
    if (wanted === undefined) return undefined;
    if (actual === wanted) return WebAssembly.compile(old);
  }
  const response = await get(url);
  const copy = response.clone();
  // This also fails for a wrong content type; a module that is invalid fails again below.
  const compiling = WebAssembly.compileStreaming(response).catch(() => undefined);
  const bytes = await copy.arrayBuffer();
  const [actual, wanted] = await Promise.all([integrityOf(bytes), expected]);
  if (wanted === undefined) return undefined;
  if (actual !== wanted) throw new Error("its hash differs from the manifest's: deploy both together");
  const module = (await compiling) ?? (await WebAssembly.compile(bytes));
  store(url, bytes);
  return module;
}

/**
 * Fetches and compiles the module at `url` before its expected hash is known.
 *
 * @param {string} url
 * @param {Promise<string | undefined>} expected  its `sha256-…`; `undefined` if it is not needed after all
 * @returns {Promise<WebAssembly.Module | undefined>}
 */
export function loadModule(url, expected) {
  const module = load(url, expected);
  // If it is not needed, its failure is not reported.
  module.catch(() => {});
  return module;
}

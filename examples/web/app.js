// The example page: runs functions in the page, in a worker of it or in the cluster, and shows their results.

import { connect } from "./runtime/index.js";

const FUNCTIONS = [
  { name: "hello_rust", about: "Greets its input.", input: "Ada" },
  { name: "hello_c", about: "The same in C.", input: "Ada" },
  { name: "chain_rust", about: "Chains three calls by function pointer, one of which chains again, and awaits them.", input: "nothing in this page ever blocks" },
  { name: "chain_cpp", about: "The same in C++.", input: "nothing in this page ever blocks" },
  { name: "chain_named_rust", about: "Chains hello_rust by name.", input: "Grace" },
  { name: "chain_named_cpp", about: "Chains hello_c by name, in C++.", input: "Grace" },
  { name: "state_rust", about: "Pushes a state value, has a chained call change it, pulls it.", input: "counter" },
  { name: "state_c", about: "The same in C.", input: "counter" },
];
const USER = "demo";

const count = (number, thing) => `${number} ${thing}${number === 1 ? "" : "s"}`;
const $ = (selector, within = document) => within.querySelector(selector);

/** Runs functions on this thread. */
async function onPage(where) {
  const runtime = await connect({ user: USER, where });
  const loaded = new Map();
  return (name, options) => {
    if (!loaded.has(name)) loaded.set(name, runtime.load(`functions/${name}.json`));
    return loaded.get(name).then((fn) => fn.run(options));
  };
}

/** Runs functions in a module worker. */
async function inWorker(where) {
  const worker = new Worker("worker.js", { type: "module" });
  const waiting = new Map();
  let last = 0;
  const ask = (message) =>
    new Promise((resolve, reject) => {
      waiting.set(++last, { resolve, reject });
      worker.postMessage({ id: last, ...message });
    });
  worker.onmessage = ({ data: { id, result, error } }) => {
    const { resolve, reject } = waiting.get(id);
    waiting.delete(id);
    if (error) reject(Object.assign(new Error(error.message), error));
    else resolve(result);
  };
  await ask({ connect: { user: USER, where } });
  return (name, options) => ask({ manifest: new URL(`functions/${name}.json`, location.href).href, options });
}

const runners = new Map();

/** Returns a function that runs functions and chained calls where the page's footer selects. */
function runner() {
  const inside = $("#worker").checked ? inWorker : onPage;
  const where = $("#where").value;
  const key = `${inside.name} ${where}`;
  if (!runners.has(key)) runners.set(key, inside(where));
  return runners.get(key);
}

async function run(card, name, where) {
  const output = $(".output", card);
  const stats = $(".stats", card);
  const buttons = card.querySelectorAll("button");
  buttons.forEach((button) => (button.disabled = true));
  try {
    const run = await runner();
    const { returnValue, output: bytes, stats: figures } = await run(name, {
      input: $("input", card).value,
      where,
    });
    output.textContent = new TextDecoder().decode(bytes);
    output.classList.remove("bad");
    stats.textContent =
      `returned ${returnValue} · ${figures.totalMs.toFixed(1)} ms · ` +
      (where === "cluster" ? "ran in the cluster" : `${count(figures.chainedCalls, "call")} chained · suspended ${count(figures.suspensions, "time")}`);
    stats.hidden = false;
  } catch (error) {
    output.textContent = `${error.code ?? error.name}: ${error.message}`;
    output.classList.add("bad");
    stats.hidden = true;
    if (error.code === "connection-lost") {
      status("bad", "lost; reload to connect again");
      runners.clear();
    }
  }
  output.hidden = false;
  buttons.forEach((button) => (button.disabled = false));
}

function status(kind, text) {
  const target = $("#connection");
  target.className = kind;
  target.textContent = text;
}

const cards = FUNCTIONS.map(({ name, about, input }) => {
  const card = $("#card").content.cloneNode(true).firstElementChild;
  card.id = name;
  $("h2", card).textContent = name;
  $(".about", card).textContent = about;
  $("input", card).value = input;
  $("form", card).addEventListener("submit", (event) => {
    event.preventDefault();
    run(card, name, event.submitter?.value ?? "browser");
  });
  $("#functions").append(card);
  return card;
});

// Without a C++ toolchain for WebAssembly, only the Rust functions were built.
for (const card of cards) {
  fetch(`functions/${card.id}.json`, { method: "HEAD" }).then(
    ({ ok }) => (card.hidden = !ok),
    () => {},
  );
}

$("#all").addEventListener("click", () => cards.filter((card) => !card.hidden).forEach((card) => run(card, card.id, "browser")));

// Rotates with every frame; it would stop if the page were blocked.
let before = performance.now();
let longest = 0;
let since = before;
requestAnimationFrame(function frame(now) {
  longest = Math.max(longest, now - before);
  before = now;
  $("#pulse").style.transform = `rotate(${(now / 5) % 360}deg)`;
  if (now - since > 1000) {
    $("#gap").textContent = `longest time between frames in the last second: ${longest.toFixed(0)} ms`;
    [longest, since] = [0, now];
  }
  requestAnimationFrame(frame);
});

try {
  await runner();
  status("good", `connected as ${USER}`);
  document.querySelectorAll("button").forEach((button) => (button.disabled = false));
} catch (error) {
  status("bad", error.message);
}

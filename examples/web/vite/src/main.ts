// Runs a function, shows its events as they happen, and can cancel it.

import { connect, type FaasmError, type FaasmFunction, type RunEvent } from "@faasm/runtime-web";
import "./style.css";

function element<T extends Element>(selector: string): T {
  const found = document.querySelector<T>(selector);
  if (!found) throw new Error(`the page has no ${selector}`);
  return found;
}

const form = element<HTMLFormElement>("#form");
const runButton = element<HTMLButtonElement>("#form button");
const cancelButton = element<HTMLButtonElement>("#cancel");
const output = element<HTMLPreElement>("#output");
const events = element<HTMLOListElement>("#events");
const connection = element<HTMLParagraphElement>("#connection");

function describe(event: RunEvent): string {
  switch (event.type) {
    case "suspended":
      return `suspended: waits for ${event.awaits === "state" ? "state" : `a ${event.awaits}`}`;
    case "resumed":
      return `resumed after ${event.suspendedMs.toFixed(1)} ms`;
    case "chained":
      return `chained call ${event.callId}: ${event.function}, ${event.inputBytes} bytes of input`;
    case "callFinished":
      if (event.failure) return `call ${event.callId} failed in the ${event.where}: ${event.failure.message}`;
      return `call ${event.callId} returned ${event.returnValue} in the ${event.where}, ${event.outputBytes} bytes of output`;
    case "statePulled":
    case "statePushed":
      return `${event.bytes} bytes of state ${event.key} ${event.type === "statePulled" ? "pulled" : "pushed"}`;
  }
}

function show(event: RunEvent): void {
  const item = document.createElement("li");
  item.className = event.type;
  item.textContent = `${event.atMs.toFixed(1)} ms  ${describe(event)}`;
  events.append(item);
}

function finish(kind: "good" | "bad", text: string): void {
  output.className = kind;
  output.textContent = text;
  output.hidden = false;
}

async function run(loading: Promise<FaasmFunction>, input: string): Promise<void> {
  const controller = new AbortController();
  cancelButton.onclick = () => controller.abort();
  events.replaceChildren();
  output.hidden = true;
  runButton.disabled = true;
  cancelButton.disabled = false;
  try {
    const fn = await loading;
    const result = await fn.run({ input, signal: controller.signal, timeout: 10_000, onEvent: show });
    finish("good", new TextDecoder().decode(result.output));
  } catch (error) {
    const { code, message } = error as FaasmError;
    finish("bad", code === "aborted" ? "cancelled" : `${code}: ${message}`);
  }
  runButton.disabled = false;
  cancelButton.disabled = true;
}

try {
  // Chained calls run in workers of this page.
  const runtime = await connect({ user: "demo", where: "browser" });
  const loaded = new Map<string, Promise<FaasmFunction>>();
  const load = (name: string): Promise<FaasmFunction> => {
    const fn = loaded.get(name) ?? runtime.load(`/functions/${name}.json`);
    loaded.set(name, fn);
    return fn;
  };
  runtime.state.subscribe("counter", async ({ type, key }) => {
    const value = await runtime.state.get(key);
    element("#state").textContent = `${type}: ${value ? [...value].join(" ") : "–"}`;
  });
  form.onsubmit = (event) => {
    event.preventDefault();
    const data = new FormData(form);
    void run(load(String(data.get("function"))), String(data.get("input")));
  };
  connection.className = "good";
  connection.textContent = "connected as demo";
  runButton.disabled = false;
} catch (error) {
  connection.className = "bad";
  connection.textContent = (error as FaasmError).message;
}

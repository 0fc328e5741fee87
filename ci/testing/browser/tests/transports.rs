//! A page whose network breaks, in real Chromium: its runs take longer, and every effect happens exactly once.

// Shared with the relay's own tests.
#[path = "../../../../server/tests/relay/proxy.rs"]
mod proxy;

use anyhow::{Context as _, Result};
use faasm_browser_tests::{Browser, Kind, Page, Relay, Site};
use proxy::{Mode, Proxy};
use serde_json::{Value, json};

const USER: &str = "demo";

/// Number of concurrent calls.
const MANY: usize = 1000;

const FUNCTIONS: [(&str, &str); 7] = [
    ("big", include_str!("functions/big.wat")),
    ("enter", include_str!("functions/enter.wat")),
    ("fan", include_str!("functions/fan.wat")),
    ("gate", include_str!("functions/gate.wat")),
    ("open", include_str!("functions/open.wat")),
    ("tick", include_str!("functions/tick.wat")),
    ("ticks", include_str!("functions/ticks.wat")),
];

/// Shared by the scripts of these tests; `begin` starts an operation that `end` later waits for.
const TOOLS: &str = r#"
window.tools = {
  async connect(options) {
    const { connect } = await import("/runtime/index.js");
    const runtime = await connect({ user: "demo", ...options });
    // Loaded before the network breaks.
    const loaded = {};
    for (const name of ["big", "enter", "fan", "gate", "open", "tick", "ticks"]) {
      loaded[name] = await runtime.load(new URL(`/functions/${name}.json`, location.href));
    }
    return { run: (name, options) => loaded[name].run(options) };
  },
  async connectWorker(options) {
    const thread = new Worker("/worker.js", { type: "module" });
    const waiting = new Map();
    thread.onmessage = ({ data: { id, result, error } }) => {
      const { resolve, reject } = waiting.get(id);
      if (error) reject(Object.assign(new Error(), error)); else resolve(result);
    };
    const ask = (message) => new Promise((resolve, reject) => {
      const id = waiting.size;
      waiting.set(id, { resolve, reject });
      thread.postMessage({ id, ...message });
    });
    await ask({ connect: { user: "demo", ...options } });
    return {
      run: (name, options) =>
        ask({ manifest: new URL(`/functions/${name}.json`, location.href).href, options }),
    };
  },
  number: (value) => new Uint8Array(Uint32Array.of(value).buffer),
  /** Expected numbers that list "ticks" contains more than once or not at all. */
  async wrong(runtime, expected) {
    const { output } = await runtime.run("ticks", { where: "cluster" });
    const times = new Map();
    for (const value of new Uint32Array(output.slice().buffer)) {
      times.set(value, (times.get(value) ?? 0) + 1);
    }
    return expected.filter((value) => times.get(value) !== 1).concat([...times.keys()].filter((value) => !expected.includes(value)));
  },
  /** Waits until "gate" has started exactly once. */
  async entered(runtime) {
    for (;;) {
      const { output } = await runtime.run("ticks", { where: "cluster" });
      if (output.length > 0) return output.length;
    }
  },
  failure: (promise) => promise.then(() => "no error", (error) => `${error.code}: ${error.message}`),
  /** Whether this page's runtimes have used this path of the relay's HTTP interface. */
  used: (path) => performance.getEntriesByType("resource").some(({ name }) => name.endsWith(path)),
};
"#;

/// A browser, and a relay behind a proxy that simulates broken networks.
struct World {
    relay: Relay,
    proxy: Proxy,
    browser: Browser,
    _site: Site,
}

impl World {
    async fn new() -> Result<Self> {
        let mut site = Site::new()?;
        for (name, text) in FUNCTIONS {
            site.add(name, text).await?;
        }
        let relay = Relay::start_with(site.path(), &["--allow-host", "127.0.0.1"]).await?;
        relay.upload(USER, site.originals()).await?;
        let proxy = Proxy::start(address(&relay)?).await?;
        let browser = Browser::start(Kind::Chromium).await?;
        Ok(Self { relay, proxy, browser, _site: site })
    }

    async fn page(&self) -> Result<Page<'_>> {
        open(&self.browser, &self.proxy).await
    }
}

/// Opens the relay's page through the proxy.
async fn open<'a>(browser: &'a Browser, proxy: &Proxy) -> Result<Page<'a>> {
    let page = Page::open(browser, &format!("http://{}", proxy.address()), USER).await?;
    page.script(TOOLS, vec![]).await?;
    Ok(page)
}

fn address(relay: &Relay) -> Result<std::net::SocketAddr> {
    relay.url().strip_prefix("http://").context("the relay speaks HTTP")?.parse().context("address")
}

/// Runs the body of an async function in the page.
async fn run(page: &Page<'_>, body: &str, arguments: Vec<Value>) -> Result<Value> {
    let script = format!(
        "const done = arguments[arguments.length - 1];
         (async (...parameters) => {{ {body} }})(...arguments)
           .then((ok) => done({{ ok }}), (error) => done({{ error: `${{error.code}}: ${{error.message}}` }}));"
    );
    let result = page.script_async(&script, arguments).await?;
    anyhow::ensure!(result["error"].is_null(), "{}", result["error"]);
    Ok(result["ok"].clone())
}

#[tokio::test]
async fn every_transport_gives_the_same_results() -> Result<()> {
    let world = World::new().await?;
    for (round, (mode, transport, over_http)) in [
        (Mode::Pass, "websocket", false),
        (Mode::Pass, "fetch", true),
        (Mode::Pass, "auto", false),
        (Mode::RefuseWebSockets, "auto", true),
        (Mode::SwallowWebSockets, "auto", true),
    ]
    .into_iter()
    .enumerate()
    {
        world.proxy.set(mode);
        let page = world.page().await?;
        let body = r#"
            const [transport, base] = parameters;
            const runtime = await tools.connect({ transport });
            const fan = await runtime.run("fan", { input: tools.number(base) });
            const expected = Array.from({ length: base + 200 }, (_, number) => number);
            const wrong = await tools.wrong(runtime, expected);
            await runtime.run("big");
            const there = await runtime.run("big", { where: "cluster", input: "read" });
            // The other runtime does not have the value yet.
            const other = await tools.connect({ transport });
            const here = await other.run("big", { input: "read" });
            return { good: fan.returnValue, wrong, there: there.returnValue, here: here.returnValue, http: tools.used("/session/send") };"#;
        // Each round continues the count.
        let found = run(&page, body, vec![json!(transport), json!(200 * round)]).await?;
        let expected =
            json!({ "good": 200, "wrong": [], "there": 0, "here": 0, "http": over_http });
        assert_eq!(found, expected, "{transport} where the network is {mode:?}");
    }
    world.browser.close().await
}

#[tokio::test]
async fn a_thousand_calls_and_a_run_happen_exactly_once_over_a_breaking_network() -> Result<()> {
    let world = World::new().await?;
    let page = world.page().await?;
    for transport in ["websocket", "fetch", "auto"] {
        let begin = r#"
            const [transport, many] = parameters;
            window.runtime = await tools.connect({ transport });
            await runtime.run("open", { where: "cluster", input: "reset" });
            window.finished = 0;
            window.fan = runtime.run("fan", { input: tools.number(many) });
            window.calls = Promise.all(Array.from({ length: many }, async (_, number) => {
              const { output } = await runtime.run("tick", { where: "cluster", input: tools.number(number) });
              window.finished++;
              return new Uint32Array(output.slice().buffer)[0] === number;
            }));
            // The rejection is reported where the calls are awaited later.
            fan.catch(() => {}), calls.catch(() => {});"#;
        run(&page, begin, vec![json!(transport), json!(MANY)]).await?;
        for at in (100..MANY).step_by(200) {
            let progress = r#"
                const progress = async () => { while (window.finished < parameters[0]) await new Promise((wake) => setTimeout(wake, 1)); };
                await Promise.race([progress(), calls]);"#;
            run(&page, progress, vec![json!(at)]).await?;
            world.proxy.cut_and_refuse(2);
        }
        let end = r#"
            const good = (await calls).filter(Boolean).length;
            const { returnValue } = await fan;
            const expected = Array.from({ length: parameters[0] + 200 }, (_, number) => number);
            return { good, fan: returnValue, wrong: await tools.wrong(runtime, expected) };"#;
        let found = run(&page, end, vec![json!(MANY)]).await?;
        assert_eq!(found, json!({ "good": MANY, "fan": 200, "wrong": [] }), "{transport}");
    }
    world.browser.close().await
}

/// Starts a run that waits for a gate in the cluster, as `runtime` and `entering`, and waits until the gate was
/// entered.
const ENTER: &str = r#"
    const [transport, worker, more] = parameters;
    const options = { transport, ...more };
    window.runtime = await (worker ? tools.connectWorker(options) : tools.connect(options));
    await runtime.run("open", { where: "cluster", input: "reset" });
    window.entering = runtime.run("enter");
    entering.catch(() => {});
    return tools.entered(runtime);"#;

/// Opens the gate, and returns the run's return value and how often the gate was entered.
const LEAVE: &str = r#"
    await runtime.run("open", { where: "cluster" });
    const { returnValue } = await entering;
    return [returnValue, await tools.entered(runtime)];"#;

#[tokio::test]
async fn a_run_that_is_suspended_outlives_its_connection_in_page_and_worker() -> Result<()> {
    let world = World::new().await?;
    let page = world.page().await?;
    for worker in [false, true] {
        for transport in ["websocket", "fetch"] {
            let entered = run(&page, ENTER, vec![json!(transport), json!(worker)]).await?;
            assert_eq!(entered, json!(1));
            world.proxy.cut_and_refuse(3);
            let left = run(&page, LEAVE, vec![]).await?;
            assert_eq!(left, json!([7, 1]), "{transport}, worker: {worker}");
        }
    }
    world.browser.close().await
}

#[tokio::test]
async fn a_session_goes_on_by_http_where_the_next_network_breaks_websockets() -> Result<()> {
    let world = World::new().await?;
    let page = world.page().await?;
    assert_eq!(run(&page, ENTER, vec![json!("auto"), json!(false)]).await?, json!(1));
    assert_eq!(run(&page, r#"return tools.used("/session/send");"#, vec![]).await?, json!(false));
    world.proxy.set(Mode::RefuseWebSockets);
    world.proxy.cut();
    assert_eq!(run(&page, LEAVE, vec![]).await?, json!([7, 1]));
    assert_eq!(run(&page, r#"return tools.used("/session/send");"#, vec![]).await?, json!(true));
    world.browser.close().await
}

#[tokio::test]
async fn a_network_that_buffers_responses_makes_the_page_poll() -> Result<()> {
    let world = World::new().await?;
    world.proxy.set(Mode::HoldBack);
    let page = world.page().await?;
    assert_eq!(run(&page, ENTER, vec![json!("auto"), json!(false)]).await?, json!(1));
    assert_eq!(run(&page, LEAVE, vec![]).await?, json!([7, 1]));
    assert_eq!(run(&page, r#"return tools.used("/session/poll");"#, vec![]).await?, json!(true));
    world.browser.close().await
}

#[tokio::test]
async fn a_silently_dead_connection_is_detected_when_the_network_changes() -> Result<()> {
    let world = World::new().await?;
    let page = world.page().await?;
    assert_eq!(run(&page, ENTER, vec![json!("websocket"), json!(false)]).await?, json!(1));
    world.proxy.set(Mode::Freeze);
    run(&page, r#"window.dispatchEvent(new Event("online"));"#, vec![]).await?;
    world.proxy.swallowed().await;
    world.proxy.set(Mode::Pass);
    assert_eq!(run(&page, LEAVE, vec![]).await?, json!([7, 1]));
    world.browser.close().await
}

#[tokio::test]
async fn after_a_relay_restart_the_outcome_is_unknown_and_the_page_reconnects() -> Result<()> {
    let mut world = World::new().await?;
    for transport in ["websocket", "fetch"] {
        let World { relay, proxy, browser, .. } = &mut world;
        let page = open(browser, proxy).await?;
        assert_eq!(run(&page, ENTER, vec![json!(transport), json!(false)]).await?, json!(1));
        relay.restart().await?;
        proxy.set_target(address(relay)?);
        proxy.cut();
        let body = r#"
            const failure = await tools.failure(entering);
            await runtime.run("tick", { where: "cluster", input: tools.number(1) });
            return failure;"#;
        let failure = run(&page, body, vec![]).await?;
        let failure = failure.as_str().unwrap_or_default();
        assert!(failure.starts_with("outcome-unknown: "), "{transport}: {failure}");
    }
    world.browser.close().await
}

#[tokio::test]
async fn all_requests_fail_once_reconnecting_times_out() -> Result<()> {
    let world = World::new().await?;
    for transport in ["websocket", "fetch", "auto"] {
        let page = world.page().await?;
        // Long enough for the script below to run before it expires.
        let options = json!({ "reconnectTimeout": 5000 });
        run(&page, ENTER, vec![json!(transport), json!(false), options]).await?;
        world.proxy.cut_and_refuse(u32::MAX);
        let body = r#"
            // Some of these requests are made while the page knows that it has no connection.
            const later = [];
            const timer = setInterval(() => later.push(tools.failure(runtime.run("tick", { where: "cluster" }))), 20);
            const entered = await tools.failure(entering);
            clearInterval(timer);
            return [entered, await tools.failure(runtime.run("tick", { where: "cluster" })), ...await Promise.all(later)];"#;
        let failures: Vec<String> = serde_json::from_value(run(&page, body, vec![]).await?)?;
        for failure in &failures {
            assert!(failure.starts_with("connection-lost: "), "{transport}: {failure}");
        }
        assert!(
            failures[0].contains("may or may not have been performed"),
            "{transport}: {failures:?}"
        );
        let unsent = |failure: &String| failure.contains("the request was not sent");
        assert!(failures.iter().any(unsent), "{transport}: {failures:?}");
        world.proxy.cut_and_refuse(0);
    }
    world.browser.close().await
}

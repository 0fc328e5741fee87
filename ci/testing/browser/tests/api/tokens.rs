//! A page of a relay that requires tokens.

use super::USER;
use anyhow::{Context as _, Result};
use faasm_browser_tests::{Browser, Kind, Page, Relay, Site, program};
use serde_json::json;
use std::process::Command;

/// Chains "gate" in the cluster, awaits it, and returns its return value.
const ENTER: &str = include_str!("../functions/enter.wat");
/// Waits in the cluster until state `gate` is not 0.
const GATE: &str = include_str!("../functions/gate.wat");
/// Writes 7 to state `gate`.
const OPEN: &str = include_str!("../functions/open.wat");
/// Outputs its input.
const TINY: &str = include_str!("../functions/tiny.wat");

/// Issues tokens signed with a secret.
struct Issuer(tempfile::TempDir);

impl Issuer {
    fn new() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        std::fs::write(folder.path().join("secret"), "0123456789abcdef0123456789abcdef")?;
        Ok(Self(folder))
    }

    fn setting(&self) -> String {
        format!("tokens.secret_file={}", self.0.path().join("secret").display())
    }

    fn token(&self, more: &[&str]) -> Result<String> {
        let output = Command::new(program("FAASM_RELAY_BIN", "faasm-relay")?)
            .args(["token", "--key"])
            .arg(self.0.path().join("secret"))
            .args(more)
            .output()?;
        anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }
}

#[tokio::test]
async fn a_page_has_the_rights_of_its_token_while_tokens_are_renewed() -> Result<()> {
    let mut site = Site::new()?;
    for (name, text) in [("enter", ENTER), ("gate", GATE), ("open", OPEN), ("tiny", TINY)] {
        site.add(name, text).await?;
    }
    let issuer = Issuer::new()?;
    let relay = Relay::start_with(site.path(), &["--set", &issuer.setting()]).await?;
    let uploader = issuer.token(&["--user", USER, "--rights", "upload"])?;
    relay.upload_with(USER, Some(&uploader), site.originals()).await?;
    let browser = Browser::start(Kind::Chromium).await?;
    let page = Page::open(&browser, relay.url(), USER).await?;
    let full = issuer.token(&["--user", USER])?;
    let reader = issuer.token(&["--user", USER, "--rights", "state:read"])?;
    let one = issuer.token(&["--user", USER, "--function", "tiny"])?;
    let other = issuer.token(&["--user", "ada"])?;
    // Each token is valid a little longer than the one before.
    let many: Vec<String> = (0..6)
        .map(|n| issuer.token(&["--user", USER, "--for", &format!("{}s", 2 * (n + 1))]))
        .collect::<Result<_>>()?;
    let script = r#"
        const [full, reader, one, other, many, done] = arguments;
        const failure = (promise) => promise.then(() => "none", (error) => error.code);
        const url = (name) => new URL(`/functions/${name}.json`, location.href);
        const text = (bytes) => new TextDecoder().decode(bytes);
        (async () => {
          const { connect } = await import("/runtime/index.js");
          const refused = [];
          for (const token of [undefined, "nonsense", other]) {
            refused.push(await failure(connect({ user: "demo", token })));
          }
          // Rights, and the functions that they cover.
          const reads = await connect({ user: "demo", token: reader });
          const may = [
            await failure(reads.state.get("gate")),
            await failure(reads.state.append("list", "x")),
            await failure((await reads.load(url("tiny"))).run({ where: "cluster" })),
          ];
          const calls = await connect({ user: "demo", token: one });
          may.push(
            await failure((await calls.load(url("tiny"))).run({ where: "cluster" })),
            await failure((await calls.load(url("open"))).run({ where: "cluster" })),
          );
          // If a function chains a call that the token does not allow, it sees a failed call.
          may.push((await (await calls.load(url("enter"))).run()).returnValue);

          // A run that is suspended for longer than any of its tokens is valid.
          const given = [];
          const began = performance.now();
          const token = () => { given.push(performance.now() - began); return many[given.length - 1] ?? full; };
          const runtime = await connect({ user: "demo", token });
          const run = async (name, options) => (await runtime.load(url(name))).run(options);
          const entering = run("enter");
          while (given.length < 4) await new Promise((wake) => setTimeout(wake, 20));
          await run("open", { where: "cluster" });
          const { returnValue } = await entering;
          const { output } = await run("tiny", { where: "cluster", input: "after" });
          return { refused, may, returnValue, output: text(output) };
        })().then((ok) => done({ ok }), (error) => done({ error: `${error.code}: ${error.message}` }));"#;
    let arguments = vec![json!(full), json!(reader), json!(one), json!(other), json!(many)];
    let result = page.script_async(script, arguments).await?;
    let result = result.get("ok").with_context(|| result.to_string())?;
    assert_eq!(result["refused"], json!(["refused", "refused", "refused"]), "{result}");
    assert_eq!(
        result["may"],
        json!(["none", "refused", "refused", "none", "refused", 1]),
        "{result}"
    );
    assert_eq!(
        (&result["returnValue"], &result["output"]),
        (&json!(7), &json!("after")),
        "{result}"
    );
    browser.close().await
}

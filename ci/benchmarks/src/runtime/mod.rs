//! The cost of the browser runtime: in each browser, compared with alternatives in one page and one run.

mod figures;
mod npm;
mod site;

use crate::figure::{self, Figure};
use crate::process::Server;
use crate::table::Table;
use anyhow::{Context as _, Result, ensure};
use faasm_browser_tests::{Browser, Kind, Page, Relay, program};
use figures::Group;
use serde_json::{Value, json};
use site::Site;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The user whose functions these are.
const USER: &str = "bench";

/// Duration of one measurement in milliseconds: browser clocks have a resolution of one millisecond.
const SAMPLE: u32 = 60;

/// Makes the page measure a group.
const MEASURE: &str = r#"
const [group, site, options, done] = arguments;
import("/groups.js").then((groups) => groups[group](site, options)).then(
  (found) => done({ found }), (error) => done({ error: `${error}\n${error?.stack}` }));
"#;

/// Compare the browser runtime with alternatives
#[derive(Debug, clap::Args)]
pub(crate) struct Opts {
    /// The runtime's npm package, as a folder
    #[arg(long, value_name = "FOLDER")]
    package: PathBuf,
    /// Number of bytes that a page downloads of it
    #[arg(long, value_name = "BYTES")]
    download: Option<u64>,
    /// Folder in which npm installs the alternatives
    #[arg(long, value_name = "FOLDER")]
    npm: PathBuf,
    /// Only browsers whose names contain this
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// Number of measurements of each column
    #[arg(long, value_name = "N", default_value_t = 9, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Write the figures to this file, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the tables to this file, as Markdown
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
}

/// Measurements in one browser: microseconds by group and column, one for each round.
pub(crate) struct Measured {
    pub(crate) browser: Kind,
    pub(crate) groups: Vec<(Group, BTreeMap<String, Vec<f64>>)>,
}

#[tokio::main]
pub(crate) async fn run(opts: &Opts) -> Result<()> {
    let wanted = |kind: &Kind| {
        let filter = opts.filter.as_deref().unwrap_or_default().to_lowercase();
        kind.to_string().to_lowercase().contains(&filter)
    };
    let browsers: Vec<Kind> = Kind::ALL.into_iter().filter(wanted).collect();
    ensure!(
        !browsers.is_empty(),
        "no browser has a name that contains `{}`",
        opts.filter.as_deref().unwrap_or_default()
    );
    let site = Site::new(&opts.package, &npm::asyncify_wasm(&opts.npm)?)?;
    let relay = Relay::start(site.path()).await?;
    relay.upload(USER, &site.originals()).await?;
    let echo = Server::start(&program("FAASM_ECHO_BIN", "examples/echo")?).await?;
    let paths = json!({
        "engine": site.engine()?, "functions": "/functions", "echo": echo.url(),
    });
    let options = json!({ "rounds": opts.rounds, "sample": SAMPLE });

    let mut measured = Vec::new();
    let mut figures: Vec<Figure> = opts.download.map(figures::download).into_iter().collect();
    let mut tables = Vec::new();
    for kind in browsers {
        eprintln!("\n== {kind}");
        let browser = Browser::start(kind).await?;
        let page = Page::open(&browser, relay.url(), USER).await?;
        let mut groups = Vec::new();
        for group in Group::ALL {
            eprintln!("{group}");
            let arguments = vec![json!(group.id()), paths.clone(), options.clone()];
            let answer = page.script_async(MEASURE, arguments).await;
            let found = found(answer.with_context(|| format!("measuring {group}"))?)
                .with_context(|| format!("measuring {group}"))?;
            groups.push((group, found));
        }
        browser.close().await?;
        let one = Measured { browser: kind, groups };
        let table = columns(&one);
        println!("{table}");
        tables.push(table.to_string());
        figures.extend(figures::of(&one));
        measured.push(one);
    }
    let targets = figure::table(&figures);
    println!("{targets}");
    if let Some(path) = &opts.json {
        figure::write(&figures, path)?;
    }
    if let Some(path) = &opts.markdown {
        let machine = figure::machine();
        let text = format!("{machine}.\n\n{}\n{targets}", tables.join("\n"));
        figure::write_file(path, &text)?;
    }
    Ok(())
}

fn found(answer: Value) -> Result<BTreeMap<String, Vec<f64>>> {
    if let Some(error) = answer["error"].as_str() {
        anyhow::bail!("{error}");
    }
    serde_json::from_value(answer["found"].clone()).context("parsing the page's measurements")
}

/// All measurements of a browser, in microseconds.
fn columns(measured: &Measured) -> Table {
    let heading = measured.browser.to_string();
    let mut table = Table::new(&[&heading, "µs, least", "µs, most"]);
    for (group, columns) in &measured.groups {
        for (column, times) in columns {
            let least = crate::stats::least(times.iter().copied());
            let most = times.iter().copied().fold(0.0, f64::max);
            table.row([format!("{group}: {column}"), format!("{least:.3}"), format!("{most:.3}")]);
        }
    }
    table
}

//! `faasm-relay doctor`: looks at each part that a relay with these settings would use, and says what is wrong with it.

use super::flags;
use anyhow::Result;
use faasm_relay::cluster::embedded::Embedded;
use faasm_relay::cluster::faasm::{Endpoint, Faasm, PlannerLook, Upload};
use faasm_relay::settings::{Endpoints, Settings, Sources};
use faasm_relay::store::{RedisConfig, RedisStore, StateStore, Stores};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// For any one part to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// A user nobody can be, whose value is asked for.
const NOBODY: &str = ".";

/// Says what is wrong with the settings, the cluster and the stores
///
/// Takes the settings that `serve` takes. It changes nothing, and starts no function.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit status: 0 where nothing is wrong, 1 where something is.")]
pub(crate) struct Opts {
    /// TOML file with settings [env: FAASM_RELAY_CONFIG]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Any setting (repeatable)
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

/// What was found of one part.
struct Finding {
    part: String,
    /// What it is like, or what is wrong and what to do about it.
    found: Result<String, String>,
}

impl Finding {
    fn line(&self) -> String {
        let Self { part, found } = self;
        match found {
            Ok(what) => format!("ok     {part}: {what}"),
            Err(what) => format!("WRONG  {part}: {what}"),
        }
    }
}

impl Opts {
    pub(crate) async fn run(self) -> Result<ExitCode> {
        let flags = flags(&self.set)?;
        let variables = std::env::vars_os().collect();
        let read = Sources { file: self.config, variables, flags }.read();
        let mut findings = vec![settings(&read.mistakes.0, &read.settings)];
        findings.extend(look(&read.settings).await);
        let mut out = std::io::stdout();
        for finding in &findings {
            writeln!(out, "{}", finding.line())?;
        }
        let wrong = findings.iter().filter(|finding| finding.found.is_err()).count();
        match wrong {
            0 => writeln!(out, "nothing is wrong")?,
            1 => writeln!(out, "1 part is wrong")?,
            wrong => writeln!(out, "{wrong} parts are wrong")?,
        }
        out.flush()?;
        Ok(if wrong == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

fn settings(mistakes: &[String], settings: &Settings) -> Finding {
    let mut mistakes = mistakes.to_vec();
    let authority = settings.authority();
    let has_tokens = !matches!(authority, Ok(None));
    mistakes.extend(authority.err());
    mistakes.extend(settings.certificate().err());
    mistakes.extend(settings.redis().err());
    mistakes.extend(settings.mistakes(has_tokens));
    let version = env!("CARGO_PKG_VERSION");
    let found = match mistakes.as_slice() {
        [] => Ok(format!("they can be used; this is faasm-relay {version}")),
        all => Err(all.join("; ")),
    };
    Finding { part: "settings".to_owned(), found }
}

async fn look(settings: &Settings) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(store(settings).await);
    // What is wrong with the addresses is told with the settings.
    match settings.cluster.endpoints() {
        Ok(Some(Endpoints { planner: endpoint, upload: server })) => {
            findings.push(planner(settings, endpoint).await);
            findings.push(upload(server).await);
        }
        Ok(None) => findings.push(embedded(settings)),
        Err(_) => {}
    }
    findings
}

async fn planner(settings: &Settings, endpoint: Endpoint) -> Finding {
    let part = format!("planner {endpoint}");
    let mut config = settings.faasm(endpoint);
    config.request_time = config.request_time.min(PATIENCE);
    let call_time = config.call_time.as_secs_f64();
    let found = match Stores::in_memory() {
        Ok(stores) => Faasm::new(config, None, stores.functions, stores.state).look().await,
        Err(error) => Err(error.to_string()),
    };
    let found = found.map_err(|why| {
        format!("{why}; is cluster.planner the planner's HTTP port (8080 unless it was set), and can this machine reach it?")
    });
    let found = found.and_then(|look| {
        let PlannerLook { ip, host_timeout, threads, workers, slots, used } = look;
        let itself = format!("it is {ip}, with {threads} HTTP threads, and gives workers up after {host_timeout} s");
        if workers == 0 {
            return Err(format!("{itself}; it has no workers, so no call can start: start some, and look whether their PLANNER_HOST is this planner"));
        }
        if used < 0 {
            return Err(format!("{itself}; it counts {used} used slots, which is what a RESET while calls run leaves behind: start it again"));
        }
        if slots == 0 {
            return Err(format!("{itself}; its {workers} workers have no slots: set their OVERRIDE_CPU_COUNT, or give them processors"));
        }
        let full = if used >= slots { "; all are in use, so calls wait" } else { "" };
        Ok(format!("{itself}; {workers} workers, {used} of {slots} slots in use{full}; a call may take {call_time} s"))
    });
    Finding { part, found }
}

async fn upload(endpoint: Option<Endpoint>) -> Finding {
    let Some(endpoint) = endpoint else {
        let what = "there is none, so functions are uploaded past this relay".to_owned();
        return Finding { part: "upload server".to_owned(), found: Ok(what) };
    };
    let part = format!("upload server {endpoint}");
    let found = Upload::new(endpoint, 2).ping(PATIENCE).await;
    let found = found.map(|()| "it answers".to_owned()).map_err(|why| {
        format!("{why}; is cluster.upload the upload server's port (8002 unless it was set), and can this machine reach it?")
    });
    Finding { part, found }
}

/// The embedded cluster has nothing that could be away; what it takes is an engine.
fn embedded(settings: &Settings) -> Finding {
    let found = Stores::in_memory()
        .map_err(|error| error.to_string())
        .and_then(|stores| {
            let mut config = settings.embedded();
            config.compiled = None;
            Embedded::new(config, stores).map_err(|error| error.to_string())
        })
        .map(|_| {
            "it can run functions; with cluster.planner they run in a Faasm cluster".to_owned()
        })
        .map_err(|why| {
            format!("{why}; guests.memory_bytes and guests.instances say how much it wants")
        });
    Finding { part: "embedded cluster".to_owned(), found }
}

/// Redis, or the data folder.
async fn store(settings: &Settings) -> Option<Finding> {
    match settings.redis() {
        Ok(Some(config)) => Some(redis(&config).await),
        Ok(None) => {
            let data = settings.data.as_ref()?;
            Some(Finding { part: format!("data folder {}", data.display()), found: writable(data) })
        }
        // Told with the settings.
        Err(_) => None,
    }
}

/// The address may have a password, so it is not shown.
async fn redis(config: &RedisConfig) -> Finding {
    let began = Instant::now();
    let looking = async {
        let store = RedisStore::connect(config).await?;
        // As a worker's value is read.
        store.read(NOBODY, "doctor", 0, Some(1)).await.map(drop)
    };
    // The store itself waits for some seconds.
    let found = match tokio::time::timeout(2 * PATIENCE, looking).await {
        Ok(Ok(())) => {
            let milliseconds = began.elapsed().as_millis();
            Ok(format!("it answers, and has values where workers have them ({milliseconds} ms)"))
        }
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("it does not answer".to_owned()),
    };
    let found = found.map_err(|why| {
        format!("{why}; is store.redis the Redis of the cluster (its REDIS_STATE_HOST), and can this machine reach it?")
    });
    Finding { part: "Redis".to_owned(), found }
}

/// Whether a relay could keep its data there, which it may be doing.
fn writable(folder: &Path) -> Result<String, String> {
    let mut there = folder;
    while !there.exists() {
        there = match there.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
    }
    let probe = tempfile::tempfile_in(there);
    probe.map(|_| "it can be written to".to_owned()).map_err(|error| {
        format!("{error}: nothing can be written in {}; let this user write there, or name another folder", there.display())
    })
}

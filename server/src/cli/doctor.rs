//! `faasm-relay doctor`: checks each part that a relay with these settings would use, and reports problems.

use super::settings::SettingOpts;
use anyhow::Result;
use faasm_relay::cluster::embedded::Embedded;
use faasm_relay::cluster::faasm::{Endpoint, Faasm, FaasmConfig, PlannerLook, Upload, WorkerLook};
use faasm_relay::settings::{Endpoints, Settings};
use faasm_relay::store::{RedisConfig, RedisStore, StateStore, Stores};
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Time limit for a part to respond.
const TIME_LIMIT: Duration = Duration::from_secs(5);

/// An invalid user name, for a test read.
const NOBODY: &str = ".";

/// Checks the settings, the cluster and the stores, and reports problems
///
/// Accepts the same settings as `serve`. It changes nothing and starts no function.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit status: 0 without problems, 1 with problems.")]
pub(crate) struct Opts {
    #[command(flatten)]
    settings: SettingOpts,
}

/// The result of checking one part.
struct Finding {
    part: String,
    /// The part's state, or the problem and its solution.
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
        let read = self.settings.sources()?.read();
        let mut findings = vec![settings(&read.mistakes.0, &read.settings)];
        findings.extend(look(&read.settings).await);
        let mut out = std::io::stdout();
        for finding in &findings {
            writeln!(out, "{}", finding.line())?;
        }
        let wrong = findings.iter().filter(|finding| finding.found.is_err()).count();
        match wrong {
            0 => writeln!(out, "no problems")?,
            1 => writeln!(out, "1 part has a problem")?,
            wrong => writeln!(out, "{wrong} parts have problems")?,
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
    mistakes.extend(settings.web_folder().err());
    mistakes.extend(settings.mistakes(has_tokens));
    let version = env!("CARGO_PKG_VERSION");
    let found = match mistakes.as_slice() {
        [] => Ok(format!("they are valid; this is faasm-relay {version}")),
        all => Err(all.join("; ")),
    };
    Finding { part: "settings".to_owned(), found }
}

async fn look(settings: &Settings) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(store(settings).await);
    // Mistakes in the addresses are reported with the settings.
    match settings.cluster.endpoints() {
        Ok(Some(Endpoints { planner: endpoint, upload: server })) => {
            findings.extend(planner(settings, endpoint).await);
            findings.push(upload(server).await);
        }
        Ok(None) => findings.push(embedded(settings)),
        Err(_) => {}
    }
    findings
}

/// The planner, and each of its workers with a problem.
async fn planner(settings: &Settings, endpoint: Endpoint) -> Vec<Finding> {
    let part = format!("planner {endpoint}");
    let mut config = settings.faasm(endpoint);
    config.request_time = config.request_time.min(TIME_LIMIT);
    let FaasmConfig { call_time, heartbeat, worker_port, .. } = config;
    let found = match Stores::in_memory() {
        Ok(stores) => Faasm::new(config, None, stores.functions, stores.state).look().await,
        Err(error) => Err(error.to_string()),
    };
    let look = match found {
        Ok(look) => look,
        Err(why) => {
            let found = Err(format!(
                "{why}; is cluster.planner the planner's HTTP port (8080 by default), and can this machine reach it?"
            ));
            return vec![Finding { part, found }];
        }
    };
    let mut findings = vec![Finding { part, found: of_planner(&look, call_time, worker_port) }];
    let reaches_one = look.workers.iter().any(|worker| worker.port == Some(Ok(())));
    for worker in &look.workers {
        let wrong = of_worker(worker, heartbeat, look.host_timeout, reaches_one);
        if !wrong.is_empty() {
            let part = format!("worker {}", worker.ip);
            findings.push(Finding { part, found: Err(wrong.join("; ")) });
        }
    }
    findings
}

fn of_planner(look: &PlannerLook, call_time: Duration, port: u16) -> Result<String, String> {
    let PlannerLook { ip, host_timeout, threads, workers } = look;
    let itself = format!(
        "it is {ip}, has {threads} HTTP threads, and drops workers after {host_timeout} s without a heartbeat"
    );
    if workers.is_empty() {
        return Err(format!(
            "{itself}; it has no workers, so no call can start: start workers, and check that their PLANNER_HOST is this planner; restart workers that run but are not listed"
        ));
    }
    let sum = |of: fn(&WorkerLook) -> i64| {
        workers.iter().fold(0_i64, |sum, worker| sum.saturating_add(of(worker)))
    };
    let (count, slots, used) =
        (workers.len(), sum(|worker| worker.slots), sum(|worker| worker.used));
    if slots == 0 {
        return Err(format!(
            "{itself}; its {count} workers have no slots: set OVERRIDE_CPU_COUNT of the workers, or give them processors"
        ));
    }
    let full = if used >= slots { "; all are in use, so calls wait" } else { "" };
    let reaches_none = workers.iter().all(|worker| matches!(worker.port, Some(Err(_))));
    let ports = if reaches_none {
        format!(
            "; port {port} of no worker answers here, so a worker's death is detected only by missing heartbeats: a relay in the cluster's network detects it sooner"
        )
    } else {
        String::new()
    };
    let seconds = call_time.as_secs_f64();
    Ok(format!(
        "{itself}; {count} workers, {used} of {slots} slots in use{full}{ports}; a call may take {seconds} s"
    ))
}

/// The problem of a worker, and its solution.
fn of_worker(
    worker: &WorkerLook,
    heartbeat: Duration,
    host_timeout: i64,
    reaches_others: bool,
) -> Vec<String> {
    let WorkerLook { ip, used, age, port, .. } = worker;
    let mut wrong = Vec::new();
    if *used < 0 {
        let more = used.unsigned_abs();
        wrong.push(format!("the planner counts {used} used slots for it, because the planner was restarted or reset while calls ran: the worker gets {more} more concurrent calls than it has slots, but their results are right; restart this worker, {ip}, when it is idle, and not the planner"));
    }
    if let Some(age) = age.filter(|age| *age > heartbeat) {
        let seconds = age.as_secs_f64();
        wrong.push(format!("its last heartbeat is {seconds:.1} s old, so calls wait while it is listed: the planner drops it after {host_timeout} s if it is dead; if it stays listed, restart it, or set cluster.heartbeat to its heartbeat interval"));
    }
    if let Some(Err(why)) = port
        && reaches_others
    {
        wrong.push(format!("its port does not answer ({why}), but those of other workers do: it is dead or dying, so restart it; if a firewall blocks the port, open it"));
    }
    wrong
}

async fn upload(endpoint: Option<Endpoint>) -> Finding {
    let Some(endpoint) = endpoint else {
        let what = "it is not set, so functions cannot be uploaded through this relay".to_owned();
        return Finding { part: "upload server".to_owned(), found: Ok(what) };
    };
    let part = format!("upload server {endpoint}");
    let found = Upload::new(endpoint, 2).ping(TIME_LIMIT).await;
    let found = found.map(|()| "it responds".to_owned()).map_err(|why| {
        format!("{why}; is cluster.upload the upload server's port (8002 by default), and can this machine reach it? If it exited after an upload, the function crashed it, because Faasm's compiler aborts if it cannot compile a function: restart it, and do not upload that function")
    });
    Finding { part, found }
}

/// The embedded cluster needs no server; this checks that the engine can be created.
fn embedded(settings: &Settings) -> Finding {
    let found = Stores::in_memory()
        .map_err(|error| error.to_string())
        .and_then(|stores| {
            let mut config = settings.embedded(settings.budget());
            config.compiled = None;
            Embedded::new(config, stores).map_err(|error| error.to_string())
        })
        .map(|_| {
            "it can run functions; set cluster.planner to run them in a Faasm cluster".to_owned()
        })
        .map_err(|why| {
            format!(
                "{why}; guests.memory_bytes and guests.instances determine the memory that it needs"
            )
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
        // Reported with the settings.
        Err(_) => None,
    }
}

/// The address may contain a password, so it is not displayed.
async fn redis(config: &RedisConfig) -> Finding {
    let began = Instant::now();
    let looking = async {
        let store = RedisStore::connect(config).await?;
        // Reads in the same way as workers do.
        store.read(NOBODY, "doctor", 0, Some(1)).await.map(drop)
    };
    // The store itself retries for some seconds.
    let found = match tokio::time::timeout(2 * TIME_LIMIT, looking).await {
        Ok(Ok(())) => {
            let milliseconds = began.elapsed().as_millis();
            Ok(format!("it responds, and values can be read as workers do ({milliseconds} ms)"))
        }
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("it does not respond".to_owned()),
    };
    let found = found.map_err(|why| {
        format!("{why}; is store.redis the Redis of the cluster (its REDIS_STATE_HOST), and can this machine reach it?")
    });
    Finding { part: "Redis".to_owned(), found }
}

/// Whether a relay could store its data there; a relay may already be running.
fn writable(folder: &Path) -> Result<String, String> {
    let mut there = folder;
    while !there.exists() {
        there = match there.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
    }
    let probe = tempfile::tempfile_in(there);
    probe.map(|_| "it is writable".to_owned()).map_err(|error| {
        format!(
            "{error}: {} is not writable; give this user write access, or name another folder",
            there.display()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEARTBEAT: Duration = Duration::from_millis(2500);

    fn well() -> WorkerLook {
        WorkerLook {
            ip: "10.77.0.3".to_owned(),
            slots: 4,
            used: 0,
            age: Some(Duration::from_secs(1)),
            port: Some(Ok(())),
        }
    }

    fn wrong(worker: &WorkerLook, reaches_others: bool) -> String {
        of_worker(worker, HEARTBEAT, 5, reaches_others).join("\n")
    }

    fn planner(workers: Vec<WorkerLook>) -> Result<String, String> {
        let look = PlannerLook { ip: "10.77.0.1".to_owned(), host_timeout: 5, threads: 4, workers };
        of_planner(&look, Duration::from_secs(60), 8005)
    }

    #[test]
    fn a_worker_with_fewer_than_no_used_slots_is_named_and_is_what_to_restart() {
        assert_eq!(wrong(&well(), true), "");
        let told = wrong(&WorkerLook { used: -1, ..well() }, true);
        for expected in [
            "-1 used slots",
            "gets 1 more",
            "results are right",
            "restart this worker, 10.77.0.3",
            "not the planner",
        ] {
            assert!(told.contains(expected), "{expected} in {told}");
        }
        // Calls of another worker do not hide the problem.
        let told = planner(vec![well(), WorkerLook { used: -1, ..well() }]);
        assert!(told.unwrap().contains("2 workers, -1 of 8 slots"));
    }

    #[test]
    fn a_worker_without_a_heartbeat_is_told_with_its_age() {
        let told = wrong(&WorkerLook { age: Some(Duration::from_secs(4)), ..well() }, true);
        assert!(told.contains("4.0 s old") && told.contains("after 5 s"), "{told}");
        assert_eq!(wrong(&WorkerLook { age: None, ..well() }, true), "");
    }

    #[test]
    fn a_closed_port_is_wrong_where_others_are_open() {
        let closed = || WorkerLook { port: Some(Err("10.77.0.3:8005: refused".into())), ..well() };
        assert!(wrong(&closed(), true).contains("8005: refused"));
        assert_eq!(wrong(&closed(), false), "", "this machine may be outside");
        let told = planner(vec![closed(), closed()]).unwrap();
        assert!(told.contains("port 8005 of no worker answers here"), "{told}");
        assert!(!planner(vec![closed(), well()]).unwrap().contains("no worker answers"));
        let untried = WorkerLook { port: None, ..well() };
        assert!(!planner(vec![untried]).unwrap().contains("no worker answers"));
    }

    #[test]
    fn a_planner_without_workers_or_slots_is_wrong() {
        assert!(planner(vec![]).unwrap_err().contains("no workers"));
        let told = planner(vec![WorkerLook { slots: 0, ..well() }]);
        assert!(told.unwrap_err().contains("OVERRIDE_CPU_COUNT"));
    }
}

//! A planner that says what a test tells it to: which workers there are, when each gave its last sign of life, which calls end.

use crate::support::LONG;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// When a worker gave its last sign of life.
#[derive(Clone, Copy, Debug)]
pub(super) enum Beat {
    /// Just now, whenever somebody asks.
    Alive,
    /// At this time, milliseconds since 1970.
    Last(i64),
}

#[derive(Default)]
pub(super) struct Script {
    pub(super) workers: BTreeMap<String, Beat>,
    /// Added to its own clock.
    pub(super) ahead: i64,
    /// Where the next calls run, and whether they end at once.
    pub(super) next: (String, bool),
    /// Calls that have not ended: app, message and where it runs.
    pub(super) in_flight: Vec<(i32, Value, String)>,
    ended: BTreeMap<i32, Vec<Value>>,
    pub(super) asked: Vec<String>,
}

pub(super) struct Scripted {
    pub(super) url: String,
    script: Arc<Mutex<Script>>,
    serving: JoinHandle<()>,
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

pub(super) fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(now.as_millis()).unwrap()
}

impl Script {
    fn answer(&mut self, envelope: &Value) -> (u16, String) {
        let kind = envelope["http_type"].as_str().unwrap().to_owned();
        let payload = envelope["payload"].as_str().unwrap_or("{}");
        let payload: Value = serde_json::from_str(payload).unwrap();
        self.asked.push(kind.clone());
        let app = i32::try_from(payload["appId"].as_i64().unwrap_or_default()).unwrap();
        let ok = |answer: Value| (200, answer.to_string());
        match kind.as_str() {
            "GET_AVAILABLE_HOSTS" => {
                let hosts = self.workers.iter().map(|(ip, beat)| {
                    let at = match beat {
                        Beat::Alive => now(),
                        Beat::Last(at) => *at,
                    };
                    let registered = (at + self.ahead).to_string();
                    json!({"ip": ip, "slots": 4, "registerTs": {"epochMs": registered}})
                });
                ok(json!({"hosts": hosts.collect::<Vec<_>>()}))
            }
            "GET_IN_FLIGHT_APPS" => {
                let apps: Vec<Value> = self
                    .in_flight
                    .iter()
                    .map(|(app, _, host)| json!({"appId": app, "hostIps": [host]}))
                    .collect();
                ok(json!({ "apps": apps }))
            }
            "EXECUTE_BATCH" => {
                let message = payload["messages"][0].clone();
                let (host, ends) = self.next.clone();
                self.in_flight.push((app, message, host));
                if ends {
                    self.end(app);
                }
                ok(json!({ "appId": app }))
            }
            "EXECUTE_BATCH_STATUS" => match self.ended.get(&app) {
                Some(ended) => {
                    let finished = !self.in_flight.iter().any(|(other, ..)| *other == app);
                    ok(json!({"appId": app, "finished": finished, "messageResults": ended}))
                }
                None => (500, "App not registered in results".into()),
            },
            "FLUSH_EXECUTORS" => (200, "Flushed executors!".into()),
            other => panic!("{other}"),
        }
    }

    /// All calls of an app end.
    pub(super) fn end(&mut self, app: i32) {
        let ended = self.in_flight.extract_if(.., |(of, ..)| *of == app);
        let ended = ended.map(|(_, mut message, _)| {
            message["output_data"] = "done".into();
            message
        });
        self.ended.entry(app).or_default().extend(ended);
    }

    pub(super) fn count(&self, kind: &str) -> usize {
        self.asked.iter().filter(|asked| *asked == kind).count()
    }
}

impl Scripted {
    /// With these workers, all alive. Calls end at once.
    pub(super) async fn start(workers: &[&str]) -> Self {
        let workers: BTreeMap<String, Beat> =
            workers.iter().map(|ip| ((*ip).to_owned(), Beat::Alive)).collect();
        let next = (workers.keys().next().cloned().unwrap_or_default(), true);
        let script = Arc::new(Mutex::new(Script { workers, next, ..Script::default() }));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let behind = Arc::clone(&script);
        let serving = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let script = Arc::clone(&behind);
                let service = service_fn(move |request: Request<Incoming>| {
                    let script = Arc::clone(&script);
                    async move {
                        let body = request.into_body().collect().await.unwrap().to_bytes();
                        let envelope = serde_json::from_slice(&body).unwrap();
                        let (status, text) = script.lock().unwrap().answer(&envelope);
                        let mut response = Response::new(Full::new(Bytes::from(text)));
                        *response.status_mut() = status.try_into().unwrap();
                        Ok::<_, Infallible>(response)
                    }
                });
                let connection = hyper::server::conn::http1::Builder::new();
                tokio::spawn(connection.serve_connection(TokioIo::new(stream), service));
            }
        });
        Self { url, script, serving }
    }

    pub(super) fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap()
    }

    pub(super) async fn until(&self, mut is: impl FnMut(&Script) -> bool) {
        let until = async {
            while !is(&self.script()) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(LONG, until).await.expect("in time");
    }

    /// Completes when hosts were asked for so often from now on.
    pub(super) async fn until_asked(&self, times: usize) {
        let before = self.script().count("GET_AVAILABLE_HOSTS");
        self.until(|script| script.count("GET_AVAILABLE_HOSTS") >= before + times).await;
    }
}

/// The port of a worker.
pub(super) struct Port {
    pub(super) address: SocketAddr,
    serving: Option<JoinHandle<()>>,
    accepted: Arc<Mutex<usize>>,
}

impl Port {
    /// On this address; port 0 is a free one.
    pub(super) async fn open(address: &str) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let accepted = Arc::new(Mutex::new(0));
        let count = Arc::clone(&accepted);
        let serving = tokio::spawn(async move {
            loop {
                drop(listener.accept().await.unwrap());
                *count.lock().unwrap() += 1;
            }
        });
        Self { address, serving: Some(serving), accepted }
    }

    /// Completes when somebody has connected so often.
    pub(super) async fn until_tried(&self, times: usize) {
        let until = async {
            while *self.accepted.lock().unwrap() < times {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(LONG, until).await.expect("it is tried");
    }

    pub(super) async fn close(&mut self) {
        if let Some(serving) = self.serving.take() {
            serving.abort();
            let _ = serving.await;
        }
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        if let Some(serving) = &self.serving {
            serving.abort();
        }
    }
}

/// Twice what a cluster has: a worker is alive although this machine stops for a moment. Nothing waits for it to pass.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(5);

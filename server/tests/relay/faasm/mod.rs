//! The relay in front of a Faasm cluster: a stand-in for one, or, in tests that break nothing, the real one that
//! `FAASM_PLANNER_URL` and `FAASM_UPLOAD_URL` (and `FAASM_REDIS_URL`, where it keeps state there) name.

mod breaks;
mod calls;
mod failures;
mod hostile;
mod polling;
mod program;
mod scripted;
mod shared;
mod uploads;
mod workers;

use crate::client::Client;
use crate::support::{BOTH, Kind, LONG, USER};
use faasm_bridge::session::ClientEvent;
use faasm_bridge::state::Chunk;
use faasm_bridge::wire::{FailureCode, Reply};
use faasm_relay::cluster::Cluster as _;
use faasm_relay::cluster::embedded::{Embedded, EmbeddedConfig};
use faasm_relay::cluster::faasm::{FaasmConfig, Trusted, Upload};
use faasm_relay::store::{RedisConfig, RedisStore, Stores};
use faasm_relay::{App, Config, serve};
use faasm_standin::{Engine, Planner, Setup, Times};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// For a call whose result is not to come.
const SHORT: Duration = Duration::from_millis(400);

/// A stand-in with the state that its functions see.
pub(crate) struct Cluster {
    pub(crate) planner: Arc<Planner>,
    pub(crate) upload: faasm_standin::Upload,
    pub(crate) stores: Stores,
    embedded: Arc<Embedded>,
}

impl Cluster {
    pub(crate) async fn start() -> Self {
        Self::start_with(Setup::default()).await
    }

    /// A stand-in whose workers do what pages do, and die of nothing.
    pub(crate) async fn lenient() -> Self {
        Self::start_with(lenient()).await
    }

    pub(crate) async fn start_with(setup: Setup) -> Self {
        Self::start_over(setup, Stores::in_memory().unwrap()).await
    }

    pub(crate) async fn start_over(setup: Setup, stores: Stores) -> Self {
        let embedded = Embedded::new(EmbeddedConfig::default(), stores.clone()).unwrap();
        let embedded = Arc::new(embedded);
        let engine = setup.as_;
        let planner = Planner::start(setup, embedded.clone()).await.unwrap();
        let (state, files) = (stores.state.clone(), stores.files.clone());
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let upload =
            faasm_standin::Upload::start_as(engine, address, embedded.clone(), state, files);
        Self { planner, upload: upload.await.unwrap(), stores, embedded }
    }

    /// Puts functions there, past the upload server.
    pub(crate) async fn with(self, functions: &[(&str, &str)]) -> Self {
        for (name, wat) in functions {
            let wasm = wat::parse_str(wat).unwrap();
            self.embedded.upload(USER.into(), (*name).into(), wasm).await.unwrap();
        }
        self
    }

    /// Of an operator who trusts everybody, and fills the cluster past the relay.
    pub(crate) fn config(&self) -> FaasmConfig {
        let trusted = Trusted::new(vec!["*".into()]);
        FaasmConfig { trusted, only_stored: false, ..self.default_config() }
    }

    pub(crate) fn default_config(&self) -> FaasmConfig {
        FaasmConfig::of(self.planner.url().parse().unwrap())
    }

    /// A relay in front of it.
    pub(crate) async fn relay(&self) -> Front {
        self.relay_with(self.config()).await
    }

    pub(crate) async fn relay_with(&self, config: FaasmConfig) -> Front {
        Front::start(config, Some(&self.upload.url()), Stores::in_memory().unwrap(), true).await
    }

    /// Sets state `gate`, for which [`crate::fixtures::GATE`] waits.
    pub(crate) async fn open_gate(&self) {
        let chunks = vec![Chunk { offset: 0, bytes: vec![1].into() }];
        self.stores.state.write(USER, "gate", 1, chunks).await.unwrap();
    }

    /// Completes when [`crate::fixtures::GATE`] has begun so often.
    pub(crate) async fn gate_reached(&self, times: u8) {
        let reached = async {
            loop {
                let read = self.stores.state.read(USER, "count", 0, None).await.unwrap();
                if read.chunk.bytes.first().is_some_and(|count| *count >= times) {
                    return;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(LONG, reached).await.expect("it begins");
    }

    /// How many requests of a kind there were.
    pub(crate) fn count(&self, kind: &str) -> usize {
        self.planner.asked().iter().filter(|asked| asked.kind == kind).count()
    }
}

/// Of a stand-in whose workers tell a planner of themselves soon after it has begun.
pub(crate) fn soon_known() -> Times {
    Times { heartbeat: SHORT / 10, ..Times::default() }
}

/// See [`Cluster::lenient`].
pub(crate) fn lenient() -> Setup {
    Setup { as_: Engine::Lenient, ..Setup::default() }
}

/// A relay in front of a cluster.
pub(crate) struct Front {
    pub(crate) address: SocketAddr,
    serving: JoinHandle<std::io::Result<()>>,
}

impl Drop for Front {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Front {
    pub(crate) async fn start(
        config: FaasmConfig,
        upload: Option<&str>,
        stores: Stores,
        has_state: bool,
    ) -> Self {
        let connections = config.connections;
        let upload = upload.map(|url| Arc::new(Upload::new(url.parse().unwrap(), connections)));
        let stores = match &upload {
            Some(upload) => upload.with_cluster_state(stores, has_state),
            None => stores,
        };
        let app = App::faasm(config, upload, stores);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = serve(listener, Config::default(), app, std::future::pending());
        Self { address, serving: tokio::spawn(serving) }
    }

    pub(crate) async fn client(&self) -> Client {
        self.client_over(Kind::WebSocket).await
    }

    pub(crate) async fn client_over(&self, kind: Kind) -> Client {
        let mut client = Client::new(kind);
        assert_eq!(client.connect(self.address).await, ClientEvent::Open { lost: vec![] });
        client
    }
}

/// A relay in front of the cluster that the environment names, or of a stand-in, with these functions uploaded through it.
pub(crate) async fn any_cluster(functions: &[(&str, &str)]) -> (Front, Option<Cluster>) {
    any_cluster_or(Setup::default(), functions).await
}

/// The same, where the stand-in is lenient.
pub(crate) async fn any_lenient_cluster(functions: &[(&str, &str)]) -> (Front, Option<Cluster>) {
    any_cluster_or(lenient(), functions).await
}

async fn any_cluster_or(setup: Setup, functions: &[(&str, &str)]) -> (Front, Option<Cluster>) {
    let variable = |name: &str| std::env::var(name).ok();
    let (front, cluster) = match variable("FAASM_PLANNER_URL") {
        Some(planner) => {
            let stores = Stores::in_memory().unwrap();
            let redis = variable("FAASM_REDIS_URL");
            let stores = match &redis {
                Some(url) => {
                    let state = Arc::new(
                        RedisStore::connect(&RedisConfig::new(url.as_str())).await.unwrap(),
                    );
                    Stores { state, ..stores }
                }
                None => stores,
            };
            let upload = variable("FAASM_UPLOAD_URL");
            let config = FaasmConfig::of(planner.parse().unwrap());
            let has_state = redis.is_none();
            (Front::start(config, upload.as_deref(), stores, has_state).await, None)
        }
        None => {
            let cluster = Cluster::start_with(setup).await;
            (cluster.relay_with(cluster.default_config()).await, Some(cluster))
        }
    };
    for (name, wat) in functions {
        let path = format!("/f/{USER}/{name}");
        let (status, body) = put(front.address, &path, wat::parse_str(wat).unwrap()).await;
        assert_eq!(status, 200, "{body}");
    }
    (front, cluster)
}

/// Sends a body, and gives status and text of the answer.
pub(crate) async fn put(address: SocketAddr, path: &str, body: Vec<u8>) -> (u16, String) {
    request(address, "PUT", path, body).await
}

pub(crate) async fn request(
    address: SocketAddr,
    method: &str,
    path: &str,
    body: Vec<u8>,
) -> (u16, String) {
    use http_body_util::{BodyExt, Full};
    use hyper_util::rt::TokioIo;
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = hyper::Request::builder()
        .method(method)
        .uri(path)
        .header("Host", address.to_string())
        .body(Full::new(bytes::Bytes::from(body)))
        .unwrap();
    let answer = sender.send_request(request).await.unwrap();
    let status = answer.status().as_u16();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8_lossy(&body).into_owned())
}

/// Code and reason of a request that has no result.
pub(crate) fn told((reply, _): (Reply, Vec<u8>)) -> (FailureCode, String) {
    match reply {
        Reply::Failed { code, message } => (code, message),
        other => panic!("{other:?} instead of a failure"),
    }
}

/// Settings under which what is not to come is given up soon.
pub(crate) fn impatient(config: FaasmConfig) -> FaasmConfig {
    FaasmConfig { call_time: SHORT, queue_time: SHORT, request_time: SHORT, ..config }
}

/// Both transports, which know nothing of clusters.
pub(crate) const TRANSPORTS: [Kind; 2] = BOTH;

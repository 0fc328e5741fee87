//! A Faasm cluster behind one or two relays: a stand-in for Faasm 0.29 with WAMR whose functions keep state in a real
//! Redis, or the cluster that the command line names.
//!
//! A case's functions are uploaded through the relay, as users upload them: originals by a user whom the operator
//! trusts; originals by an untrusted user, so that the relay guards them; or the output of `build --for faasm`.

use super::Column;
use crate::case::{Case, End};
use crate::outcome::{Code, Ended, Observed};
use crate::page::Page;
use crate::test_bed::{TIMEOUT, TestBed};
use anyhow::{Context as _, Result, bail};
use faasm_asyncify::faasm::{self, Options, Use};
use faasm_bridge::state::Chunk;
use faasm_bridge::wire::{CallEntry, Request};
use faasm_redis_server::RedisServer;
use faasm_relay::cluster::ClusterError;
use faasm_relay::cluster::embedded::{Embedded, EmbeddedConfig};
use faasm_relay::cluster::faasm::{FaasmConfig, Keys, Trusted, Upload};
use faasm_relay::store::{RedisConfig, RedisStore, StateRead, StateStore, StoreError, Stores};
use faasm_relay::{App, Config, integrity, serve};
use faasm_standin::{Engine, Planner, Setup, Times};
use futures_util::future::{BoxFuture, pending};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::net::TcpListener;
use tokio::sync::OnceCell;

/// Time limit of a run that never ends; the relay should have ended it earlier.
const TIME_LIMIT: Duration = Duration::from_secs(180);

/// Time limit of a request to the stand-in's planner, and of the result of a call that ended it.
const STANDIN_REQUEST_TIME: Duration = Duration::from_secs(1);

/// Interval between checks whether the planner has ended.
const SUPERVISED: Duration = Duration::from_millis(200);

/// How long a worker of the stand-in takes to end; a real one takes up to 15 s, which makes no difference to a case.
const DYING: Duration = Duration::from_millis(300);

/// Slots of the stand-in's worker.
const SLOTS: i64 = 64;

impl Faasm {
    pub(super) fn new(bed: &Arc<TestBed>, place: Place, real: Option<Addresses>) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let run = now.as_secs();
        Self { bed: Arc::clone(bed), place, real, run, started: OnceCell::new() }
    }

    async fn running(&self) -> Result<&Running> {
        let start = || Running::start(&self.bed, self.place, self.real.as_ref());
        self.started.get_or_try_init(start).await
    }
}

/// Which form of the functions is uploaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// Originals of a trusted user.
    Originals,
    /// Originals of an untrusted user: the relay guards them.
    Guarded,
    /// The output of `build --for faasm`.
    Built,
}

/// Parameters of a column.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    id: &'static str,
    title: &'static str,
    form: Form,
    /// With two relays, each call starts over one and is answered by the other.
    relays: usize,
}

pub(super) const PLACES: [Place; 4] = [
    Place {
        id: "faasm-originals",
        title: "Faasm 0.29 as it is (stand-in), originals",
        form: Form::Originals,
        relays: 1,
    },
    Place {
        id: "faasm-guarded",
        title: "Faasm 0.29 (stand-in), originals that the relay guards",
        form: Form::Guarded,
        relays: 1,
    },
    Place {
        id: "faasm-built",
        title: "Faasm 0.29 (stand-in), built for it",
        form: Form::Built,
        relays: 1,
    },
    Place {
        id: "faasm-built-relays",
        title: "Faasm 0.29 (stand-in), built for it, two relays over one Redis",
        form: Form::Built,
        relays: 2,
    },
];

/// Addresses of a real cluster.
#[derive(Clone, Debug)]
pub struct Addresses {
    pub planner: String,
    pub upload: String,
    pub redis: String,
}

pub(super) struct Faasm {
    bed: Arc<TestBed>,
    place: Place,
    real: Option<Addresses>,
    /// Distinguishes runs of the suite.
    run: u64,
    started: OnceCell<Running>,
}

/// A cluster with relays in front of it.
struct Running {
    /// `None` for a real cluster.
    standin: Option<StandIn>,
    state: Arc<dyn StateStore>,
    relays: Vec<SocketAddr>,
    /// Receives uploads of functions.
    cluster: Arc<dyn faasm_relay::cluster::Cluster>,
    /// Output of the build, by the hash of the original.
    built: Mutex<HashMap<String, Result<Vec<u8>, String>>>,
}

struct StandIn {
    planner: Arc<Planner>,
    upload: faasm_standin::Upload,
    _redis: RedisServer,
}

impl StandIn {
    async fn start(bed: &TestBed) -> Result<(Self, Addresses)> {
        let redis = RedisServer::start()?;
        let state = Arc::new(RedisStore::connect(&RedisConfig::new(redis.url())).await?);
        let stores = Stores { state, files: bed.files(), ..Stores::in_memory()? };
        let config = EmbeddedConfig {
            call_timeout: TIMEOUT,
            printing: bed.printing(),
            ..EmbeddedConfig::default()
        };
        let embedded = Arc::new(Embedded::new(config, stores.clone())?);
        let times = Times { dying: DYING, ..Times::tenth() };
        let setup = Setup { workers: vec![SLOTS], times, ..Setup::default() };
        let planner = Planner::start(setup, embedded.clone()).await?;
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let upload = faasm_standin::Upload::start_as(
            Engine::Faasm029Wamr,
            address,
            embedded,
            stores.state,
            stores.files,
        )
        .await?;
        let addresses =
            Addresses { planner: planner.url(), upload: upload.url(), redis: redis.url() };
        let standin = Self { planner, upload, _redis: redis };
        standin.supervise();
        Ok((standin, addresses))
    }
}

impl StandIn {
    /// Shortens the relay's times, because the stand-in takes a tenth of a real cluster's times.
    fn quicken(&self, config: &mut FaasmConfig) {
        config.heartbeat /= 4;
        config.request_time = STANDIN_REQUEST_TIME;
        config.worker_port = self.planner.worker_port();
    }

    /// Restarts the planner whenever it has ended, as a service supervisor does, until it is dropped.
    fn supervise(&self) {
        let planner = Arc::downgrade(&self.planner);
        tokio::spawn(async move {
            while let Some(planner) = planner.upgrade() {
                if !planner.is_alive()
                    && let Err(error) = planner.restart().await
                {
                    eprintln!("the stand-in's planner cannot be restarted: {error}");
                }
                drop(planner);
                tokio::time::sleep(SUPERVISED).await;
            }
        });
    }

    /// Restarts the worker and the upload server if a case has ended them.
    async fn mend(&self) -> Result<()> {
        if !self.planner.worker_answers(0) {
            self.planner.revive_worker(0).await?;
        }
        if !self.upload.is_alive() {
            self.upload.restart().await?;
        }
        Ok(())
    }
}

impl Running {
    async fn start(bed: &TestBed, place: Place, real: Option<&Addresses>) -> Result<Self> {
        let (standin, addresses) = match real {
            Some(addresses) => (None, addresses.clone()),
            None => {
                let (standin, addresses) = StandIn::start(bed).await?;
                (Some(standin), addresses)
            }
        };
        let trusted = match place.form {
            Form::Originals => Trusted::new(vec!["*".to_owned()]),
            Form::Guarded | Form::Built => Trusted::default(),
        };
        let redis = RedisConfig::new(addresses.redis.as_str());
        let mut relays = Vec::new();
        let mut cluster = None;
        for _ in 0..place.relays {
            let endpoint = addresses.planner.parse().map_err(anyhow::Error::msg)?;
            let trusted = trusted.clone();
            let mut config =
                FaasmConfig { call_time: TIMEOUT, trusted, ..FaasmConfig::of(endpoint) };
            if let Some(standin) = &standin {
                standin.quicken(&mut config);
            }
            let upload = addresses.upload.parse().map_err(anyhow::Error::msg)?;
            let upload = Arc::new(Upload::new(upload, config.connections));
            let stores = upload.with_cluster_state(Stores::redis(&redis).await?, false);
            let app = App::faasm(config, Some(upload), stores);
            cluster = Some(Arc::clone(&app.cluster));
            let listener =
                TcpListener::bind("127.0.0.1:0").await.context("binding a port for a relay")?;
            relays.push(listener.local_addr()?);
            tokio::spawn(async move {
                if let Err(error) = serve(listener, Config::default(), app, pending()).await {
                    eprintln!("a relay of the suite ended: {error}");
                }
            });
        }
        let state: Arc<dyn StateStore> = Arc::new(RedisStore::connect(&redis).await?);
        let keys = Keys::new(trusted, Arc::clone(&state));
        let state = Arc::new(StateWithPageKeys { state, keys });
        let cluster = cluster.context("a column has a relay")?;
        Ok(Self { standin, state, relays, cluster, built: Mutex::default() })
    }

    /// Uploads a case's function and those that it may chain; returns why its own function was rejected, if it was.
    async fn upload(
        &self,
        bed: &TestBed,
        form: Form,
        case: &Case,
        user: &str,
    ) -> Result<Option<String>> {
        for (name, original) in bed.functions_of(case, form != Form::Originals) {
            let wasm = match form {
                Form::Originals | Form::Guarded => Ok(original),
                Form::Built => self.built(original),
            };
            let refused = match wasm {
                Err(refused) => refused,
                Ok(wasm) => match self.cluster.upload(user.into(), name.clone(), wasm).await {
                    Ok(_) => continue,
                    Err(ClusterError::NotAFunction(why)) => why,
                    Err(error) => return Err(error).context(format!("uploading {name}")),
                },
            };
            if name == case.function {
                return Ok(Some(refused));
            }
        }
        Ok(None)
    }

    /// The output of `build --for faasm`, cached.
    fn built(&self, original: Vec<u8>) -> Result<Vec<u8>, String> {
        let mut built = self.built.lock().unwrap_or_else(PoisonError::into_inner);
        let key = integrity(&original);
        built.entry(key).or_insert_with(|| built_for(original)).clone()
    }
}

/// The output of `build --for faasm`; the original if it needs no changes.
fn built_for(original: Vec<u8>) -> Result<Vec<u8>, String> {
    let told = |error: faasm_asyncify::Error| error.to_string();
    // Partial pushes are the only limitation that the option allows.
    let allow_lost_updates = !faasm::unsupported(&original, false).map_err(told)?.is_empty();
    if let Some(missing) = faasm::unsupported(&original, true).map_err(told)?.first() {
        return Err(format!("import {} is not supported: {}", missing.import, missing.reason));
    }
    let options = Options { use_: Use::BuiltFor { allow_lost_updates }, check_names: true };
    let made = faasm::link(&original, options).map_err(told)?;
    Ok(made.map_or(original, |made| made.wasm))
}

/// State under the keys that pages use.
struct StateWithPageKeys {
    state: Arc<dyn StateStore>,
    keys: Keys,
}

impl StateStore for StateWithPageKeys {
    fn read<'a>(
        &'a self,
        user: &'a str,
        key: &'a str,
        offset: u64,
        length: Option<u64>,
    ) -> BoxFuture<'a, Result<StateRead, StoreError>> {
        self.state.read(user, key, offset, length)
    }

    fn write<'a>(
        &'a self,
        user: &'a str,
        key: &'a str,
        size: u64,
        chunks: Vec<Chunk>,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        self.state.write(user, key, size, chunks)
    }

    fn append<'a>(
        &'a self,
        user: &'a str,
        key: &'a str,
        element: Vec<u8>,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            let key = self.keys.list(user, key.to_owned()).await?;
            self.state.append(user, &key, element).await
        })
    }

    fn read_appended<'a>(
        &'a self,
        user: &'a str,
        key: &'a str,
        count: u32,
    ) -> BoxFuture<'a, Result<Vec<u8>, StoreError>> {
        Box::pin(async move {
            let key = self.keys.list(user, key.to_owned()).await?;
            self.state.read_appended(user, &key, count).await
        })
    }

    fn clear_appended<'a>(
        &'a self,
        user: &'a str,
        key: &'a str,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            let key = self.keys.list(user, key.to_owned()).await?;
            self.state.clear_appended(user, &key).await
        })
    }
}

impl Column for Faasm {
    fn id(&self) -> &'static str {
        self.place.id
    }

    fn title(&self) -> &'static str {
        self.place.title
    }

    /// A real cluster writes output to its workers' logs.
    fn sees_prints(&self) -> bool {
        self.real.is_none()
    }

    fn user(&self, case: &Case) -> String {
        let user = format!("{}.{}", case.name.replace('/', "."), self.id());
        if self.real.is_some() { format!("{user}.{:x}", self.run) } else { user }
    }

    fn skip_reason(&self, case: &Case) -> Option<&'static str> {
        let ends_a_process = case.end == End::Fails(Code::OutcomeUnknown);
        (self.real.is_some() && ends_a_process).then_some("the case ends a worker or the planner")
    }

    fn state(&self) -> BoxFuture<'_, Result<Option<Arc<dyn StateStore>>>> {
        Box::pin(async { Ok(Some(Arc::clone(&self.running().await?.state))) })
    }

    fn run<'a>(&'a self, case: &'a Case, user: &'a str) -> BoxFuture<'a, Result<Observed>> {
        Box::pin(async move {
            let running = self.running().await?;
            let (Some(first), Some(last)) = (running.relays.first(), running.relays.last()) else {
                bail!("no relays");
            };
            if let Some(message) = running.upload(&self.bed, self.place.form, case, user).await? {
                let ended = Ended::Failed { code: "cannot-load".to_owned(), message };
                return Ok(Observed { ended, stdout: String::new(), stderr: String::new() });
            }
            let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
            let request = Request::Call {
                function: case.function.to_owned(),
                entry: CallEntry::Main,
                args: case.args.iter().map(|arg| (*arg).to_owned()).collect(),
                env: case.env.iter().map(pair).collect(),
            };
            let calling = async {
                let mut page = Page::open(*first, user).await?;
                let id = page.send(request, &case.input).await?;
                if first != last {
                    page.go_on_over(*last).await?;
                }
                page.ended(id).await
            };
            let ended = tokio::time::timeout(TIME_LIMIT, calling).await.context("no end")??;
            if let Some(standin) = &running.standin {
                standin.mend().await?;
            }
            let (stdout, stderr) = self.bed.take_printed(user, case.function);
            Ok(Observed { ended, stdout, stderr })
        })
    }
}

//! A Faasm cluster: a stand-in for its planner, whose functions keep state in a real Redis, behind one relay, or behind two over
//! the same Redis.
//!
//! Such a cluster carries outputs as text. So where a case outputs something else, its functions are what `build --for faasm`
//! makes of them.

use super::Column;
use crate::case::{Case, End, Text};
use crate::cases;
use crate::lab::{Lab, TIMEOUT};
use crate::outcome::Observed;
use crate::page::Page;
use anyhow::{Context as _, Result, bail, ensure};
use faasm_asyncify::faasm;
use faasm_bridge::wire::{CallEntry, Request};
use faasm_redis_server::RedisServer;
use faasm_relay::cluster::embedded::{Embedded, EmbeddedConfig};
use faasm_relay::cluster::faasm::FaasmConfig;
use faasm_relay::store::{
    FunctionStore, Locks, RedisConfig, RedisStore, StateStore, StoreError, StoredFunction, Stores,
};
use faasm_relay::{App, Config, integrity, serve};
use faasm_standin::{Engine, Planner, Setup};
use futures_util::future::{BoxFuture, pending};
use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::OnceCell;

/// Until a run that never ends is given up; the relay should have done so before.
const PATIENCE: Duration = Duration::from_secs(180);

/// Slots of the stand-in's worker.
const SLOTS: i64 = 64;

/// Behind one relay.
pub(super) const ONE: Place =
    Place { id: "faasm-relay", title: "Faasm backend (stand-in) + Redis", relays: 1 };

/// Behind two: each call begins over one of them and is answered by the other.
pub(super) const TWO: Place =
    Place { id: "faasm-relays", title: "Faasm backend, two relays over one Redis", relays: 2 };

/// What distinguishes the columns.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    id: &'static str,
    title: &'static str,
    relays: usize,
}

pub(super) struct Faasm {
    lab: Arc<Lab>,
    place: Place,
    /// Names of cases that output something else than text; where one ends by a limit, it does not say so itself.
    binary: HashSet<String>,
    started: OnceCell<Cluster>,
}

/// Users whose functions output other bytes than text.
type Users = Arc<Mutex<HashSet<String>>>;

/// The suite's functions, for these users as a cluster needs them that carries text only.
struct TextOutputs {
    originals: Arc<dyn FunctionStore>,
    users: Users,
}

impl TextOutputs {
    async fn get(&self, user: &str, function: &str) -> Result<Option<StoredFunction>, StoreError> {
        let found = self.originals.get(user, function).await?;
        let needs_text = self.users.lock().unwrap_or_else(PoisonError::into_inner).contains(user);
        let text = found.as_ref().filter(|_| needs_text).and_then(|stored| {
            // What cannot be encoded, or need not be, is what it is.
            let options = faasm::Options {
                use_: faasm::Use::BuiltFor { allow_lost_updates: false },
                check_names: false,
            };
            faasm::link(&stored.wasm, options).ok().flatten()
        });
        let made = text
            .map(|faasm::Made { wasm, .. }| StoredFunction { integrity: integrity(&wasm), wasm });
        Ok(made.or(found))
    }
}

impl FunctionStore for TextOutputs {
    fn is_shared(&self) -> bool {
        false
    }

    fn integrity<'a>(
        &'a self,
        user: &'a str,
        function: &'a str,
    ) -> BoxFuture<'a, Result<Option<String>, StoreError>> {
        Box::pin(async { Ok(self.get(user, function).await?.map(|stored| stored.integrity)) })
    }

    fn get<'a>(
        &'a self,
        user: &'a str,
        function: &'a str,
    ) -> BoxFuture<'a, Result<Option<StoredFunction>, StoreError>> {
        Box::pin(self.get(user, function))
    }

    fn put<'a>(
        &'a self,
        user: &'a str,
        function: &'a str,
        stored: StoredFunction,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        self.originals.put(user, function, stored)
    }
}

/// Whether what a case outputs is text, as far as it says.
fn outputs_text(case: &Case) -> bool {
    match &case.end {
        End::Returns { output: Text::Exactly(bytes), .. } => std::str::from_utf8(bytes).is_ok(),
        _ => true,
    }
}

/// The processes, or what takes their place.
struct Cluster {
    text_users: Users,
    planner: Arc<Planner>,
    state: Arc<dyn StateStore>,
    relays: Vec<SocketAddr>,
    _redis: RedisServer,
}

impl Faasm {
    pub(super) fn new(lab: &Arc<Lab>, place: Place) -> Self {
        let binary = cases::all().into_iter().filter(|case| !outputs_text(case));
        let binary = binary.map(|case| case.name).collect();
        Self { lab: Arc::clone(lab), place, binary, started: OnceCell::new() }
    }

    async fn cluster(&self) -> Result<&Cluster> {
        self.started.get_or_try_init(|| Cluster::start(&self.lab, self.place.relays)).await
    }
}

impl Cluster {
    async fn start(lab: &Lab, relays: usize) -> Result<Self> {
        let redis = RedisServer::start()?;
        let state = Arc::new(RedisStore::connect(&RedisConfig::new(redis.url())).await?);
        let stores = lab.stores_with(state.clone());
        let text_users = Users::default();
        let (originals, users) = (stores.functions, Arc::clone(&text_users));
        let functions = Arc::new(TextOutputs { originals, users });
        let locks = Locks::refused("workers of Faasm have no such host call");
        let stores = Stores { functions, locks, ..stores };
        let config = EmbeddedConfig {
            call_timeout: TIMEOUT,
            printing: lab.printing(),
            ..EmbeddedConfig::default()
        };
        let embedded = Arc::new(Embedded::new(config, stores)?);
        let setup = Setup { as_: Engine::Lenient, workers: vec![SLOTS], ..Setup::default() };
        let planner = Planner::start(setup, embedded).await?;
        let mut addresses = Vec::new();
        for _ in 0..relays {
            let stores = Stores::redis(&RedisConfig::new(redis.url())).await?;
            let endpoint = planner.url().parse().map_err(anyhow::Error::msg)?;
            let config = FaasmConfig { call_time: TIMEOUT, ..FaasmConfig::of(endpoint) };
            let app = App::faasm(config, None, stores);
            let listener = TcpListener::bind("127.0.0.1:0").await.context("a port for a relay")?;
            addresses.push(listener.local_addr()?);
            tokio::spawn(async move {
                if let Err(error) = serve(listener, Config::default(), app, pending()).await {
                    eprintln!("a relay of the suite ended: {error}");
                }
            });
        }
        Ok(Self { text_users, planner, state, relays: addresses, _redis: redis })
    }
}

impl Column for Faasm {
    fn id(&self) -> &'static str {
        self.place.id
    }

    fn title(&self) -> &'static str {
        self.place.title
    }

    fn state(&self) -> BoxFuture<'_, Result<Option<Arc<dyn StateStore>>>> {
        Box::pin(async { Ok(Some(Arc::clone(&self.cluster().await?.state))) })
    }

    fn run<'a>(&'a self, case: &'a Case, user: &'a str) -> BoxFuture<'a, Result<Observed>> {
        Box::pin(async move {
            let cluster = self.cluster().await?;
            let (Some(first), Some(last)) = (cluster.relays.first(), cluster.relays.last()) else {
                bail!("no relays");
            };
            if self.binary.contains(&case.name) {
                let mut users = cluster.text_users.lock().unwrap_or_else(PoisonError::into_inner);
                users.insert(user.to_owned());
            }
            let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
            let request = Request::Call {
                function: case.function.to_owned(),
                entry: CallEntry::Main,
                args: case.args.iter().map(|arg| (*arg).to_owned()).collect(),
                env: case.env.iter().map(pair).collect(),
            };
            let running = async {
                let mut page = Page::open(*first, user).await?;
                let id = page.send(request, &case.input).await?;
                if first != last {
                    page.go_on_over(*last).await?;
                }
                page.ended(id).await
            };
            let ended = tokio::time::timeout(PATIENCE, running).await.context("no end")??;
            ensure!(cluster.planner.is_alive(), "the planner has ended");
            let (stdout, stderr) = self.lab.take_printed(user, case.function);
            Ok(Observed { ended, stdout, stderr })
        })
    }
}

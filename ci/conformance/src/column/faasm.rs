//! A Faasm cluster: a stand-in for its planner and its upload server, whose functions keep state in a real Redis, behind one
//! relay, or behind two over the same Redis.

use super::Column;
use crate::case::Case;
use crate::lab::{Lab, TIMEOUT};
use crate::outcome::Observed;
use crate::page::Page;
use anyhow::{Context as _, Result};
use faasm_bridge::wire::{CallEntry, Request};
use faasm_redis_server::RedisServer;
use faasm_relay::cluster::embedded::{Embedded, EmbeddedConfig};
use faasm_relay::cluster::faasm::FaasmConfig;
use faasm_relay::store::{RedisStore, StateStore, Stores};
use faasm_relay::{App, Config, serve};
use faasm_standin::{Planner, Setup};
use futures_util::future::{BoxFuture, pending};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::OnceCell;

/// Until a run that never ends is given up; the relay should have done so before.
const PATIENCE: Duration = Duration::from_secs(180);

/// How long a relay keeps a session without a connection.
const KEPT: Duration = Duration::from_secs(60);

/// How often it is looked whether a function has ended the planner.
const LOOK: Duration = Duration::from_millis(20);

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
    started: OnceCell<Cluster>,
}

/// The processes, or what takes their place.
struct Cluster {
    planner: Arc<Planner>,
    state: Arc<dyn StateStore>,
    relays: Vec<SocketAddr>,
    _redis: RedisServer,
}

impl Faasm {
    pub(super) fn new(lab: &Arc<Lab>, place: Place) -> Self {
        Self { lab: Arc::clone(lab), place, started: OnceCell::new() }
    }

    async fn cluster(&self) -> Result<&Cluster> {
        self.started.get_or_try_init(|| Cluster::start(&self.lab, self.place.relays)).await
    }
}

impl Cluster {
    async fn start(lab: &Lab, relays: usize) -> Result<Self> {
        let redis = RedisServer::start()?;
        let state = Arc::new(RedisStore::connect(&redis.url(), KEPT).await?);
        let stores = lab.stores_with(state.clone());
        let config = EmbeddedConfig {
            call_timeout: TIMEOUT,
            printing: lab.printing(),
            ..EmbeddedConfig::default()
        };
        let embedded = Arc::new(Embedded::new(config, stores)?);
        let setup = Setup { workers: vec![SLOTS], ..Setup::default() };
        let planner = Planner::start(setup, embedded).await?;
        let mut addresses = Vec::new();
        for _ in 0..relays {
            let stores = Stores::redis(&redis.url(), KEPT).await?;
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
        Ok(Self { planner, state, relays: addresses, _redis: redis })
    }

    /// Starts the planner again whenever a function has ended it, for ever.
    async fn keep_alive(&self) -> Result<std::convert::Infallible> {
        loop {
            tokio::time::sleep(LOOK).await;
            if !self.planner.is_alive() {
                self.planner.restart().await?;
            }
        }
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
                anyhow::bail!("no relays");
            };
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
            let ended = tokio::select! {
                ended = tokio::time::timeout(PATIENCE, running) => ended.context("no end")??,
                failed = cluster.keep_alive() => match failed? {},
            };
            let (stdout, stderr) = self.lab.take_printed(user, case.function);
            Ok(Observed { ended, stdout, stderr })
        })
    }
}

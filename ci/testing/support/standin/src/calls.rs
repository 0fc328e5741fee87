//! Calls: where they run, which calls they chain, and what is reported of them.

use crate::host::{self, Host};
use crate::lock;
use crate::message::Message;
use crate::planner::Inner;
use crate::schedule::Seat;
use crate::setup::Engine;
use crate::wamr;
use crate::worker::now_ms;
use faasm_bridge::guest::CallResult;
use faasm_bridge::wire::{CallEntry, is_valid_name};
use faasm_relay::cluster::embedded::{Loaded, Refusal};
use faasm_relay::cluster::{Call, Cluster as _, ClusterError, Outcome, failure};
use futures_util::future::BoxFuture;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::sync::Arc;
use tokio::sync::oneshot;

/// Faasm's text for every trap.
const TRAPPED: &str = "Error executing WASM function with WAMR";

/// Faasm's text for exceptions that some host calls throw.
const THROWN: &str = "Default WAMR exception";

/// Group of all messages; its value does not matter here.
const GROUP: i32 = 2_124_665_291;

impl Inner {
    /// Runs a message to its end, unless the planner or the worker ends first. In that case the run continues, and its
    /// result is dropped.
    pub(crate) async fn run(self: Arc<Self>, mut message: Message, seat: Seat) {
        let life = self.life();
        message.start_ts = now_ms().to_string();
        let ended = match self.setup.as_ {
            Engine::Lenient => {
                let outcome = self.cluster.call(call_of(&message)).await;
                if self.life() != life {
                    return;
                }
                Some(lenient(&message, outcome))
            }
            Engine::Faasm029Wamr => self.run_as_wamr(&message, &seat).await,
        };
        // A worker that is dying or dead reports no result; nor does one whose planner is down.
        let Some((return_value, output)) = ended.filter(|_| seat.answers() && self.is_alive())
        else {
            return;
        };
        message.return_value = return_value;
        let Ok(output) = String::from_utf8(output) else {
            return self.abort();
        };
        message.output_data = output;
        message.finish_ts = now_ms().to_string();
        message.host.clone_from(&seat.worker.ip);
        message.group = GROUP;
        lock(&self.schedule).finish(message);
    }

    /// Return value and output; `None` if the call ends the worker.
    async fn run_as_wamr(
        self: &Arc<Self>,
        message: &Message,
        seat: &Seat,
    ) -> Option<(i32, Vec<u8>)> {
        let Message { app, user, function, .. } = message;
        let (worker, life) = (&seat.worker, seat.life);
        let loaded = match self.load(user, function, seat).await {
            Ok(Some(loaded)) => loaded,
            Ok(None) | Err(ClusterError::NotAFunction(_)) => {
                worker.die(life);
                return None;
            }
            Err(error) => return Some(thrown(message, &error.to_string())),
        };
        worker.claim(life, *app, user, function).await;
        let host = Arc::new(Host::new(Arc::clone(self), message.clone(), seat.clone()));
        let outcome = self.cluster.call_loaded(&loaded, call_of(message), host).await;
        worker.give_back(life, *app, user, function);
        match outcome {
            Ok(Outcome::Returned(result)) => {
                // Faasm reports 0, whatever the function pointer returned.
                let value = if message.pointer > 0 { 0 } else { result.return_value };
                let replaced = || format!("Call failed (return value={value})").into_bytes();
                Some((value, if value == 0 { result.output } else { replaced() }))
            }
            Ok(Outcome::Failed { code: host::DIES | failure::CANNOT_LOAD, .. }) => {
                worker.die(life);
                None
            }
            // Report what this stand-in cannot emulate.
            Ok(Outcome::Failed {
                code: host::CANNOT_STAND_IN | failure::CLUSTER_ONLY,
                message: what,
            }) => Some(thrown(message, &what)),
            Ok(Outcome::Failed { code: host::THROWS, .. }) => Some(thrown(message, THROWN)),
            Ok(Outcome::Failed { .. }) => Some(thrown(message, TRAPPED)),
            Err(error) => Some(thrown(message, &error.to_string())),
        }
    }

    /// The code that the worker has loaded, or loads now. `None` if the function does not exist or WAMR cannot compile
    /// it.
    async fn load(
        &self,
        user: &str,
        function: &str,
        seat: &Seat,
    ) -> Result<Option<Loaded>, ClusterError> {
        let (worker, life) = (&seat.worker, seat.life);
        if let Some(loaded) = worker.loaded(life, user, function) {
            return Ok(Some(loaded));
        }
        if !is_valid_name(user) || !is_valid_name(function) {
            return Ok(None);
        }
        let stored = self.cluster.stores().functions.get(user, function).await?;
        if stored.is_none_or(|stored| wamr::refuses(&stored.wasm).is_some()) {
            return Ok(None);
        }
        let loaded = self.cluster.load(user, function).await?;
        if let Some(loaded) = &loaded {
            worker.load(life, user, function, loaded.clone());
        }
        Ok(loaded)
    }

    /// Sends a call that `caller` chains through the planner.
    pub(crate) fn chain(
        self: &Arc<Self>,
        caller: &Message,
        seat: &Seat,
        function: String,
        pointer: i32,
        input: Vec<u8>,
    ) -> Result<BoxFuture<'static, CallResult>, Refusal> {
        if !self.is_alive() {
            return Err(host::traps("the planner does not answer"));
        }
        let mut schedule = lock(&self.schedule);
        let random = || RandomState::new().build_hasher().finish() as i32 & i32::MAX;
        let id = std::iter::repeat_with(random).find(|id| *id > 0 && !schedule.knows(*id));
        let id = id.unwrap_or(1);
        let placed =
            schedule.place(caller.app, [id].into_iter(), Some(seat), self.setup.times.blocked);
        let Some(seat) = placed.and_then(|mut seats| seats.pop()) else {
            return Err(host::traps("No available hosts"));
        };
        let (sender, receiver) = oneshot::channel();
        schedule.awaited.insert(id, sender);
        let is_blocked = schedule.blocked.is_some();
        drop(schedule);
        let message = Message {
            id,
            app: caller.app,
            user: caller.user.clone(),
            function,
            pointer,
            input_data: input,
            record_exec_graph: caller.record_exec_graph,
            ..Message::default()
        };
        if is_blocked {
            let inner = Arc::clone(self);
            tokio::spawn(async move { inner.blocked().await });
        } else {
            tokio::spawn(Arc::clone(self).run(message, seat));
        }
        Ok(Box::pin(async move {
            match receiver.await {
                Ok(result) => result,
                // The planner that knew the call has ended.
                Err(_) => std::future::pending().await,
            }
        }))
    }
}

fn call_of(message: &Message) -> Call {
    let mut call = Call::new(&message.user, &message.function, message.input_data.clone());
    call.args = message.cmdline.split_whitespace().map(str::to_owned).collect();
    // A null pointer is the main entry.
    if let Ok(pointer @ 1..) = u32::try_from(message.pointer) {
        call.entry = CallEntry::Pointer(pointer);
    }
    call
}

fn thrown(message: &Message, what: &str) -> (i32, Vec<u8>) {
    (1, format!("Task {} threw exception. What: {what}", message.id).into_bytes())
}

/// Return value and output as the embedded cluster defines them.
fn lenient(message: &Message, outcome: Result<Outcome, ClusterError>) -> (i32, Vec<u8>) {
    match outcome {
        Ok(Outcome::Returned(result)) => {
            let value = if message.pointer > 0 { 0 } else { result.return_value };
            (value, result.output)
        }
        Ok(Outcome::Failed { code: failure::MISSING_FUNCTION | failure::CANNOT_LOAD, .. }) => {
            (1, b"Error trying to claim executor".to_vec())
        }
        Ok(Outcome::Failed { message: what, .. }) => thrown(message, &what),
        Err(error) => thrown(message, &error.to_string()),
    }
}

//! Frames over plain HTTP, for networks that break WebSockets. Batches go out in sequential `POST`s, and come in over
//! the response body of one long `POST`. If either fails, the connection ends; the session is resumed over another.

use super::{CloseScope, Events, Transport, TransportEvent};
use crate::error::{Code, FaasmError, describe};
use crate::global::{fetch, sleep, spawn};
use crate::object::object;
use faasm_bridge::session::ClientSession;
use faasm_bridge::wire::{BatchHeader, ConnectionId, FrameReader, append_frame};
use futures_util::future::{Either, select};
use js_sys::{ArrayBuffer, JSON, Reflect, Uint8Array};
use std::cell::Cell;
use std::pin::pin;
use std::rc::Rc;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use web_sys::{AbortController, ReadableStreamDefaultReader, Response, Url};

/// The last segment of the relay's path, where that of its WebSocket is `ws`.
const PATH: &str = "session";

/// The approximate maximum size of a batch.
const BATCH_BYTES: usize = 1024 * 1024;

/// If the first bytes of a response take longer than this, a proxy buffers responses until they are complete;
/// milliseconds.
const BUFFERED_AFTER: f64 = 5000.0;

const ENDED_EARLY: &str = "the relay's answer ended early";

/// A connection over HTTP.
pub(crate) struct FetchTransport(Rc<Shared>);

/// What one request brings to the relay.
enum Batch {
    Handshake(Vec<u8>),
    /// Frames after the [`BatchHeader`] of this number.
    Frames {
        batch: Vec<u8>,
        number: u64,
    },
}

/// What the tasks that send and receive share.
struct Shared {
    address: String,
    events: Events,
    /// Long polling: each response ends with its first frames.
    polls: bool,
    /// A batch is on its way; what comes meanwhile stays with the session, for which it is not sent yet.
    is_sending: Cell<bool>,
    /// Set by the handshake.
    connection: Cell<Option<ConnectionId>>,
    /// Batches sent.
    batches: Cell<u64>,
    is_closed: Cell<bool>,
    abort: AbortController,
}

impl FetchTransport {
    /// Starts to connect to the relay whose WebSocket is at `url`.
    pub(crate) fn open(url: &str, events: Events, polls: bool) -> Result<Self, FaasmError> {
        let bad = |thrown: JsValue| {
            let message = format!("`{url}` is not a relay's address: {}", describe(&thrown));
            FaasmError::new(Code::BadOptions, message)
        };
        let shared = Rc::new(Shared {
            address: address(url).map_err(bad)?,
            events,
            polls,
            is_sending: Cell::new(false),
            connection: Cell::new(None),
            batches: Cell::new(0),
            is_closed: Cell::new(false),
            abort: AbortController::new().map_err(bad)?,
        });
        let this = Rc::clone(&shared);
        // Open at once: the handshake is the first request.
        spawn(async move { this.notify(TransportEvent::Open) });
        Ok(Self(shared))
    }
}

impl Transport for FetchTransport {
    fn send(&self, session: &mut ClientSession) {
        let shared = &self.0;
        if shared.is_closed.get() || shared.is_sending.get() {
            return;
        }
        let Some(batch) = shared.next_batch(session) else { return };
        shared.is_sending.set(true);
        let this = Rc::clone(shared);
        spawn(async move {
            let sent = this.send_batch(batch).await;
            this.is_sending.set(false);
            match sent {
                Ok(()) => this.notify(TransportEvent::Sent),
                Err(reason) => this.fail(TransportEvent::Closed(reason)),
            }
        });
    }

    fn unsent(&self) -> u32 {
        // Browsers do not report it; a reply to the ping can arrive over the other request meanwhile.
        0
    }

    fn close(&self, ends: CloseScope) {
        let shared = &self.0;
        shared.close();
        let connection = shared.connection.take().filter(|_| ends == CloseScope::Session);
        if let Some(connection) = connection {
            let header = BatchHeader { connection, seq: shared.batches.get() };
            // Without this transport's abort signal. The request may outlive the page.
            let init = init(&header.to_bytes(), &[("keepalive", true.into())]);
            let request = fetch(&format!("{}/end", shared.address), &init);
            spawn(async move {
                // A relay that misses this request forgets the session after a timeout.
                let _ = JsFuture::from(request).await;
            });
        }
    }
}

impl Drop for FetchTransport {
    fn drop(&mut self) {
        self.close(CloseScope::Connection);
    }
}

impl Shared {
    fn notify(&self, event: TransportEvent) {
        if !self.is_closed.get() {
            (self.events)(event);
        }
    }

    fn close(&self) {
        self.is_closed.set(true);
        self.abort.abort();
    }

    fn fail_unless(&self, result: Result<(), String>) {
        if let Err(reason) = result {
            self.fail(TransportEvent::Closed(reason));
        }
    }

    fn fail(&self, event: TransportEvent) {
        if !self.is_closed.get() {
            self.close();
            (self.events)(event);
        }
    }

    /// The handshake, or what else there is to send.
    fn next_batch(&self, session: &mut ClientSession) -> Option<Batch> {
        let Some(connection) = self.connection.get() else {
            return session.transmit().map(Batch::Handshake);
        };
        let number = self.batches.get();
        let mut batch = BatchHeader { connection, seq: number }.to_bytes().to_vec();
        session.transmit_batch(&mut batch, BATCH_BYTES).then_some(Batch::Frames { batch, number })
    }

    async fn send_batch(self: &Rc<Self>, batch: Batch) -> Result<(), String> {
        match batch {
            Batch::Handshake(frame) => self.shake_hands(&frame).await,
            Batch::Frames { batch, number } => {
                self.post("/send", &batch).await?;
                self.batches.set(number + 1);
                Ok(())
            }
        }
    }

    async fn shake_hands(self: &Rc<Self>, frame: &[u8]) -> Result<(), String> {
        let mut batch = Vec::new();
        append_frame(&mut batch, frame);
        let response = self.post("", &batch).await?;
        let body = response.array_buffer().map_err(|thrown| describe(&thrown))?;
        let body = JsFuture::from(body).await.map_err(|thrown| describe(&thrown))?;
        let body = Uint8Array::new(&body.unchecked_into::<ArrayBuffer>()).to_vec();
        let frames = FrameReader::default().push(&body).map_err(|error| error.to_string())?;
        let mut frames = frames.into_iter();
        let answer = frames.next().ok_or("the relay's answer is empty")?;
        // A refusal has no second frame.
        let id = frames.next().and_then(|id| <[u8; 16]>::try_from(id).ok()).map(ConnectionId);
        if let Some(id) = id {
            self.connection.set(Some(id));
            let this = Rc::clone(self);
            spawn(async move { this.fail_unless(this.receive(id).await) });
        }
        self.notify(TransportEvent::Frame(answer));
        Ok(())
    }

    /// Receives frames; sends a new request each time a response ends.
    async fn receive(&self, connection: ConnectionId) -> Result<(), String> {
        let mut number = 0;
        loop {
            let Some((reader, first)) =
                self.start_response(BatchHeader { connection, seq: number }).await?
            else {
                self.fail(TransportEvent::Buffered);
                return Ok(());
            };
            let mut frames = FrameReader::default();
            let mut arrived = Some(first);
            while let Some(bytes) = arrived {
                self.notify(TransportEvent::Alive);
                for frame in frames.push(&bytes).map_err(|error| error.to_string())? {
                    number += 1;
                    self.notify(TransportEvent::Frame(frame));
                }
                arrived = read(&reader).await?;
            }
            if !frames.is_at_boundary() {
                return Err(ENDED_EARLY.into());
            }
        }
    }

    /// A response and its first bytes; `None` if responses are buffered.
    async fn start_response(
        &self,
        header: BatchHeader,
    ) -> Result<Option<(ReadableStreamDefaultReader, Vec<u8>)>, String> {
        let path = if self.polls { "/poll" } else { "/receive" };
        let beginning = async {
            let response = self.post(path, &header.to_bytes()).await?;
            let body = response.body().ok_or("the relay's answer has no body")?;
            let reader: ReadableStreamDefaultReader = body.get_reader().unchecked_into();
            let first = read(&reader).await?.ok_or(ENDED_EARLY)?;
            Ok((reader, first))
        };
        if self.polls {
            return beginning.await.map(Some);
        }
        match select(pin!(beginning), pin!(sleep(BUFFERED_AFTER))).await {
            Either::Left((begun, _)) => begun.map(Some),
            Either::Right(_) => Ok(None),
        }
    }

    async fn post(&self, path: &str, body: &[u8]) -> Result<Response, String> {
        let init = init(body, &[("signal", self.abort.signal().into())]);
        let response = JsFuture::from(fetch(&format!("{}{path}", self.address), &init)).await;
        let response: Response = response.map_err(|thrown| describe(&thrown))?.unchecked_into();
        if response.ok() {
            return Ok(response);
        }
        let why = reason(&response).await.unwrap_or_default();
        Err(format!("HTTP status {}: {why}", response.status()))
    }
}

/// `…/session` beside the WebSocket at `…/ws`.
fn address(url: &str) -> Result<String, JsValue> {
    let url = Url::new(url)?;
    match url.protocol().as_str() {
        "ws:" => url.set_protocol("http:"),
        "wss:" => url.set_protocol("https:"),
        _ => {}
    }
    let path = url.pathname();
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    url.set_pathname(&format!("{folder}/{PATH}"));
    url.set_search("");
    url.set_hash("");
    Ok(url.href())
}

fn init(body: &[u8], more: &[(&str, JsValue)]) -> JsValue {
    let body = Uint8Array::from(body);
    let mut fields =
        vec![("method", "POST".into()), ("cache", "no-store".into()), ("body", body.into())];
    fields.extend_from_slice(more);
    object(&fields)
}

/// The next bytes of a body; `None` at its end.
async fn read(reader: &ReadableStreamDefaultReader) -> Result<Option<Vec<u8>>, String> {
    let read = JsFuture::from(reader.read()).await.map_err(|thrown| describe(&thrown))?;
    let get = |name: &str| Reflect::get(&read, &name.into()).unwrap_or(JsValue::UNDEFINED);
    if get("done").is_truthy() {
        return Ok(None);
    }
    Ok(Some(get("value").unchecked_into::<Uint8Array>().to_vec()))
}

/// The message of an error response.
async fn reason(response: &Response) -> Option<String> {
    let text = JsFuture::from(response.text().ok()?).await.ok()?.as_string()?;
    let said = JSON::parse(&text).ok()?;
    Reflect::get(&said, &"error".into()).ok()?.as_string()
}

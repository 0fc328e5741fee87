//! Frames in binary WebSocket messages.

use super::{CloseScope, Events, Transport, TransportEvent};
use crate::error::{Code, FaasmError, describe};
use faasm_bridge::session::ClientSession;
use js_sys::Uint8Array;
use wasm_bindgen::prelude::*;
use web_sys::{BinaryType, CloseEvent, MessageEvent, WebSocket};

/// Close code of a normal closure (RFC 6455, 7.4.1), which tells the relay that the session has ended.
const NORMAL_CLOSURE: u16 = 1000;

/// A WebSocket and its callbacks, which must live as long.
pub(crate) struct WebSocketTransport {
    socket: WebSocket,
    _on_open: Closure<dyn FnMut()>,
    _on_message: Closure<dyn FnMut(MessageEvent)>,
    _on_close: Closure<dyn FnMut(CloseEvent)>,
}

impl WebSocketTransport {
    /// Starts to connect to a `ws:` or `wss:` address.
    pub(crate) fn open(url: &str, events: Events) -> Result<Self, FaasmError> {
        let socket = WebSocket::new(url).map_err(|thrown| {
            let message = format!("`{url}` is not a relay's address: {}", describe(&thrown));
            FaasmError::new(Code::BadOptions, message)
        })?;
        socket.set_binary_type(BinaryType::Arraybuffer);

        let sink = events.clone();
        let on_open = Closure::<dyn FnMut()>::new(move || sink(TransportEvent::Open));
        socket.set_onopen(Some(on_open.as_ref().unchecked_ref()));

        let sink = events.clone();
        let on_message = Closure::<dyn FnMut(_)>::new(move |event: MessageEvent| {
            // With this binary type the data is a string or an `ArrayBuffer`, perhaps of another realm.
            let data = event.data();
            sink(match data.is_string() {
                true => TransportEvent::Closed("the relay sent text, not a frame".into()),
                false => TransportEvent::Message(Uint8Array::new(&data).to_vec()),
            });
        });
        socket.set_onmessage(Some(on_message.as_ref().unchecked_ref()));

        let on_close = Closure::<dyn FnMut(_)>::new(move |event: CloseEvent| {
            let reason = match event.reason() {
                reason if reason.is_empty() => format!("WebSocket close code {}", event.code()),
                reason => reason,
            };
            events(TransportEvent::Closed(reason));
        });
        socket.set_onclose(Some(on_close.as_ref().unchecked_ref()));

        Ok(Self { socket, _on_open: on_open, _on_message: on_message, _on_close: on_close })
    }
}

impl Transport for WebSocketTransport {
    fn send(&self, session: &mut ClientSession) {
        // A browser drops what it is given after it closed; that stays with the session, for which it is not sent yet.
        while self.socket.ready_state() == WebSocket::OPEN
            && let Some(message) = session.transmit_message()
        {
            // Throws only while connecting.
            if let Err(thrown) = self.socket.send_with_u8_array(&message) {
                crate::global::console_error(&describe(&thrown));
            }
        }
    }

    fn unsent(&self) -> u32 {
        self.socket.buffered_amount()
    }

    fn close(&self, ends: CloseScope) {
        self.socket.set_onopen(None);
        self.socket.set_onmessage(None);
        self.socket.set_onclose(None);
        // Throws only for invalid close codes.
        let _ = match ends {
            CloseScope::Session => self.socket.close_with_code(NORMAL_CLOSURE),
            CloseScope::Connection => self.socket.close(),
        };
    }
}

impl Drop for WebSocketTransport {
    fn drop(&mut self) {
        self.close(CloseScope::Connection);
    }
}

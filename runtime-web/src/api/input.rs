//! A function's input, in the types that a page can pass.

use super::options::invalid;
use crate::error::{Code, FaasmError, describe};
use crate::global::spawn;
use js_sys::{Reflect, Uint8Array};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{Blob, ReadableStream, ReadableStreamDefaultReader};

/// Input that may have to be read asynchronously.
pub(super) enum Input {
    Bytes(Vec<u8>),
    Blob(Blob),
    Stream(ReadableStream),
}

impl Input {
    /// Reads the whole input. Dropping the future cancels a stream that has not ended.
    pub(super) async fn read(self) -> Result<Vec<u8>, FaasmError> {
        match self {
            Input::Bytes(bytes) => Ok(bytes),
            Input::Blob(blob) => {
                let buffer = JsFuture::from(blob.array_buffer()).await.map_err(unreadable)?;
                Ok(Uint8Array::new(&buffer).to_vec())
            }
            Input::Stream(stream) => {
                let reader = ReadableStreamDefaultReader::new(&stream).map_err(unreadable)?;
                let mut reading = Reading { reader, ended: false };
                let mut bytes = Vec::new();
                while let Some(chunk) = reading.next().await? {
                    let end = bytes.len();
                    bytes.resize(end + chunk.length() as usize, 0);
                    chunk.copy_to(&mut bytes[end..]);
                }
                Ok(bytes)
            }
        }
    }
}

/// A stream that is being read.
struct Reading {
    reader: ReadableStreamDefaultReader,
    ended: bool,
}

impl Reading {
    async fn next(&mut self) -> Result<Option<Uint8Array>, FaasmError> {
        let read = JsFuture::from(self.reader.read()).await;
        self.ended = read.is_err();
        let read = read.map_err(unreadable)?;
        let field = |name: &str| Reflect::get(&read, &name.into()).unwrap_or(JsValue::UNDEFINED);
        if field("done").is_truthy() {
            self.ended = true;
            return Ok(None);
        }
        let chunk = field("value").dyn_into();
        chunk.map(Some).map_err(|_| invalid("input", "a stream of Uint8Arrays"))
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        if !self.ended {
            let cancelled = JsFuture::from(self.reader.cancel());
            // The result does not matter any more.
            spawn(async move { drop(cancelled.await) });
        }
    }
}

fn unreadable(thrown: JsValue) -> FaasmError {
    let message = format!("`input` cannot be read: {}", describe(&thrown));
    FaasmError { cause: Some(thrown), ..FaasmError::new(Code::BadOptions, message) }
}

//! State where Faasm's workers keep it: a value is a string, appended elements are a list, under the same kind of key.
//!
//! So that a page and a worker share them, the layout is the workers' and nothing is beside it. What follows from that:
//!
//! * The key is user, underscore, key. Users whose names have an underscore are refused: `a_b` could be `a`.
//! * A value and a list of one key are one thing in Redis. Whichever is there first stays; the other one is an error.
//! * Redis has no empty values, and none above [`MAX_VALUE_BYTES`].
//! * A change is one script, so that it is made as a whole or not at all, whoever else writes.

use super::keys::state_key;
use super::link::{Question, Repeat};
use super::{RedisStore, script};
use crate::store::{
    Change, MAX_ELEMENT_BYTES, MAX_LIST_BYTES, MAX_LIST_ELEMENTS, StateRead, StateStore, StoreError,
};
use faasm_bridge::state::{Chunk, LocalTier, StateError};
use futures_util::future::BoxFuture;
use redis::{Script, ScriptInvocation};
use std::sync::LazyLock;

/// Longest string Redis has by default (`proto-max-bulk-len`), bytes.
pub const MAX_VALUE_BYTES: u64 = 512 * 1024 * 1024;

static CHANGE: LazyLock<Script> = script!("forgotten.lua", "lists.lua", "change.lua");
static READ_LIST: LazyLock<Script> = script!("lists.lua", "read_list.lua");

/// What is done to a value or a list, and how that is called.
#[derive(Clone, Copy)]
pub(super) enum Verb {
    Write,
    Append,
    Clear,
}

impl Verb {
    fn of(change: &Change) -> Self {
        match change {
            Change::Write { .. } => Self::Write,
            Change::Append { .. } => Self::Append,
            Change::Clear { .. } => Self::Clear,
        }
    }

    fn action(self) -> &'static str {
        match self {
            Verb::Write => "write state",
            Verb::Append => "append to a list",
            Verb::Clear => "clear a list",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Verb::Write => "write",
            Verb::Append => "append",
            Verb::Clear => "clear",
        }
    }

    /// What there is instead of what it changes.
    fn other(self) -> &'static str {
        match self {
            Verb::Write => LIST,
            Verb::Append | Verb::Clear => VALUE,
        }
    }
}

const LIST: &str = "a list of appended elements";
const VALUE: &str = "a value";

/// What has to be there for a change, and what is left then that it was made.
pub(super) struct Marked {
    /// The session, what it began, what it forgot.
    pub(super) keys: [String; 3],
    pub(super) request: String,
    pub(super) reply: Vec<u8>,
}

/// Everything that can be wrong with a change before Redis is asked.
fn check(change: &Change) -> Result<(), StoreError> {
    match change {
        Change::Write { key, size, chunks } => {
            for chunk in chunks {
                LocalTier::range(key, *size, chunk.offset, chunk.bytes.len() as u64)?;
            }
            let (key, size) = (key.clone(), *size);
            match size {
                0 => Err(StoreError::EmptyValue { key }),
                size if size > faasm_bridge::state::MAX_VALUE_BYTES => {
                    Err(StateError::TooLarge { key, size }.into())
                }
                size if size > MAX_VALUE_BYTES => {
                    Err(StoreError::ValueTooLong { key, size, most: MAX_VALUE_BYTES })
                }
                _ => Ok(()),
            }
        }
        Change::Append { key, element } => {
            let bytes = element.len() as u64;
            if bytes > MAX_ELEMENT_BYTES {
                return Err(StoreError::ElementTooLong {
                    key: key.clone(),
                    bytes,
                    most: MAX_ELEMENT_BYTES,
                });
            }
            Ok(())
        }
        Change::Clear { .. } => Ok(()),
    }
}

/// Adds what a change is made with; gives about how many bytes that are.
fn add(invocation: &mut ScriptInvocation<'_>, change: &Change) -> u64 {
    match change {
        Change::Write { size, chunks, .. } => {
            invocation.arg(*size);
            let mut bytes = 0;
            for chunk in chunks {
                invocation.arg(chunk.offset).arg(&chunk.bytes);
                bytes += chunk.bytes.len() as u64;
            }
            bytes
        }
        Change::Append { element, .. } => {
            invocation.arg(element).arg(MAX_LIST_ELEMENTS).arg(MAX_LIST_BYTES);
            element.len() as u64
        }
        Change::Clear { .. } => 0,
    }
}

impl RedisStore {
    /// Makes a change; with a mark once, however often it is asked for.
    pub(super) async fn change_state(
        &self,
        user: &str,
        change: Change,
        marked: Option<Marked>,
    ) -> Result<(), StoreError> {
        check(&change)?;
        let verb = Verb::of(&change);
        let key = match &change {
            Change::Write { key, .. } | Change::Append { key, .. } | Change::Clear { key } => key,
        };
        let mut invocation = CHANGE.key(state_key(user, key)?);
        invocation.arg(verb.name()).arg(self.relay());
        let mut repeat = Repeat::Once;
        if let Some(Marked { keys, request, reply }) = marked {
            repeat = Repeat::Marked;
            keys.into_iter().for_each(|key| {
                invocation.key(key);
            });
            invocation.arg(request).arg(reply);
        }
        let bytes = add(&mut invocation, &change);
        let question = Question::Script(invocation);
        let (ended, first, second): (String, u64, u64) =
            self.link().ask(verb.action(), repeat, bytes, question).await?;
        let key = key.clone();
        match ended.as_str() {
            "done" => Ok(()),
            "kind" => Err(StoreError::OtherKind { key, is: verb.other() }),
            "size" => Err(StateError::SizeMismatch { key, have: first, asked: second }.into()),
            "full" => {
                let elements = u32::try_from(first).unwrap_or(u32::MAX);
                Err(StoreError::ListFull { key, elements, bytes: second })
            }
            "lost" => Err(StoreError::SessionLost { reason: "Redis does not have it any more" }),
            other => Err(unexpected(verb.action(), other)),
        }
    }
}

/// Something else uses the same keys, or the scripts and this code differ.
pub(super) fn unexpected(action: &'static str, answer: &str) -> StoreError {
    StoreError::Backend { action, reason: format!("Redis answered `{answer}`, which is no answer") }
}

impl StateStore for RedisStore {
    fn read<'a>(
        &'a self,
        user: &'a str,
        key: &'a str,
        offset: u64,
        length: Option<u64>,
    ) -> BoxFuture<'a, Result<StateRead, StoreError>> {
        Box::pin(async move {
            const ACTION: &str = "read state";
            let name = state_key(user, key)?;
            // Redis takes signed numbers, and an end that is part of the range.
            let longest = faasm_bridge::state::MAX_VALUE_BYTES;
            let first = offset.min(longest);
            let last = first.saturating_add(length.unwrap_or(longest).min(longest));
            let mut pipeline = redis::pipe();
            pipeline.atomic().strlen(&name);
            match last.checked_sub(1).filter(|last| *last >= first) {
                Some(last) => pipeline.cmd("GETRANGE").arg(&name).arg(first).arg(last),
                None => pipeline.cmd("ECHO").arg(""),
            };
            let question = Question::Pipeline(pipeline);
            let bytes = length.unwrap_or(0).min(longest);
            let read: Result<(u64, Vec<u8>), _> =
                self.link().ask(ACTION, Repeat::Reads, bytes, question).await;
            let (size, bytes) = match read {
                Err(StoreError::Backend { reason, .. }) if reason.contains("WRONGTYPE") => {
                    return Err(StoreError::OtherKind { key: key.to_owned(), is: LIST });
                }
                read => read?,
            };
            // There are no empty strings in Redis: a length of 0 is no value.
            let size = (size > 0).then_some(size);
            Ok(StateRead { size, chunk: Chunk { offset, bytes } })
        })
    }

    fn write<'a>(
        &'a self,
        user: &'a str,
        key: &'a str,
        size: u64,
        chunks: Vec<Chunk>,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        let change = Change::Write { key: key.to_owned(), size, chunks };
        Box::pin(self.change_state(user, change, None))
    }

    fn append<'a>(
        &'a self,
        user: &'a str,
        key: &'a str,
        element: Vec<u8>,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(self.change_state(user, Change::Append { key: key.to_owned(), element }, None))
    }

    fn read_appended<'a>(
        &'a self,
        user: &'a str,
        key: &'a str,
        count: u32,
    ) -> BoxFuture<'a, Result<Vec<u8>, StoreError>> {
        Box::pin(async move {
            const ACTION: &str = "read a list";
            let mut invocation = READ_LIST.key(state_key(user, key)?);
            invocation.arg(count).arg(MAX_LIST_BYTES);
            let question = Question::Script(invocation);
            let (ended, bytes, elements): (String, Vec<u8>, u64) =
                self.link().ask(ACTION, Repeat::Reads, MAX_LIST_BYTES, question).await?;
            let key = key.to_owned();
            match ended.as_str() {
                "done" => Ok(bytes),
                "kind" => Err(StoreError::OtherKind { key, is: VALUE }),
                "full" => {
                    let elements = u32::try_from(elements).unwrap_or(u32::MAX);
                    Err(StoreError::ListFull { key, elements, bytes: MAX_LIST_BYTES + 1 })
                }
                other => Err(unexpected(ACTION, other)),
            }
        })
    }

    fn clear_appended<'a>(
        &'a self,
        user: &'a str,
        key: &'a str,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(self.change_state(user, Change::Clear { key: key.to_owned() }, None))
    }
}

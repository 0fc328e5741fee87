//! State in the layout of Faasm's workers: a value is a string, appended elements are a list, under the same kind of
//! key.
//!
//! Pages and workers share state, so the layout is exactly the workers'. Consequences:
//!
//! * The key is user, underscore, key. Users whose names have an underscore are rejected: keys of `a_b` could be keys
//!   of `a`.
//! * A key holds either a value or a list, whichever was written first; an operation of the other kind fails.
//! * Redis has no empty values, and none above [`MAX_VALUE_BYTES`].
//! * A change is one script, so it is atomic with respect to all other clients.

use super::keys::state_key;
use super::link::{Question, Repeat, TIME_LIMIT};
use super::{RedisStore, script};
use crate::store::{
    Change, MAX_ELEMENT_BYTES, MAX_LIST_BYTES, MAX_LIST_ELEMENTS, StateRead, StateStore, StoreError,
};
use faasm_bridge::state::{Chunk, LocalTier, StateError};
use futures_util::future::BoxFuture;
use redis::{Cmd, Script, ScriptInvocation};
use std::ops::Range;
use std::sync::{Arc, LazyLock};

/// Default maximum size of a string in Redis (`proto-max-bulk-len`), bytes.
pub const MAX_VALUE_BYTES: u64 = 512 * 1024 * 1024;

/// Maximum bytes of a value that one answer carries.
const SLICE_BYTES: u64 = 8 * 1024 * 1024;

/// How often a value is read in slices if concurrent writes interfere.
const SLICED_READS: usize = 3;

static CHANGE: LazyLock<Script> = script!("forgotten.lua", "lists.lua", "change.lua");
static READ_LIST: LazyLock<Script> = script!("lists.lua", "read_list.lua");
static LIST_BYTES: LazyLock<Script> = script!("lists.lua", "list_bytes.lua");

/// An operation on a value or a list.
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

    /// The other kind, which the key holds if the script reports a conflict.
    fn other(self) -> &'static str {
        match self {
            Verb::Write => LIST,
            Verb::Append | Verb::Clear => VALUE,
        }
    }
}

const LIST: &str = "a list of appended elements";
const VALUE: &str = "a value";

/// A precondition of a change, and the idempotency record that is written with it.
pub(super) struct Marked {
    /// The session, its entries, its acknowledged ranges.
    pub(super) keys: [String; 3],
    pub(super) request: String,
    pub(super) reply: Vec<u8>,
}

/// Checks of a change that do not need Redis.
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

/// Adds the operation's arguments; returns their approximate size in bytes.
fn add(invocation: &mut ScriptInvocation<'_>, change: &Change) -> u64 {
    match change {
        Change::Write { size, chunks, .. } => {
            invocation.arg(*size);
            let mut bytes = 0;
            for chunk in chunks {
                invocation.arg(chunk.offset).arg(&*chunk.bytes);
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
    /// Makes a change; with an idempotency record at most once, even if repeated.
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
            "lost" => Err(StoreError::SessionLost { reason: "Redis has deleted it" }),
            other => Err(unexpected(verb.action(), other)),
        }
    }
}

const READ: &str = "read state";

/// The length of a value, and these of its bytes.
type Read = Result<(u64, Vec<u8>), StoreError>;

impl RedisStore {
    /// Reads atomically; `bytes` is the approximate size.
    async fn read_at_once(&self, name: &str, range: Range<u64>, bytes: u64) -> Read {
        let mut pipeline = redis::pipe();
        pipeline.atomic().strlen(name);
        match get_range(name, &range) {
            Some(get) => pipeline.add_command(get),
            None => pipeline.cmd("ECHO").arg(""),
        };
        let question = Question::Pipeline(pipeline);
        self.link().ask(READ, Repeat::Reads, bytes, question).await
    }

    /// Reads a snapshot, in slices with a time limit each: if a concurrent write interferes, it reads again, and
    /// atomically after several conflicts.
    async fn read_in_slices(&self, name: &str, range: Range<u64>) -> Read {
        let mut size = 0;
        for _ in 0..SLICED_READS {
            let transfer = self.link().transfer(TIME_LIMIT, READ).await?;
            let link = transfer.link();
            let line = link.current();
            let mut watch = Cmd::new();
            watch.arg("WATCH").arg(name);
            let () = link.ask(READ, Repeat::Reads, 0, Question::Command(watch)).await?;
            let question = Question::Command(Cmd::strlen(name));
            size = link.ask(READ, Repeat::Reads, 0, question).await?;
            let end = range.end.min(size);
            let mut bytes = Vec::new();
            let mut at = range.start;
            while at < end {
                let slice = at..end.min(at.saturating_add(SLICE_BYTES));
                let Some(get) = get_range(name, &slice) else { break };
                let question = Question::Command(get);
                let read: Vec<u8> = link.ask(READ, Repeat::Reads, SLICE_BYTES, question).await?;
                bytes.extend_from_slice(&read);
                at = slice.end;
            }
            let mut pipeline = redis::pipe();
            pipeline.atomic().strlen(name);
            let question = Question::Pipeline(pipeline);
            // Empty, if the watched key was written since.
            let unchanged: Option<(u64,)> = link.ask(READ, Repeat::Reads, 0, question).await?;
            // A new connection watched nothing.
            let is_the_same = Arc::ptr_eq(&line, &link.current());
            transfer.done();
            if unchanged.is_some() && is_the_same {
                return Ok((size, bytes));
            }
        }
        self.read_at_once(name, range, size).await
    }
}

/// The request for these bytes; `None` for an empty range.
fn get_range(name: &str, range: &Range<u64>) -> Option<Cmd> {
    // Redis ranges include their end.
    let last = range.end.checked_sub(1).filter(|last| *last >= range.start)?;
    let mut get = Cmd::new();
    get.arg("GETRANGE").arg(name).arg(range.start).arg(last);
    Some(get)
}

/// Another program uses the same keys, or the scripts do not match this code.
pub(super) fn unexpected(action: &'static str, answer: &str) -> StoreError {
    StoreError::Backend {
        action,
        reason: format!("Redis answered `{answer}`, which is not a valid answer"),
    }
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
            let name = state_key(user, key)?;
            // Redis expects signed numbers.
            let longest = faasm_bridge::state::MAX_VALUE_BYTES;
            let first = offset.min(longest);
            let range = first..first.saturating_add(length.unwrap_or(longest).min(longest));
            let read = match range.end - range.start {
                bytes if bytes <= SLICE_BYTES => self.read_at_once(&name, range, bytes).await,
                _ => self.read_in_slices(&name, range).await,
            };
            let (size, bytes) = match read {
                Err(StoreError::Backend { reason, .. }) if reason.contains("WRONGTYPE") => {
                    return Err(StoreError::OtherKind { key: key.to_owned(), is: LIST });
                }
                read => read?,
            };
            // Redis has no empty strings: length 0 means that the value does not exist.
            let size = (size > 0).then_some(size);
            Ok(StateRead { size, chunk: Chunk { offset, bytes: bytes.into() } })
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

    fn appended_bytes<'a>(
        &'a self,
        user: &'a str,
        key: &'a str,
        count: u32,
    ) -> BoxFuture<'a, Result<u64, StoreError>> {
        Box::pin(async move {
            let mut invocation = LIST_BYTES.key(state_key(user, key)?);
            invocation.arg(MAX_LIST_BYTES);
            let question = Question::Script(invocation);
            let bytes: u64 = self.link().ask("look up a list", Repeat::Reads, 0, question).await?;
            Ok(bytes.min(u64::from(count).saturating_mul(MAX_ELEMENT_BYTES)))
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

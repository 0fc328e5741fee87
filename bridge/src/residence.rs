//! Where state values live, by the rules of a page or manifest: pinned to the page, prefetched, or page-only.
//!
//! [`Rules`] are these rules. [`PageOnly`] performs the requests for page-only values: for these keys the page's own
//! tier is the global one, in place of the relay. So a push or pull of such a value works as for any other, in the page
//! and in its workers, and the value never leaves the page.

use crate::sorted_map::SortedMap;
use crate::state::{LocalTier, StateError, Value};
use crate::wire::{FailureCode, MAX_PAYLOAD_BYTES, MAX_WATCHED, Reply, Request};
use serde::{Deserialize, Serialize};

/// Most pinned values, and most rules of each kind.
pub const MAX_RULES: usize = MAX_WATCHED;

/// Most bytes of the pinned values together; also of pinned and prefetched values together.
pub const MAX_PINNED_BYTES: u64 = 256 * 1024 * 1024;

/// Most values that one call prefetches.
pub const MAX_PREFETCHED: usize = 1024;

/// Where the state values named by a page or manifest live.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rules {
    /// Keys of values that the page keeps fresh.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pin: Vec<String>,
    /// Keys of values to prefetch.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prefetch: Vec<String>,
    /// Keys of values that never leave the page; a pattern that ends in `*` matches all keys with that prefix.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub local: Vec<String>,
}

impl Rules {
    /// Whether there are no rules.
    pub fn is_empty(&self) -> bool {
        self.pin.is_empty() && self.prefetch.is_empty() && self.local.is_empty()
    }

    /// Describes a number that exceeds its limit, if any.
    pub fn problem(&self) -> Option<String> {
        let kinds = [
            ("pinned", self.pin.len(), MAX_RULES),
            ("prefetched", self.prefetch.len(), MAX_PREFETCHED),
            ("page-only", self.local.len(), MAX_RULES),
        ];
        let (kind, count, most) = kinds.into_iter().find(|(_, count, most)| count > most)?;
        Some(format!("{count} {kind} keys; {most} are allowed"))
    }
}

/// The concatenated elements of a list.
#[derive(Debug, Default)]
struct List {
    bytes: Vec<u8>,
    /// End offset of each element.
    ends: Vec<usize>,
}

/// The page-only values and lists of a page.
#[derive(Debug, Default)]
pub struct PageOnly {
    patterns: Vec<String>,
    lists: SortedMap<String, List>,
}

impl PageOnly {
    /// Makes these keys page-only, in addition to earlier ones.
    ///
    /// # Errors
    /// If there would be more than [`MAX_RULES`]. None is added then, and a function that needs them must not run here.
    pub fn add(&mut self, patterns: &[String]) -> Result<(), String> {
        let former = self.patterns.len();
        for pattern in patterns {
            if self.patterns.contains(pattern) {
                continue;
            }
            if self.patterns.len() >= MAX_RULES {
                self.patterns.truncate(former);
                return Err(format!(
                    "page-only key `{pattern}` is one more than the {MAX_RULES} that a page can have: name several by a prefix and `*`"
                ));
            }
            self.patterns.push(pattern.clone());
        }
        Ok(())
    }

    /// The keys, and prefixes before a `*`.
    pub fn patterns(&self) -> &[String] {
        &self.patterns
    }

    /// Whether a value or list is page-only.
    pub fn has(&self, key: &str) -> bool {
        self.patterns.iter().any(|pattern| match pattern.strip_suffix('*') {
            Some(prefix) => key.starts_with(prefix),
            None => key == pattern,
        })
    }

    /// Performs a request for such a value or list in place of the relay.
    pub fn perform(
        &mut self,
        tier: &mut LocalTier,
        request: &Request,
        payload: &[u8],
    ) -> (Reply, Vec<u8>) {
        match request {
            Request::ReadState { key, offset, length } => {
                let value = tier.get(key);
                let size = value.map(Value::size);
                let end = |value: &Value| match length {
                    Some(length) => offset.saturating_add(*length).min(value.size()),
                    None => value.size(),
                };
                let bytes = value.filter(|value| end(value) > *offset);
                let bytes = bytes.map(|value| value.read(*offset..end(value)).to_vec());
                (Reply::State { size, offset: *offset }, bytes.unwrap_or_default())
            }
            Request::WriteState { key, size, chunks } => {
                let range = |at: u64, length| LocalTier::range(key, *size, at, length);
                let is_inside = chunks.iter().try_for_each(|c| range(c.offset, c.length).map(drop));
                let mut rest = payload;
                let written = is_inside.and_then(|()| {
                    chunks.iter().try_for_each(|chunk| {
                        let length = rest.len().min(chunk.length as usize);
                        let (bytes, later) = rest.split_at(length);
                        rest = later;
                        tier.write(key, *size, chunk.offset, bytes)
                    })
                });
                (done(written), Vec::new())
            }
            Request::AppendState { key } => (self.append(key, payload), Vec::new()),
            Request::ReadAppended { key, count } => {
                let last = (*count as usize).checked_sub(1);
                let bytes = self.lists.get(key).zip(last).and_then(|(list, last)| {
                    let end = list.ends.get(last).or(list.ends.last())?;
                    Some(list.bytes[..*end].to_vec())
                });
                (Reply::Bytes, bytes.unwrap_or_default())
            }
            Request::ClearAppended { key } => {
                self.lists.remove(key);
                (Reply::Done, Vec::new())
            }
            _ => (Reply::Missing, Vec::new()),
        }
    }

    fn append(&mut self, key: &str, element: &[u8]) -> Reply {
        let list = self.lists.get_or_insert_with(key.to_owned(), List::default);
        if list.bytes.len() + element.len() > MAX_PAYLOAD_BYTES {
            let message =
                format!("list `{key}` would have more than {MAX_PAYLOAD_BYTES} bytes: clear it");
            return Reply::Failed { code: FailureCode::BadRequest, message };
        }
        list.bytes.extend_from_slice(element);
        list.ends.push(list.bytes.len());
        Reply::Done
    }
}

fn done(result: Result<(), StateError>) -> Reply {
    match result {
        Ok(()) => Reply::Done,
        Err(error) => Reply::Failed { code: FailureCode::State, message: error.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::ChunkHeader;

    fn page_only(patterns: &[&str]) -> PageOnly {
        let mut own = PageOnly::default();
        let patterns: Vec<String> = patterns.iter().map(|text| (*text).to_owned()).collect();
        assert_eq!(own.add(&patterns), Ok(()));
        own
    }

    #[test]
    fn keys_are_exact_or_begin_with_what_is_before_a_star() {
        let own = page_only(&["k", "mine/*", "k"]);
        assert_eq!(own.patterns().len(), 2);
        let has = |keys: &[&str]| keys.iter().map(|key| own.has(key)).collect::<Vec<_>>();
        assert_eq!(has(&["k", "mine/", "mine/a*b"]), [true; 3]);
        assert_eq!(has(&["kk", "", "mine", "K"]), [false; 4]);
        assert!(page_only(&["*"]).has("") && page_only(&["*"]).has("k"));
        let many: Vec<String> = (0..=MAX_RULES).map(|number| number.to_string()).collect();
        // Either all of a function's keys are added, or none.
        let mut full = page_only(&["first"]);
        let refused = full.add(&many[..MAX_RULES]).unwrap_err();
        assert!(refused.starts_with("page-only key `255` is one more than the 256"), "{refused}");
        assert_eq!(full.patterns(), ["first"]);
        assert_eq!(full.add(&many[..MAX_RULES - 1]), Ok(()));
        assert_eq!(full.add(&many[..MAX_RULES - 1]), Ok(()), "it has these already");
        let rules = Rules { local: many, ..Rules::default() };
        assert_eq!(rules.problem().unwrap(), "257 page-only keys; 256 are allowed");
    }

    #[test]
    fn page_only_requests_are_answered_like_those_of_the_global_tier() {
        let (mut own, mut tier) = (page_only(&["k"]), LocalTier::new());
        let key = String::from("k");
        let read = |offset, length| Request::ReadState { key: "k".into(), offset, length };
        let state = |size, offset| Reply::State { size, offset };
        let absent = own.perform(&mut tier, &read(0, None), b"");
        assert_eq!(absent, (state(None, 0), vec![]));
        let write = |size, parts: &[(u64, u64)]| {
            let chunk =
                |(offset, length): &(u64, u64)| ChunkHeader { offset: *offset, length: *length };
            let chunks = parts.iter().map(chunk).collect();
            Request::WriteState { key: key.clone(), size, chunks }
        };
        let written = own.perform(&mut tier, &write(6, &[(1, 2), (4, 1)]), b"bce");
        assert_eq!(written.0, Reply::Done);
        for (offset, length, bytes) in [
            (0, None, &b"\0bc\0e\0"[..]),
            (2, Some(3), b"c\0e"),
            (4, Some(u64::MAX), b"e\0"),
            (6, None, b""),
            (u64::MAX, Some(1), b""),
        ] {
            let found = own.perform(&mut tier, &read(offset, length), b"");
            assert_eq!(found, (state(Some(6), offset), bytes.to_vec()));
        }
        // If one chunk cannot be written, none is.
        for wrong in [write(6, &[(0, 1), (6, 1)]), write(7, &[(0, 1)]), write(6, &[(u64::MAX, 2)])]
        {
            let (reply, _) = own.perform(&mut tier, &wrong, b"xyz");
            assert!(matches!(reply, Reply::Failed { code: FailureCode::State, .. }), "{reply:?}");
        }
        assert_eq!(own.perform(&mut tier, &read(0, Some(1)), b"").1, b"\0");
    }

    #[test]
    fn lists_are_kept_and_bounded() {
        let (mut own, mut tier) = (page_only(&["*"]), LocalTier::new());
        let key = String::from("l");
        let append = Request::AppendState { key: key.clone() };
        let mut elements = |own: &mut PageOnly, count| {
            own.perform(&mut tier, &Request::ReadAppended { key: key.clone(), count }, b"").1
        };
        assert_eq!(elements(&mut own, 9), b"");
        let mut other = LocalTier::new();
        for element in [&b"a"[..], b"", b"bc"] {
            assert_eq!(own.perform(&mut other, &append, element).0, Reply::Done);
        }
        for (count, bytes) in [(0, &b""[..]), (1, b"a"), (2, b"a"), (3, b"abc"), (4, b"abc")] {
            assert_eq!(elements(&mut own, count), bytes);
        }
        let long = vec![0; MAX_PAYLOAD_BYTES - 2];
        let (reply, _) = own.perform(&mut other, &append, &long);
        assert!(matches!(reply, Reply::Failed { code: FailureCode::BadRequest, .. }));
        own.perform(&mut other, &Request::ClearAppended { key: key.clone() }, b"");
        assert_eq!(elements(&mut own, 9), b"");
    }
}

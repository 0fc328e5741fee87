//! Whether two runs are equal, and otherwise where they differ.

use crate::run::{Ending, Event, FinalState, Observed};
use wasmtime::Trap;

/// The result of a comparison.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Comparison {
    Alike,
    /// They cannot be compared completely, for a documented reason.
    Inconclusive(&'static str),
    Differ(String),
}

/// Compares the run of another form with that of the original.
pub fn compare(original: &Observed, other: &Observed) -> Comparison {
    if let Some(reason) = inconclusive(original, other) {
        return Comparison::Inconclusive(reason);
    }
    let ends = || format!("; it ended as {:?} and ends as {:?}", original.ending, other.ending);
    let differs = events(&original.events, &other.events)
        .map(|what| what + &ends())
        .or_else(|| ending(&original.ending, &other.ending))
        .or_else(|| final_state(original.final_state.as_ref(), other.final_state.as_ref()));
    differs.map_or(Comparison::Alike, Comparison::Differ)
}

fn inconclusive(original: &Observed, other: &Observed) -> Option<&'static str> {
    match (&original.ending, &other.ending) {
        // `rewriter/src/asyncify/buffer.rs`: an access past the guest's memory traps some pages late.
        (Ending::Trapped(Trap::MemoryOutOfBounds), _) => Some("out of bounds"),
        (_, Ending::BufferFull) => Some("buffer full"),
        (Ending::Trapped(Trap::StackOverflow), _) => Some("stack exhausted"),
        (Ending::Trapped(Trap::Interrupt), _) => Some("original does not end"),
        _ => None,
    }
}

fn events(original: &[Event], other: &[Event]) -> Option<String> {
    let differing = original.iter().zip(other).position(|(one, two)| one != two);
    let at = differing.or((original.len() != other.len()).then(|| original.len().min(other.len())));
    let at = at?;
    let show = |events: &[Event]| match events.get(at) {
        None => format!("nothing, after {} events", events.len()),
        Some(Event::Waiting { memory }) => format!("waiting with {} bytes of memory", memory.len()),
        Some(event) => format!("{event:?}"),
    };
    let (one, two) = (show(original), show(other));
    let place = match (original.get(at), other.get(at)) {
        (Some(Event::Waiting { memory: one }), Some(Event::Waiting { memory: two })) => {
            memory(one, two).unwrap_or_default()
        }
        _ => String::new(),
    };
    Some(format!("event {at} was {one} and is {two} {place}").trim_end().to_owned())
}

fn ending(original: &Ending, other: &Ending) -> Option<String> {
    if let (Ending::Trapped(_), Ending::Trapped(Trap::UnreachableCodeReached)) = (original, other) {
        // Binaryen replaces code that it knows to trap by `unreachable`.
        return None;
    }
    (original != other).then(|| format!("it ended as {original:?} and ends as {other:?}"))
}

fn final_state(original: Option<&FinalState>, other: Option<&FinalState>) -> Option<String> {
    let (Some(original), Some(other)) = (original, other) else {
        return (original.is_some() != other.is_some()).then(|| "one was not started".to_owned());
    };
    memory(&original.memory, &other.memory)
        .or_else(|| listed("global", &original.globals, &other.globals))
        .or_else(|| listed("table", &original.tables, &other.tables))
}

fn memory(original: &[u8], other: &[u8]) -> Option<String> {
    if original.len() != other.len() {
        return Some(format!("memory had {} bytes and has {}", original.len(), other.len()));
    }
    // Compare whole slices first: most are equal.
    if original == other {
        return None;
    }
    let at = original.iter().zip(other).position(|(one, two)| one != two)?;
    Some(format!("memory at {at:#x} was {:#x} and is {:#x}", original[at], other[at]))
}

/// Compares items of the same name; the other form exports more.
fn listed<T: PartialEq + std::fmt::Debug>(
    kind: &str,
    original: &[(String, T)],
    other: &[(String, T)],
) -> Option<String> {
    original.iter().find_map(|(name, value)| {
        let now = other.iter().find(|(other, _)| other == name).map(|(_, value)| value);
        (now != Some(value)).then(|| format!("{kind} `{name}` was {value:?} and is {now:?}"))
    })
}

//! The second target: no input crashes the rewriter.
//!
//! Inputs are modules of every proposal, unchanged and damaged. Damage affects bytes, or whole sections, which keeps
//! more modules valid. (The crate `wasm-mutate` could also rewrite by equivalences, but depends on unmaintained
//! crates.)

use crate::differential::{PASSES, Tools};
use crate::finding::{Finding, Kind, guarded};
use crate::random::Rng;
use crate::{generate, refusal};
use faasm_asyncify::{Error, Options, build, inspect, normalise, shim, why};

/// The result of an input: the names of the errors, and the unexplained errors.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    pub errors: Vec<String>,
    pub unexplained: Vec<Finding>,
}

/// A damaged module.
pub fn input(seed: u64, corpus: &[Vec<u8>]) -> Vec<u8> {
    let mut rng = Rng::new(seed);
    let mut wasm = base(corpus, &mut rng);
    let other = base(corpus, &mut rng);
    for _ in 0..rng.below(5) {
        damage(&mut wasm, &other, &mut rng);
    }
    wasm
}

fn base(corpus: &[Vec<u8>], rng: &mut Rng) -> Vec<u8> {
    let made = match rng.below(6) {
        0 | 1 => rng.pick(corpus).cloned(),
        2 => generate::function(rng.number(), &PASSES),
        3 => generate::any_module(rng),
        // The rewriter does little with a module without an entry.
        _ => generate::any_function(rng),
    };
    made.unwrap_or_default()
}

fn damage(wasm: &mut Vec<u8>, other: &[u8], rng: &mut Rng) {
    match rng.below(10) {
        0 => edit(wasm, other, rng),
        1 => replace_section(wasm, other, rng),
        _ => edit_section(wasm, other, rng),
    }
}

/// Changes, removes or inserts a few bytes.
pub(crate) fn edit(bytes: &mut Vec<u8>, other: &[u8], rng: &mut Rng) {
    const TELLING: [u8; 8] = [0, 1, 0x0b, 0x40, 0x70, 0x7f, 0x80, 0xff];
    let (at, length) = (rng.below(bytes.len()), 1 + rng.below(16));
    let end = bytes.len().min(at + length);
    match rng.below(12) {
        0 => bytes.truncate(at),
        1 => drop(bytes.drain(at..end)),
        2 => {
            let more = rng.bytes(length);
            bytes.splice(at..at, more).for_each(drop);
        }
        3 => {
            let again = bytes[at..end].to_vec();
            bytes.splice(at..at, again).for_each(drop);
        }
        4 if !other.is_empty() => {
            let from = rng.below(other.len());
            let part = &other[from..other.len().min(from + 4 * length)];
            bytes.splice(at..end, part.iter().copied()).for_each(drop);
        }
        5..8 if at < end => bytes[at] = TELLING[rng.below(TELLING.len())],
        8 | 9 if at < end => bytes[at] = bytes[at].wrapping_add(1),
        _ if at < end => bytes[at] ^= 1 << rng.below(8),
        _ => {}
    }
}

/// Changes the inside of a section, and makes its size fit.
fn edit_section(wasm: &mut Vec<u8>, other: &[u8], rng: &mut Rng) {
    let Some(section) = rng.pick(&sections(wasm)).cloned() else { return };
    let mut body = wasm[section.body..section.end].to_vec();
    edit(&mut body, other, rng);
    let mut whole = vec![wasm[section.start]];
    let mut size = body.len();
    while size >= 0x80 {
        whole.push(size as u8 | 0x80);
        size >>= 7;
    }
    whole.push(size as u8);
    whole.append(&mut body);
    wasm.splice(section.start..section.end, whole).for_each(drop);
}

/// Takes a section away, or puts one of another module in its place.
fn replace_section(wasm: &mut Vec<u8>, other: &[u8], rng: &mut Rng) {
    let Some(section) = rng.pick(&sections(wasm)).cloned() else { return };
    let replacement = match rng.pick(&sections(other)) {
        Some(theirs) if rng.chance(70) => &other[theirs.start..theirs.end],
        _ => &[],
    };
    wasm.splice(section.start..section.end, replacement.iter().copied()).for_each(drop);
}

/// Offsets of a section: its start, the end of its size field, and its end.
#[derive(Clone, Debug)]
struct Section {
    start: usize,
    body: usize,
    end: usize,
}

fn sections(wasm: &[u8]) -> Vec<Section> {
    let mut sections = Vec::new();
    let mut start = 8;
    while start + 1 < wasm.len() {
        let mut reader = wasmparser::BinaryReader::new(&wasm[start + 1..], 0);
        let Ok(size) = reader.read_var_u32() else { break };
        let body = start + 1 + reader.original_position();
        let end = body + size as usize;
        if end > wasm.len() {
            break;
        }
        sections.push(Section { start, body, end });
        start = end;
    }
    sections
}

/// Passes an input to every stage of the rewriter; to the slow ones only if it is to be `built`.
///
/// # Errors
/// A panic, or a result that is not valid.
pub fn check(tools: &Tools, wasm: &[u8], built: bool) -> Result<Outcome, Finding> {
    let mut outcome = Outcome::default();
    let report = outcome.note(guarded("inspect", || inspect(wasm))?);
    let Some(normalised) = outcome.note(guarded("normalise", || normalise(wasm))?) else {
        return Ok(outcome);
    };
    valid("normalise", &normalised.wasm)?;
    let Some(shimmed) = outcome.note(guarded("shim", || shim(&normalised.wasm))?) else {
        return Ok(outcome);
    };
    valid("shim", &shimmed)?;
    let names = report.map(|report| report.reach.functions).unwrap_or_default();
    for name in names.iter().take(3).map(String::as_str).chain(["_start", "no such function"]) {
        outcome.note(guarded("why", || why(&shimmed, name))?);
    }
    if built {
        for pass in &tools.passes {
            let options = Options { pass: *pass, ..Options::new(tools.binaryen.clone()) };
            let built = guarded("build", || build("fuzz", "fuzz.wasm", wasm, &options, |_| {}))?;
            if let Some(built) = outcome.note(built) {
                for artefact in [Some(built.jspi), built.asyncify].into_iter().flatten() {
                    valid("build", &artefact)?;
                }
            }
        }
    }
    Ok(outcome)
}

fn valid(stage: &str, wasm: &[u8]) -> Result<(), Finding> {
    wasmparser::validate(wasm).map(drop).map_err(|error| {
        Finding::new(Kind::Artefact, format!("{stage} gives an invalid module: {error}"))
    })
}

impl Outcome {
    fn note<T>(&mut self, result: Result<T, Error>) -> Option<T> {
        let error = match result {
            Ok(value) => return Some(value),
            Err(error) => error,
        };
        if refusal::is_unexplained(&error) {
            self.unexplained.push(Finding::new(Kind::Error, error.to_string()));
        }
        self.errors.push(refusal::variant(&error));
        None
    }
}

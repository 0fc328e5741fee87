//! The third target: every decoder of external bytes accepts or rejects them, and never panics.
//!
//! * `seeds.rs`: valid bytes.
//! * `damage.rs`: damages them.
//! * `frames.rs`, `sessions.rs`, `tokens.rs`, `texts.rs`: the decoders, and the laws that hold for accepted input.
//!
//! An input is bytes and the name of its decoder, which is also the extension of a finding's file.

mod damage;
mod frames;
mod seeds;
mod sessions;
mod texts;
mod tokens;

use crate::corpus;
use crate::finding::{Finding, Kind, guarded};
use crate::random::Rng;
use anyhow::{Context as _, Result};
use std::cell::OnceCell;
use std::path::{Path, PathBuf};
use std::{fs, io};
use tempfile::TempDir;

/// Percentage of inputs that are noise.
const NOISE: usize = 10;
/// Maximum length of noise in bytes.
const NOISE_BYTES: usize = 300;
/// Percentage of the other inputs that stay undamaged.
const UNDAMAGED: usize = 10;
/// Maximum number of damages of one input.
const MOST_DAMAGE: usize = 6;

/// A decoder of external bytes.
#[derive(Debug)]
pub struct Decoder {
    pub name: &'static str,
    /// Whether it reads files, and therefore gets fewer inputs.
    pub is_slow: bool,
    /// Creates valid bytes.
    seed: fn(&mut Rng) -> Vec<u8>,
    /// Whether the bytes are accepted, or the violated law.
    check: fn(&[u8]) -> Result<bool, String>,
}

/// All decoders.
pub static DECODERS: [Decoder; 13] = [
    Decoder {
        name: "client-message",
        is_slow: false,
        seed: seeds::client_frame,
        check: frames::client_message,
    },
    Decoder {
        name: "server-message",
        is_slow: false,
        seed: seeds::server_frame,
        check: frames::server_message,
    },
    Decoder { name: "hello", is_slow: false, seed: seeds::hello, check: frames::hello },
    Decoder { name: "answer", is_slow: false, seed: seeds::answer, check: frames::answer },
    Decoder { name: "batch", is_slow: false, seed: seeds::batch, check: frames::batch },
    Decoder {
        name: "server-session",
        is_slow: false,
        seed: sessions::page_frames,
        check: sessions::server,
    },
    Decoder {
        name: "client-session",
        is_slow: false,
        seed: sessions::relay_frames,
        check: sessions::client,
    },
    Decoder { name: "token", is_slow: false, seed: tokens::token, check: tokens::verify },
    Decoder { name: "keys", is_slow: true, seed: tokens::key_file, check: tokens::load },
    Decoder { name: "settings", is_slow: true, seed: seeds::settings, check: texts::settings },
    Decoder { name: "manifest", is_slow: false, seed: seeds::manifest, check: texts::documents },
    Decoder {
        name: "call-message",
        is_slow: false,
        seed: seeds::call_message,
        check: texts::call_message,
    },
    Decoder {
        name: "planner-answer",
        is_slow: false,
        seed: seeds::planner_answer,
        check: texts::planner_answer,
    },
];

impl Decoder {
    /// The decoder that a file's extension names.
    pub fn of(path: &Path) -> Option<&'static Self> {
        let ending = path.extension()?;
        DECODERS.iter().find(|decoder| ending == decoder.name)
    }

    /// Decodes bytes; returns whether they are accepted.
    ///
    /// # Errors
    /// A panic, or a violated law.
    pub fn check(&self, bytes: &[u8]) -> Result<bool, Finding> {
        let check = self.check;
        let finding = match guarded(self.name, || check(bytes)) {
            Ok(Ok(taken)) => return Ok(taken),
            Ok(Err(law)) => Finding::new(Kind::Law, format!("{}: {law}", self.name)),
            Err(finding) => finding,
        };
        Err(finding.of(self.name))
    }

    /// The input of a seed: noise, or valid bytes with random damage. `kept` are inputs of earlier findings.
    pub fn input(&self, seed: u64, kept: &[Kept]) -> Vec<u8> {
        let mut rng = Rng::new(seed);
        if rng.chance(NOISE) {
            let length = rng.below(NOISE_BYTES);
            return rng.bytes(length);
        }
        let mut bytes = (self.seed)(&mut rng);
        if rng.chance(NOISE)
            && let Some(kept) = rng.pick(kept)
            && kept.decoder.name == self.name
        {
            bytes.clone_from(&kept.bytes);
        }
        if rng.chance(UNDAMAGED) {
            return bytes;
        }
        let other = (self.seed)(&mut rng);
        for _ in 0..=rng.below(MOST_DAMAGE) {
            damage::damage(&mut bytes, &other, &mut rng);
        }
        bytes
    }
}

thread_local! {
    /// For decoders that read only files.
    static FOLDER: OnceCell<TempDir> = const { OnceCell::new() };
}

/// A file with these bytes, for this thread.
fn file(name: &str, bytes: &[u8]) -> Result<PathBuf, String> {
    let written = FOLDER.with(|folder| {
        if folder.get().is_none() {
            // The cell belongs to this thread, so no other thread sets it.
            let _ = folder.set(tempfile::tempdir()?);
        }
        let folder = folder.get().ok_or_else(|| io::Error::other("there is no folder"))?;
        let path = folder.path().join(name);
        fs::write(&path, bytes).map(|()| path)
    });
    written.map_err(|error| format!("the fuzzer cannot write `{name}`: {error}"))
}

/// A message to operators or peers must not be empty.
fn told(message: &str) -> Result<(), String> {
    if message.trim().is_empty() { Err("an error without a message".to_owned()) } else { Ok(()) }
}

/// An input that every run checks.
#[derive(Clone, Debug)]
pub struct Kept {
    pub decoder: &'static Decoder,
    pub bytes: Vec<u8>,
}

/// Inputs of decoders among the regressions, in order of their names.
///
/// # Errors
/// The folder or a file cannot be read.
pub fn regressions() -> Result<Vec<Kept>> {
    let folder = corpus::folder("regressions");
    let entries = fs::read_dir(&folder).with_context(|| format!("reading {}", folder.display()))?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    paths.sort();
    let kept = paths.iter().filter_map(|path| Some((path, Decoder::of(path)?)));
    kept.map(|(path, decoder)| {
        let bytes = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
        Ok(Kept { decoder, bytes })
    })
    .collect()
}

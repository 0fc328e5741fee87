//! A finding: what is wrong, and the module or other input that reproduces it.

use crate::random::hash;
use anyhow::{Context as _, Result};
use std::cell::{Cell, RefCell};
use std::fs;
use std::panic::{UnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

/// The kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A form of the function does not behave like the original.
    Difference,
    /// The rewriter or a decoder panicked.
    Panic,
    /// The rewriter rejected valid input, or reported an internal error.
    Error,
    /// The rewriter's output is invalid, or not deterministic.
    Artefact,
    /// A decoder accepted invalid input, or changed its meaning.
    Law,
    /// The time limit was exceeded.
    Hang,
}

/// Something that must not happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub kind: Kind,
    pub message: String,
    /// Extension of its input's file: [`MODULE`], or the name of a decoder.
    pub ending: &'static str,
}

/// Extension of modules' files.
pub const MODULE: &str = "wasm";

impl Finding {
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), ending: MODULE }
    }

    /// The same finding for an input that is not a module.
    #[must_use]
    pub fn of(self, ending: &'static str) -> Self {
        Self { ending, ..self }
    }

    /// Saves the input and the message; returns the input's path.
    ///
    /// # Errors
    /// The folder cannot be written to.
    pub fn save(&self, folder: &Path, input: &[u8]) -> Result<PathBuf> {
        fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
        let name = format!("{}-{:016x}", crate::refusal::variant(&self.kind), hash(input));
        let path = folder.join(format!("{name}.{}", self.ending));
        fs::write(&path, input).with_context(|| format!("writing {}", path.display()))?;
        let text = path.with_extension("txt");
        fs::write(&text, format!("{}\n", self.message))
            .with_context(|| format!("writing {}", text.display()))?;
        Ok(path)
    }

    /// The common part of findings with one cause: the message without numbers and types, and for a difference only its
    /// location.
    pub fn class(&self) -> String {
        let first = self.message.lines().next().unwrap_or_default();
        let first = first.split(" from ").next().unwrap_or_default();
        let words = if self.kind == Kind::Difference { 2 } else { 30 };
        let text: Vec<&str> = first.split(' ').take(words).collect();
        let text: String = text.join(" ").chars().filter(|c| !c.is_ascii_digit()).collect();
        format!("{:?}: {text}", self.kind)
    }
}

thread_local! {
    static IS_GUARDED: Cell<bool> = const { Cell::new(false) };
    static LAST_PANIC: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Suppresses the output of panics inside [`guarded`], which reports them.
pub fn keep_panics() {
    let default = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if IS_GUARDED.get() {
            LAST_PANIC.with(|last| *last.borrow_mut() = info.to_string());
        } else {
            default(info);
        }
    }));
}

/// Runs a stage of the rewriter, in which a panic is a finding.
///
/// # Errors
/// [`Kind::Panic`], with the message and its location.
pub fn guarded<T>(stage: &str, run: impl FnOnce() -> T + UnwindSafe) -> Result<T, Finding> {
    let was_guarded = IS_GUARDED.replace(true);
    let result = catch_unwind(run);
    IS_GUARDED.set(was_guarded);
    result.map_err(|_| {
        let message = LAST_PANIC.with(|last| last.take());
        Finding::new(Kind::Panic, format!("{stage}: {message}"))
    })
}

//! A finding: what was wrong, and the module or other input with which it can be seen again.

use crate::random::hash;
use anyhow::{Context as _, Result};
use std::cell::{Cell, RefCell};
use std::fs;
use std::panic::{UnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A form of the function does not behave like the original.
    Difference,
    /// The rewriter or a decoder panicked.
    Panic,
    /// The rewriter refused what it has to accept, or with an error that asks for a report.
    Error,
    /// What the rewriter made is not valid, or is not the same twice.
    Artefact,
    /// A decoder took what it must not, or made something else of it.
    Law,
    /// It took too long.
    Hang,
}

/// Something that must not happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub kind: Kind,
    pub message: String,
    /// How the file of its input ends: [`MODULE`], or the name of a decoder.
    pub ending: &'static str,
}

/// How files of modules end.
pub const MODULE: &str = "wasm";

impl Finding {
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), ending: MODULE }
    }

    /// The same, with an input that is not a module.
    #[must_use]
    pub fn of(self, ending: &'static str) -> Self {
        Self { ending, ..self }
    }

    /// Saves the input and the message; gives the input's path.
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

    /// What findings of one cause have in common: the message without numbers and types, and of a difference only where
    /// it is.
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

/// Makes panics inside of [`guarded`] quiet, which reports them.
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
/// [`Kind::Panic`], with the message and its place.
pub fn guarded<T>(stage: &str, run: impl FnOnce() -> T + UnwindSafe) -> Result<T, Finding> {
    let was_guarded = IS_GUARDED.replace(true);
    let result = catch_unwind(run);
    IS_GUARDED.set(was_guarded);
    result.map_err(|_| {
        let message = LAST_PANIC.with(|last| last.take());
        Finding::new(Kind::Panic, format!("{stage}: {message}"))
    })
}

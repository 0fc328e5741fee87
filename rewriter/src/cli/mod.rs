//! The subcommands, one file each, and functions that all of them use to read a function and write a result.

pub(crate) mod binaryen;
pub(crate) mod build;
pub(crate) mod completions;
pub(crate) mod explain;
pub(crate) mod inspect;
pub(crate) mod man;
mod outcome;
pub(crate) mod run;
mod table;
pub(crate) mod upload;

use anyhow::{Context, Result, anyhow};
use faasm_bridge::explain::with_link;
use std::io::{ErrorKind, Write};
use std::path::Path;

/// Reads a function's file.
fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => {
            anyhow!("{} does not exist; build the function first", path.display())
        }
        ErrorKind::IsADirectory => {
            anyhow!("{} is a folder; name the function's .wasm file in it", path.display())
        }
        _ => anyhow!("cannot read {}: {error}", path.display()),
    })
}

/// The name of the function in a file: the file's name up to the last dot.
fn name_of(path: &Path) -> Result<&str> {
    path.file_stem()
        .and_then(|stem| stem.to_str())
        .with_context(|| format!("the name of {} cannot be the name of a function", path.display()))
}

/// Writes to standard output; a closed pipe is no error.
fn print(text: &str) -> Result<()> {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        result => result.context("cannot write to standard output"),
    }
}

/// `1.2 MB`, or `345 B` for less than a kilobyte.
fn human(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}

/// An error in one line, with its causes; one of the library's ends with the address of its code's page.
pub(crate) fn describe(error: &anyhow::Error) -> String {
    let message = format!("{error:#}");
    match error.chain().find_map(|cause| cause.downcast_ref::<faasm_asyncify::Error>()) {
        Some(known) => with_link(message, known.code().as_str()),
        None => message,
    }
}

//! The errors of reading, building and rewriting a function.
//!
//! Every message says what was found, where, and what to do next. The caller adds the file name, because this library
//! only sees bytes.

use faasm_bridge::BuildCode;
use std::path::PathBuf;

/// Why a function cannot be read or built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error(
        "no function is called `{function}`; `faasm-asyncify inspect --json` lists those that can suspend"
    )]
    NoFunction { function: String },
    #[error(
        "Binaryen left `{function}` as it was, though it can suspend; report this with the function"
    )]
    NotInstrumented { function: String },
    #[error("the file is empty; build the function again")]
    Empty,
    #[error(
        "the file ends early, at byte {offset:#x}: it was cut off; copy or build the function again"
    )]
    Truncated { offset: usize },
    #[error(
        "this is WebAssembly text, not a binary (byte 0x0); translate it with `wat2wasm` or `wasm-tools parse` first"
    )]
    Text,
    #[error(
        "this is not WebAssembly: it starts with {found} at byte 0x0 instead of `\\0asm`; give the linked function"
    )]
    NotWasm { found: String },
    #[error(
        "WebAssembly version {version} (byte 0x4) is not known; WebAssembly has version 1 only, so build the function as a core module"
    )]
    Version { version: u16 },
    #[error(
        "this is a component (byte 0x4); build a core module instead, with target `wasm32-wasip1` or `wasm32-wasi`"
    )]
    Component,
    #[error(
        "already instrumented: it {evidence}; give the original binary, as the toolchain made it"
    )]
    AlreadyInstrumented { evidence: String },
    #[error(
        "the memory is 64-bit (byte {offset:#x}), which the host interface is not; build for wasm32"
    )]
    Memory64 { offset: usize },
    #[error(
        "the memory is shared between threads (byte {offset:#x}), which functions cannot use; build without `-pthread`"
    )]
    SharedMemory { offset: usize },
    #[error(
        "there are {count} memories, and the host interface knows one; link the function with a single memory"
    )]
    Memories { count: u32 },
    #[error(
        "there is no memory, which every host call needs; link the function as a command with a memory"
    )]
    NoMemory,
    #[error(
        "the memory is not exported as `memory`, which Faasm's WAMR needs; link the function as a command, without \
         `--no-export-memory`"
    )]
    MemoryNotExported,
    #[error("{what}, so loading it would terminate a Faasm worker; {advice}")]
    NotLoadable { what: String, advice: &'static str },
    #[error(
        "not valid at byte {offset:#x}{place}: {message}; build the function again with a current toolchain, and without \
         proposals that the standard of WebAssembly does not have yet",
        place = in_function(.function)
    )]
    Invalid { offset: usize, function: Option<String>, message: String },
    #[error(
        "`{instruction}` at byte {offset:#x}{place} was only in the draft of SIMD, and has no equivalent in current \
         WebAssembly; build the function again with a current toolchain",
        place = in_function(.function)
    )]
    DraftSimd { offset: usize, function: Option<String>, instruction: &'static str },
    #[error(
        "there are {found} {what}{place}, and at most {most} are allowed; {advice}",
        place = in_function(.function)
    )]
    Bound {
        what: &'static str,
        found: usize,
        most: usize,
        function: Option<String>,
        advice: &'static str,
    },
    #[error("it uses {feature}, which {who} cannot handle; {advice}")]
    Feature { feature: &'static str, who: &'static str, advice: &'static str },
    #[error(
        "import `{import}` has type {found}, but the host interface has {expected}; build against its current headers"
    )]
    Signature { import: String, found: String, expected: String },
    #[error(
        "import `{import}` is a {kind}, and the host gives only functions; link the function as a plain command"
    )]
    ForeignImport { import: String, kind: &'static str },
    #[error(
        "there is nothing to run: neither `_start` nor `main` is an exported function; link as a command, not a library"
    )]
    NoEntry,
    #[error(
        "it is a reactor: it exports `_initialize` and no `_start`, so it has no program of its own; link as a command, \
         without `-mexec-model=reactor` (in Emscripten, without `--no-entry`)"
    )]
    Reactor,
    #[error(
        "export `{export}` has type {found}, but it has to be {expected}; link it as the toolchain's start file does"
    )]
    EntrySignature { export: String, found: String, expected: &'static str },
    #[error(
        "it cannot be built for a Faasm cluster, which does not support its imports: {imports}"
    )]
    NotInFaasm { imports: String },
    #[error("{what} in {functions}; {advice}")]
    Unsupported { what: &'static str, functions: String, advice: &'static str },
    #[error(
        "the memory starts with {initial} pages, which leaves no space for {pages} more of the unwind buffer; \
         use a smaller `--stack-size` or a smaller initial memory"
    )]
    NoRoom { initial: u64, pages: u64 },
    #[error("a stack size of {bytes} bytes cannot be used; give 16 to 1073741824")]
    StackSize { bytes: u32 },
    #[error(
        "`{name}` cannot be a function's name; use letters, digits, `-`, `_` and `.`, \
         starting with a letter or digit and not ending in `.asyncify`, `.cluster` or `.names`"
    )]
    Name { name: String },
    #[error("the module could not be read for rewriting: {message}; please report this binary")]
    Rewrite { message: String },
    #[error("stage {stage} changed {what}, which must stay as it is; please report this binary")]
    Changed { stage: &'static str, what: String },
    #[error("cannot start {program}: {source}")]
    BinaryenStart { program: PathBuf, source: std::io::Error },
    #[error(
        "{who} cannot read the module: {message}; give a newer one with `--wasm-opt`, or build the function for an older \
         WebAssembly, as with `-mcpu=mvp`"
    )]
    Unreadable { message: String, who: &'static str },
    #[error("Binaryen failed ({status}): {stderr}")]
    Binaryen { status: String, stderr: String },
    #[error(
        "Binaryen was still running after {seconds} s and was killed; raise the limit with `--timeout`, or split the \
         largest functions"
    )]
    BinaryenTimeout { seconds: u64 },
    #[error(
        "Binaryen needed more than {mebibytes} MiB and was killed; raise the limit with `--memory-limit`"
    )]
    BinaryenMemory { mebibytes: u64 },
    #[error("{path}: {source}")]
    File { path: PathBuf, source: std::io::Error },
}

impl Error {
    /// Stable identifier for programs; `faasm-asyncify explain CODE` prints its page.
    pub fn code(&self) -> BuildCode {
        match self {
            Error::Empty
            | Error::Truncated { .. }
            | Error::Text
            | Error::NotWasm { .. }
            | Error::Version { .. }
            | Error::Component => BuildCode::NotWasm,
            Error::AlreadyInstrumented { .. } => BuildCode::AlreadyInstrumented,
            Error::Memory64 { .. }
            | Error::SharedMemory { .. }
            | Error::Memories { .. }
            | Error::NoMemory
            | Error::MemoryNotExported
            | Error::NoRoom { .. } => BuildCode::BadMemory,
            Error::Invalid { .. } => BuildCode::InvalidModule,
            Error::Bound { .. } => BuildCode::TooComplex,
            Error::DraftSimd { .. }
            | Error::Feature { .. }
            | Error::Unsupported { .. }
            | Error::Unreadable { .. }
            | Error::NotLoadable { .. } => BuildCode::UnsupportedFeature,
            Error::Signature { .. } | Error::ForeignImport { .. } | Error::NotInFaasm { .. } => {
                BuildCode::WrongImport
            }
            Error::NoEntry | Error::Reactor | Error::EntrySignature { .. } => {
                BuildCode::NotACommand
            }
            Error::NoFunction { .. } | Error::StackSize { .. } | Error::Name { .. } => {
                BuildCode::InvalidArgument
            }
            Error::NotInstrumented { .. } | Error::Rewrite { .. } | Error::Changed { .. } => {
                BuildCode::RewriterBug
            }
            Error::BinaryenStart { .. }
            | Error::Binaryen { .. }
            | Error::BinaryenTimeout { .. }
            | Error::BinaryenMemory { .. } => BuildCode::BinaryenFailed,
            Error::File { .. } => BuildCode::FileError,
        }
    }

    /// Whether the function does what Asyncify, or the Binaryen in use, cannot do, and nothing else is wrong with it.
    pub fn is_limit_of_asyncify(&self) -> bool {
        matches!(self, Error::Unsupported { .. } | Error::Unreadable { .. } | Error::Feature { .. })
    }

    pub(crate) fn changed(stage: &'static str, what: impl Into<String>) -> Error {
        Error::Changed { stage, what: what.into() }
    }
}

fn in_function(function: &Option<String>) -> String {
    function.as_ref().map_or_else(String::new, |name| format!(" in function `{name}`"))
}

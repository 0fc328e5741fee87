//! `faasm-asyncify build`: from a function to what a web page loads.

use super::{human, name_of, print, read};
use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use faasm_asyncify::{Binaryen, Built, Files, Options, Stage};
use faasm_bridge::manifest::UnwindBuffer;
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Build functions for the browser
///
/// Writes NAME.wasm (for engines with JavaScript Promise Integration), NAME.asyncify.wasm (for all others) and NAME.json
/// (the manifest) for each function; NAME is the input's file name without its ending.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Functions, as the toolchain linked them
    #[arg(required = true, value_name = "FUNCTION.wasm")]
    functions: Vec<PathBuf>,
    /// Folder for the results, made if it is missing
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
    /// Room for the suspended stack
    #[arg(long, value_name = "BYTES", default_value_t = Options::STACK_SIZE)]
    stack_size: u32,
    /// Refuse functions with imports that are not in the host interface
    #[arg(long)]
    deny_unknown: bool,
    /// Print the results as JSON
    #[arg(long)]
    json: bool,
    /// Seconds after which instrumenting one function is given up
    #[arg(long, value_name = "SECONDS", default_value_t = Binaryen::TIMEOUT.as_secs())]
    timeout: u64,
}

/// What `--json` prints for a function.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Outcome {
    name: String,
    files: [PathBuf; 3],
    bytes: Sizes,
    suspending: Vec<String>,
    functions: Functions,
    buffer: Option<UnwindBuffer>,
    warnings: Vec<String>,
}

/// Functions that can be on the stack when another suspends, of all; and how many Binaryen would take for such.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Functions {
    instrumented: usize,
    total: usize,
    by_default: usize,
}

#[derive(Debug, Serialize)]
struct Sizes {
    original: u64,
    jspi: u64,
    asyncify: u64,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    check_names(arguments)?;
    let mut binaryen = Binaryen::this_program().context("cannot find my own binary")?;
    binaryen.timeout = Duration::from_secs(arguments.timeout);
    let options = Options { stack_size: arguments.stack_size, ..Options::new(binaryen) };

    let mut outcomes = Vec::new();
    for path in &arguments.functions {
        let outcome = build(path, arguments, &options)
            .with_context(|| format!("cannot build {}", path.display()))?;
        for warning in &outcome.warnings {
            eprintln!("warning: {}: {warning}", outcome.name);
        }
        if !arguments.json {
            print(&outcome.line(&arguments.output))?;
        }
        outcomes.push(outcome);
    }
    if arguments.json {
        print(&format!("{}\n", serde_json::to_string_pretty(&outcomes)?))?;
    }
    Ok(())
}

/// Results must neither replace each other nor an input.
fn check_names(arguments: &Arguments) -> Result<()> {
    let mut names: BTreeMap<&str, &Path> = BTreeMap::new();
    for path in &arguments.functions {
        let name = name_of(path)?;
        if let Some(other) = names.insert(name, path) {
            bail!(
                "{} and {} are both functions called `{name}`; build them into different folders",
                other.display(),
                path.display()
            );
        }
    }
    let output = arguments.output.canonicalize().ok();
    for path in &arguments.functions {
        let folder = path.canonicalize().ok().and_then(|path| path.parent().map(Path::to_owned));
        ensure!(
            folder.is_none() || folder != output,
            "{} would be overwritten by its own result; choose another folder with --output",
            path.display()
        );
    }
    Ok(())
}

fn build(path: &Path, arguments: &Arguments, options: &Options) -> Result<Outcome> {
    let wasm = read(path)?;
    let name = name_of(path)?;
    let file = path.file_name().and_then(|file| file.to_str()).unwrap_or(name);
    let show_stages = std::io::stderr().is_terminal();
    let progress = |stage: Stage| {
        if show_stages {
            eprintln!("{name}: {stage}");
        }
    };
    let built = faasm_asyncify::build(name, file, &wasm, options, progress)?;
    let unknown = &built.manifest.imports.unknown;
    if arguments.deny_unknown && !unknown.is_empty() {
        bail!(
            "not in the host interface, and --deny-unknown is given: {}; link what defines them",
            unknown.join(", ")
        );
    }
    let files = faasm_asyncify::emit(&built, &arguments.output)?;
    Ok(Outcome::new(built, files))
}

impl Outcome {
    fn new(built: Built, files: Files) -> Outcome {
        let manifest = built.manifest;
        Outcome {
            name: manifest.name,
            files: [files.jspi, files.asyncify, files.manifest],
            bytes: Sizes {
                original: manifest.original.bytes,
                jspi: manifest.engines.jspi.bytes,
                asyncify: manifest.engines.asyncify.artefact.bytes,
            },
            suspending: manifest.imports.suspending,
            functions: Functions {
                instrumented: built.reach.functions.len(),
                total: built.reach.total,
                by_default: built.reach.by_default,
            },
            buffer: manifest.engines.asyncify.buffer,
            warnings: built.warnings.iter().map(ToString::to_string).collect(),
        }
    }

    fn line(&self, folder: &Path) -> String {
        let Sizes { original, jspi, asyncify } = self.bytes;
        let how = match self.buffer {
            Some(buffer) => {
                let Functions { instrumented, total, by_default } = self.functions;
                let stack = human(buffer.bytes.into());
                format!(
                    "{instrumented} of {total} functions, {by_default} by default; {stack} of stack"
                )
            }
            None => "never suspends".to_owned(),
        };
        format!(
            "{}: {} -> {} for JSPI, {} for Asyncify ({how}), in {}\n",
            self.name,
            human(original),
            human(jspi),
            human(asyncify),
            folder.display()
        )
    }
}

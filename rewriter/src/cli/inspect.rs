//! `faasm-asyncify inspect`: shows the properties and needs of a function.

use super::{human, print, read};
use anyhow::{Context, Result};
use clap::Args;
use faasm_asyncify::{CallKind, Error, Report, Step};
use faasm_bridge::host::Era;
use std::fmt::Write;
use std::path::PathBuf;

/// Show a function's properties, its imports, and where it would suspend
///
/// With --callgraph, for Graphviz: functions that can suspend are filled. A solid line is a direct call, a dotted line
/// a call through a known entry of the function table, a dashed line a call by pointer, which can reach any function of
/// the signature in its label. Draw it with `faasm-asyncify inspect --callgraph FUNCTION.wasm | dot -Tsvg -o
/// calls.svg`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// A function, as the toolchain linked it; with --wat, any WebAssembly module
    #[arg(value_name = "FUNCTION.wasm")]
    function: PathBuf,
    /// Print as JSON, with the names of the functions that can suspend
    #[arg(long, group = "view")]
    json: bool,
    /// Show the calls by which this function can suspend
    #[arg(long, value_name = "FUNCTION", group = "view")]
    why: Option<String>,
    /// Print the calls that can lead to a suspension as a graph, for Graphviz
    #[arg(long, group = "view")]
    callgraph: bool,
    /// Include all other calls in the graph
    #[arg(long, requires = "callgraph")]
    all: bool,
    /// Print as WebAssembly text; also accepts artefacts
    #[arg(long, group = "view")]
    wat: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let path = &arguments.function;
    let wasm = read(path)?;
    let shown = show(&wasm, arguments);
    print(&shown.with_context(|| format!("cannot inspect {}", path.display()))?)
}

fn show(wasm: &[u8], arguments: &Arguments) -> Result<String> {
    if arguments.wat {
        return wat(wasm);
    }
    if arguments.callgraph {
        return Ok(faasm_asyncify::callgraph(&shimmed(wasm)?, arguments.all)?);
    }
    if let Some(function) = &arguments.why {
        return Ok(explain(function, &faasm_asyncify::why(&shimmed(wasm)?, function)?));
    }
    let report = faasm_asyncify::inspect(wasm)?;
    if arguments.json {
        return Ok(format!("{}\n", serde_json::to_string_pretty(&report)?));
    }
    text(&report)
}

fn shimmed(wasm: &[u8]) -> Result<Vec<u8>, Error> {
    faasm_asyncify::shim(&faasm_asyncify::normalise(wasm)?.wasm)
}

/// Text of any module that can be read: of a function with current SIMD and exceptions, of any other module as it is.
fn wat(wasm: &[u8]) -> Result<String> {
    match faasm_asyncify::input::check(wasm) {
        Ok(function) => wasmprinter::print_bytes(function),
        Err(reason) => wasmprinter::print_bytes(wasm).map_err(|_| reason.into()),
    }
}

fn text(report: &Report) -> Result<String> {
    let mut out = String::new();
    let era = match report.era {
        Era::Legacy => "2019/20 (main, numbered system calls)",
        Era::Current | Era::Any => "2021 onward (_start, WASI)",
    };
    writeln!(out, "era:       {era}")?;
    writeln!(out, "entry:     {}", calls(&report.entry.main))?;
    writeln!(out, "pointers:  {}", calls(&report.entry.before_pointer))?;
    writeln!(out, "table:     {}", report.entry.table.as_deref().unwrap_or("none"))?;
    writeln!(out, "memory:    {}", report.entry.memory)?;
    writeln!(out, "malloc:    {}", report.entry.malloc.as_deref().unwrap_or("none"))?;
    writeln!(out, "features:  {}", or_none(&report.features.join(", ")))?;
    let (size, debug) = (human(report.bytes as u64), human(report.debug_bytes as u64));
    writeln!(out, "size:      {size}, of which debug information {debug}")?;
    let (can, reach) = (report.reach.functions.len(), &report.reach);
    writeln!(
        out,
        "suspends:  {can} of {} functions can be on the stack; {} if every indirect call could suspend",
        reach.total, reach.by_default
    )?;

    writeln!(out, "\nimports:")?;
    for class in ["ready", "planned", "cluster only", "unknown"] {
        let imports = report.imports.iter().filter(|import| import.status == class);
        for import in imports {
            let waits = if import.suspends { ", can wait" } else { "" };
            writeln!(out, "  {} {}", import.import, import.signature)?;
            writeln!(out, "    {class}{waits}: {}", import.summary)?;
        }
    }
    writeln!(out, "\nexports:")?;
    for (name, kind) in &report.exports {
        writeln!(out, "  {name}: {kind}")?;
    }
    for warning in &report.warnings {
        writeln!(out, "\nwarning: {warning}")?;
    }
    Ok(out)
}

fn explain(function: &str, steps: &[Step]) -> String {
    if steps.is_empty() {
        return format!("{function} cannot suspend\n");
    }
    let mut out = format!("{function}\n");
    for Step { kind, callee } in steps {
        let how = match kind {
            CallKind::Direct => "calls",
            CallKind::Table => "calls through the function table",
            CallKind::Indirect => "calls by pointer any function of the signature of",
            CallKind::Reference => "calls by reference any function of the signature of",
        };
        out.push_str(&format!("  {how} {callee}\n"));
    }
    out
}

fn calls(exports: &[String]) -> String {
    match exports {
        [] => "no call needed before".to_owned(),
        calls => calls.join(", then "),
    }
}

fn or_none(text: &str) -> &str {
    if text.is_empty() { "none" } else { text }
}

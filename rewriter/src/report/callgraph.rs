//! The call graph in Graphviz's language.
//!
//! ```dot
//! digraph "calls" {
//!   f3 [label="_start", style=filled, fillcolor="#ffd9b3"];                  // can suspend
//!   f1 [label="faasm_bridge.suspend", shape=doubleoctagon, style=filled, fillcolor="#ff9c66"];
//!   f3 -> f1;                                                               // a direct call
//!   f3 -> f2 [style=dashed, label="(i32) -> i32"];                          // to any function of the signature
//! }
//! ```

use crate::Error;
use crate::asyncify::analyse::{Analysis, CallKind, Edge, Labels, edges};
use crate::stages::normalise::parse;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use walrus::{FunctionId, FunctionKind, Module};

const SUSPENDS: &str = "#ff9c66";
const CAN_SUSPEND: &str = "#ffd9b3";

/// The calls of a shimmed module in Graphviz's language: those that can lead to a suspension, or `all`.
///
/// # Errors
/// A module that cannot be read.
pub fn callgraph(shimmed: &[u8], all: bool) -> Result<String, Error> {
    let module = parse(shimmed)?;
    let analysis = Analysis::of(&module);
    let is_shown = |function: FunctionId| all || analysis.suspends(function);
    let edges: Vec<Edge> = edges(&module)
        .into_iter()
        .filter(|edge| is_shown(edge.caller) && is_shown(edge.callee))
        .collect();
    let can_suspend: BTreeSet<FunctionId> = analysis.suspending().collect();
    let functions = module.funcs.iter().map(walrus::Function::id).filter(|id| is_shown(*id));

    let labels = Labels::of(&module);
    let mut out = String::from("digraph \"calls\" {\n  node [shape=box];\n");
    for id in functions {
        let style = if can_suspend.contains(&id) {
            format!(", style=filled, fillcolor=\"{CAN_SUSPEND}\"")
        } else if analysis.suspends(id) {
            format!(", shape=doubleoctagon, style=filled, fillcolor=\"{SUSPENDS}\"")
        } else {
            String::new()
        };
        line(
            &mut out,
            &format!("{} [label={}{style}]", node(id), quoted(&label(&module, &labels, id))),
        );
    }
    for Edge { caller, callee, kind, signature } in edges {
        let style = match kind {
            CallKind::Direct => "",
            CallKind::Table => "style=dotted",
            CallKind::Indirect => "style=dashed",
            CallKind::Reference => "style=\"dashed,bold\"",
        };
        let signature = signature.map(|signature| format!("label={}", quoted(&signature)));
        let attributes: Vec<&str> =
            [Some(style).filter(|style| !style.is_empty()), signature.as_deref()]
                .into_iter()
                .flatten()
                .collect();
        let attributes = match attributes.as_slice() {
            [] => String::new(),
            some => format!(" [{}]", some.join(", ")),
        };
        line(&mut out, &format!("{} -> {}{attributes}", node(caller), node(callee)));
    }
    out.push_str("}\n");
    Ok(out)
}

fn line(out: &mut String, statement: &str) {
    writeln!(out, "  {statement};").expect("writing to a string does not fail");
}

fn node(function: FunctionId) -> String {
    format!("f{}", function.index())
}

/// The label of an import is its import name, because toolchains give imports arbitrary debug names.
fn label(module: &Module, labels: &Labels<'_>, function: FunctionId) -> String {
    match &module.funcs.get(function).kind {
        FunctionKind::Import(import) => {
            let import = module.imports.get(import.import);
            format!("{}.{}", import.module, import.name)
        }
        _ => labels.get(function),
    }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

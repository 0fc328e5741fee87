//! Tables for people, figures for programs.

use super::column::Column;
use super::figures;
use super::node::Node;
use super::small::Small;
use super::suite::Measured;
use crate::figure;
use crate::stats::{Ratio, least};
use crate::table::Table;
use anyhow::Result;
use std::fmt::Write as _;
use std::path::Path;

/// The major version that the workspace depends on.
const WASMTIME: &str = "48";

/// Prints the summary of all workloads, and writes the requested files.
pub(crate) fn write(
    measured: &[Measured],
    small: &[Small],
    json: Option<&Path>,
    markdown: Option<&Path>,
) -> Result<()> {
    let figures = figures::all(measured, small);
    let targets = figure::table(&figures);
    let small = small_functions(small);
    println!("{small}\n{targets}");
    if let Some(path) = json {
        figure::write(&figures, path)?;
    }
    if let Some(path) = markdown {
        let tables: Vec<String> = measured.iter().map(workload).collect();
        let machine = figure::machine();
        let machine = format!("{machine}; Node {}, wasmtime {WASMTIME}.\n", Node::version()?);
        let text = format!("{machine}\n{}\n{small}\n{targets}", tables.join("\n"));
        figure::write_file(path, &text)?;
    }
    Ok(())
}

/// One workload's table.
pub(crate) fn workload(measured: &Measured) -> String {
    let mut table = Table::new(&[
        &measured.workload.to_string(),
        "bytes",
        "size",
        "V8",
        "V8, of -O2",
        "wasmtime",
        "wasmtime, of -O2",
        "build",
        "build, of -O2",
        "memory",
        "suspensions",
    ]);
    for column in &measured.columns {
        table.row([
            column.column.title().to_owned(),
            column.bytes.to_string(),
            format!("{:.3}", measured.size(column.column)),
            milliseconds(&column.v8),
            ratio(measured.v8(column.column)),
            milliseconds(&column.wasmtime),
            ratio(measured.wasmtime(column.column)),
            format!("{:.2} s", column.build_seconds()),
            format!("{:.2}", measured.build(column.column).value),
            format!("{:.0} MiB", column.build_mebibytes()),
            column.suspensions.map(|count| count.to_string()).unwrap_or_default(),
        ]);
    }
    let mut text = table.to_string();
    if let Some(reach) = measured.column(Column::Ours).reach {
        let _ = writeln!(
            text,
            "\nInstrumented: {} of {} functions; {} where every indirect call may suspend.",
            reach.instrumented, reach.total, reach.by_default
        );
    }
    text
}

fn milliseconds(nanoseconds: &[f64]) -> String {
    format!("{:.1} ms", least(nanoseconds.iter().copied()) / 1e6)
}

fn ratio(ratio: Ratio) -> String {
    format!("{:.3} ({:.2} to {:.2})", ratio.value, ratio.least, ratio.most)
}

fn small_functions(small: &[Small]) -> String {
    if small.is_empty() {
        return String::new();
    }
    let mut table = Table::new(&["small functions", "bytes, -O2", "bytes, ours", "size"]);
    for function in small.iter().filter(|function| function.is_compiled()) {
        table.row([
            function.name.clone(),
            function.plain.to_string(),
            function.ours.to_string(),
            format!("{:.3}", function.ratio()),
        ]);
    }
    table.to_string()
}

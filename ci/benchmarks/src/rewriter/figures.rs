//! The figures with targets, and whether the targets are met.

use super::column::Column;
use super::small::Small;
use super::suite::{Measured, MeasuredColumn};
use super::workload::{Form, KERNEL};
use crate::figure::{Figure, Target};
use crate::stats::{Ratio, geometric_mean, least, median};

/// Targets relative to `-O2`, where only `main` can block.
const MAIN_SIZE: f64 = 1.01;
const MAIN_TIME: f64 = 1.05;
const KERNEL_TIME: f64 = 1.02;
/// Target relative to the growth by Binaryen's default, where a callback deep inside can block; for this many of the
/// programs.
const DEEP_GROWTH: f64 = 0.8;
const DEEP_PROGRAMS: usize = 2;
const BUILD_TIME: f64 = 1.3;
const SMALL_SIZE: f64 = 1.08;

impl Measured {
    pub(crate) fn column(&self, column: Column) -> &MeasuredColumn {
        let found = self.columns.iter().find(|measured| measured.column == column);
        found.expect("every column of a workload is measured")
    }

    pub(crate) fn size(&self, column: Column) -> f64 {
        self.column(column).bytes as f64 / self.column(Column::O2).bytes as f64
    }

    pub(crate) fn v8(&self, column: Column) -> Ratio {
        Ratio::of(&self.column(column).v8, &self.column(Column::O2).v8)
    }

    pub(crate) fn wasmtime(&self, column: Column) -> Ratio {
        Ratio::of(&self.column(column).wasmtime, &self.column(Column::O2).wasmtime)
    }

    pub(crate) fn build(&self, column: Column) -> Ratio {
        let seconds = |column| -> Vec<f64> {
            self.column(column).builds.iter().map(|cost| cost.seconds).collect()
        };
        Ratio::of(&seconds(column), &seconds(Column::O2))
    }

    /// The measurements relative to `-O2`: size, and time in both engines.
    fn measures(&self, column: Column) -> [(&'static str, f64); 3] {
        [
            ("size", self.size(column)),
            ("time in V8", self.v8(column).value),
            ("time in wasmtime", self.wasmtime(column).value),
        ]
    }
}

impl MeasuredColumn {
    pub(crate) fn build_seconds(&self) -> f64 {
        least(self.builds.iter().map(|cost| cost.seconds))
    }

    pub(crate) fn build_mebibytes(&self) -> f64 {
        median(&self.builds.iter().map(|cost| cost.kibibytes as f64 / 1024.0).collect::<Vec<_>>())
    }
}

/// All figures, in the order of the report.
pub(crate) fn all(measured: &[Measured], small: &[Small]) -> Vec<Figure> {
    let mut figures = Vec::new();
    for one in measured {
        let workload = one.workload;
        for ((what, ours), (_, default)) in
            one.measures(Column::Ours).into_iter().zip(one.measures(Column::Default))
        {
            let (target, note) = match (workload.form, what) {
                (Form::Main, "size") if workload.program == KERNEL => (None, ""),
                (Form::Main, "size") => (Some(MAIN_SIZE), "of -O2"),
                (Form::Main, _) if workload.program == KERNEL => (Some(KERNEL_TIME), "of -O2"),
                (Form::Main, _) => (Some(MAIN_TIME), "of -O2"),
                (Form::Deep, _) => (Some(default), "of -O2; the target is Binaryen's default"),
            };
            figures.push(
                Figure::ratio(format!("{workload}: {what}, ours"), ours)
                    .target(target.map(Target::AtMost))
                    .note(note),
            );
        }
        let build = one.build(Column::Ours).value;
        let name = format!("{workload}: build time, ours");
        figures.push(Figure::ratio(name, build).at_most(BUILD_TIME).note("of -O2 only"));
    }
    figures.extend(growth(measured));
    figures.extend(small_size(small));
    figures
}

/// Our growth relative to the default's, and for how many programs it is low enough.
fn growth(measured: &[Measured]) -> Vec<Figure> {
    let deep: Vec<&Measured> =
        measured.iter().filter(|one| one.workload.form == Form::Deep).collect();
    let mut figures = Vec::new();
    for (position, what) in ["size", "time in V8", "time in wasmtime"].into_iter().enumerate() {
        let shares: Vec<f64> = deep
            .iter()
            .map(|one| {
                let growth = |column| one.measures(column)[position].1 - 1.0;
                growth(Column::Ours) / growth(Column::Default)
            })
            .collect();
        for (one, share) in deep.iter().zip(&shares) {
            let name = format!("{}: growth in {what}, ours of default's", one.workload);
            figures.push(Figure::ratio(name, *share));
        }
        if deep.len() > DEEP_PROGRAMS {
            let mut sorted = shares;
            sorted.sort_by(f64::total_cmp);
            let name = format!("B: growth in {what}, ours of default's, second best program");
            let note = "at most this for two of three programs";
            figures.push(
                Figure::ratio(name, sorted[DEEP_PROGRAMS - 1]).at_most(DEEP_GROWTH).note(note),
            );
        }
    }
    figures
}

fn small_size(small: &[Small]) -> Vec<Figure> {
    let (compiled, assembled): (Vec<&Small>, Vec<&Small>) =
        small.iter().partition(|function| function.is_compiled());
    let mean = |functions: &[&Small]| {
        geometric_mean(&functions.iter().map(|function| function.ratio()).collect::<Vec<_>>())
    };
    let mut figures = Vec::new();
    if !compiled.is_empty() {
        let note = format!("geometric mean of {}, compiled from C, C++ and Rust", compiled.len());
        let name = "small functions: size, ours".to_owned();
        figures.push(Figure::ratio(name, mean(&compiled)).at_most(SMALL_SIZE).note(note));
    }
    if !assembled.is_empty() {
        let note = format!("geometric mean of {}, some hundred bytes each", assembled.len());
        let name = "functions assembled by hand: size, ours".to_owned();
        figures.push(Figure::ratio(name, mean(&assembled)).note(note));
    }
    figures
}

//! Figures: measured numbers and their targets.

use crate::table::Table;
use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use std::path::Path;

/// The target of a number.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Target {
    AtMost(f64),
    AtLeast(f64),
}

impl Target {
    fn number(self) -> f64 {
        match self {
            Target::AtMost(number) | Target::AtLeast(number) => number,
        }
    }

    fn is_met_by(self, value: f64) -> bool {
        match self {
            Target::AtMost(most) => value <= most,
            Target::AtLeast(least) => value >= least,
        }
    }
}

/// One measured number.
#[derive(Clone, Debug)]
pub(crate) struct Figure {
    pub(crate) name: String,
    pub(crate) value: f64,
    pub(crate) unit: &'static str,
    pub(crate) target: Option<Target>,
    pub(crate) note: String,
}

impl Figure {
    pub(crate) fn new(name: impl Into<String>, value: f64, unit: &'static str) -> Figure {
        Figure { name: name.into(), value, unit, target: None, note: String::new() }
    }

    pub(crate) fn ratio(name: impl Into<String>, value: f64) -> Figure {
        Figure::new(name, value, "ratio")
    }

    pub(crate) fn target(self, target: Option<Target>) -> Figure {
        Figure { target, ..self }
    }

    pub(crate) fn at_most(self, most: f64) -> Figure {
        self.target(Some(Target::AtMost(most)))
    }

    pub(crate) fn at_least(self, least: f64) -> Figure {
        self.target(Some(Target::AtLeast(least)))
    }

    pub(crate) fn note(self, note: impl Into<String>) -> Figure {
        Figure { note: note.into(), ..self }
    }

    pub(crate) fn met(&self) -> Option<bool> {
        self.target.map(|target| target.is_met_by(self.value))
    }

    fn json(&self) -> Value {
        let rounded = |value: f64| (value * 10_000.0).round() / 10_000.0;
        json!({
            "name": self.name,
            "value": rounded(self.value),
            "unit": self.unit,
            "target": self.target.map(|target| rounded(target.number())),
            "met": self.met(),
            "note": self.note,
        })
    }
}

/// All figures, for people.
pub(crate) fn table(figures: &[Figure]) -> Table {
    let mut table = Table::new(&["figure", "value", "target", "met"]);
    for figure in figures {
        table.row([
            figure.name.clone(),
            format!("{:.3}", figure.value),
            figure.target.map(|target| format!("{:.3}", target.number())).unwrap_or_default(),
            figure.met().map(|met| if met { "yes" } else { "no" }.to_owned()).unwrap_or_default(),
        ]);
    }
    table
}

/// Writes the figures, for programs.
pub(crate) fn write(figures: &[Figure], path: &Path) -> Result<()> {
    let list: Value = figures.iter().map(Figure::json).collect();
    write_file(path, &format!("{list:#}\n"))
}

pub(crate) fn write_file(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).with_context(|| format!("writing {}", path.display()))
}

/// The machine that the figures were measured on.
pub(crate) fn machine() -> String {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("unknown processor", |(_, model)| model);
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
    format!("{cores} cores, {model}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_says_whether_its_target_is_met() {
        let most = |value| Figure::ratio("f", value).at_most(1.05).met();
        assert_eq!((most(1.0), most(1.1)), (Some(true), Some(false)));
        let least = |value| Figure::ratio("f", value).at_least(20.0).met();
        assert_eq!((least(20.0), least(19.0)), (Some(true), Some(false)));
        assert_eq!(Figure::ratio("f", 1.1).met(), None);
    }
}

//! The matrix: every case in every column, printed row by row, and summarised.

use crate::case::{Case, Instead, Limit, Text};
use crate::column::Column;
use crate::outcome::{Difference, Ended, Observed, differences};
use crate::test_bed::TestBed;
use anyhow::Result;
use futures_util::future::join_all;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::Write;

/// One cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cell {
    Ok,
    /// The column cannot run the case as it is, and gave the result that its limit requires; with the reason, if there
    /// is one.
    Limit(&'static str),
    Differs(Vec<Difference>),
    /// Not run in this column, for this reason: its result is not deterministic there, or it ends a cluster.
    LeftOut(&'static str),
    /// The case is not for this column, or its function could not be built on this machine.
    Skipped,
}

impl Cell {
    fn word(&self) -> &'static str {
        match self {
            Cell::Ok => "ok",
            Cell::Limit(_) => "limit",
            Cell::Differs(_) => "DIFF",
            Cell::LeftOut(_) | Cell::Skipped => "-",
        }
    }
}

/// The results of each column.
#[derive(Debug, Default)]
pub struct Summary {
    columns: Vec<&'static str>,
    passed: BTreeMap<&'static str, u64>,
    failed: BTreeMap<&'static str, Vec<String>>,
    pub notes: Vec<String>,
}

impl Summary {
    fn add(&mut self, column: &'static str, case: &Case, cell: &Cell) {
        match cell {
            Cell::Ok => *self.passed.entry(column).or_default() += 1,
            Cell::Limit(reason) => {
                *self.passed.entry(column).or_default() += 1;
                let why = if reason.is_empty() { String::new() } else { format!(": {reason}") };
                self.notes.push(format!("{} is a limit of {column}{why}", case.name));
            }
            Cell::Differs(differences) => {
                let what: Vec<_> = differences.iter().map(|it| it.what.as_str()).collect();
                let note = format!("{} ({})", case.name, what.join(", "));
                self.failed.entry(column).or_default().push(note);
            }
            Cell::LeftOut(reason) => {
                self.notes.push(format!("{} is not run in {column}: {reason}", case.name));
            }
            Cell::Skipped => {}
        }
    }

    /// Passed cases in all columns.
    pub fn passed(&self) -> u64 {
        self.passed.values().sum()
    }

    /// Failed cases in all columns.
    pub fn failed(&self) -> u64 {
        self.failed.values().map(|cases| cases.len() as u64).sum()
    }

    /// The cases that failed, as `COLUMN: CASE (what differs)`.
    pub fn failures(&self) -> impl Iterator<Item = String> {
        let columns = self.failed.iter();
        columns
            .flat_map(|(column, cases)| cases.iter().map(move |case| format!("{column}: {case}")))
    }

    /// The figures of each column.
    pub fn figures(&self) -> Value {
        let mut figures = Vec::new();
        for column in &self.columns {
            let passed = self.passed.get(column).copied().unwrap_or(0);
            let failed = self.failed.get(column).map_or(&[][..], Vec::as_slice);
            let total = passed + failed.len() as u64;
            let failing = match failed {
                [] => String::new(),
                cases => format!("failing: {}", cases.join("; ")),
            };
            figures.push(json!({
                "name": format!("conformance, {column}: cases passed"),
                "value": passed, "unit": "cases", "target": total, "met": passed == total && total > 0,
                "note": failing,
            }));
            figures.push(json!({
                "name": format!("conformance, {column}: cases in total"),
                "value": total, "unit": "cases", "target": null, "met": null,
                "note": self.notes.join("; "),
            }));
        }
        figures.into()
    }
}

/// What happens to a case whose function could not be built because a compiler is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unbuilt {
    /// The case is skipped, with a note.
    Skip,
    /// The case fails: in CI everything must be installed, and a missing compiler must not go unnoticed.
    Fail,
}

impl Unbuilt {
    /// Decides by the environment variable `CI`, which continuous integration sets.
    pub fn by_environment(ci: Option<&str>) -> Self {
        if ci.is_some_and(|ci| !matches!(ci, "" | "0" | "false")) {
            Unbuilt::Fail
        } else {
            Unbuilt::Skip
        }
    }

    fn cell(self, what: &str) -> Cell {
        match self {
            Unbuilt::Skip => Cell::Skipped,
            Unbuilt::Fail => Cell::Differs(vec![Difference {
                what: "function".to_owned(),
                expected: "built, since CI is set".to_owned(),
                got: format!("not built: {what} is not installed"),
            }]),
        }
    }
}

/// Runs cases in columns, and prints each row as soon as it is complete.
///
/// A case runs in all columns concurrently, except that columns that share a browser take turns.
pub async fn fill(
    bed: &TestBed,
    columns: &[Box<dyn Column>],
    cases: &[Case],
    unbuilt: Unbuilt,
    out: &mut impl Write,
) -> Result<Summary> {
    let width = cases.iter().map(|case| case.name.len()).max().unwrap_or(0);
    let mut summary = Summary {
        columns: columns.iter().map(|column| column.title()).collect(),
        ..Summary::default()
    };
    for (number, column) in (1..).zip(columns) {
        writeln!(out, "{number:2}  {} ({})", column.title(), column.id())?;
    }
    let heads: String = (1..=columns.len()).map(|number| format!("  {number:<5}")).collect();
    writeln!(out, "{:width$}{}", "", heads.trim_end())?;
    for case in cases {
        let missing = case.needs.filter(|_| !bed.has(case.function));
        if let (Some(what), Unbuilt::Skip) = (missing, unbuilt) {
            summary.notes.push(format!("{} skipped: {what} is not installed", case.name));
        }
        let cells = join_all(columns.iter().map(async |column| match missing {
            _ if !case.is_for(column.id()) => Cell::Skipped,
            Some(what) => unbuilt.cell(what),
            None => run(bed, column.as_ref(), case).await,
        }));
        let cells = cells.await;
        let words: String = cells.iter().map(|cell| format!("  {:<5}", cell.word())).collect();
        writeln!(out, "{:width$}{}", case.name, words.trim_end())?;
        for (column, cell) in columns.iter().zip(cells) {
            summary.add(column.title(), case, &cell);
            if let Cell::Differs(differences) = cell {
                for difference in differences {
                    writeln!(out, "  {}: {difference}", column.title())?;
                }
            }
        }
        out.flush()?;
    }
    Ok(summary)
}

async fn run(bed: &TestBed, column: &dyn Column, case: &Case) -> Cell {
    let (mut limited, limit) = case.in_column(column.id());
    if let Some(Limit { instead: Instead::Anything, reason, .. }) = limit {
        return Cell::LeftOut(reason);
    }
    if !column.sees_prints() {
        (limited.stdout, limited.stderr) = (Text::Any, Text::Any);
    }
    let case = &limited;
    if let Some(reason) = column.skip_reason(case) {
        return Cell::LeftOut(reason);
    }
    // A user of its own, hence state of its own in both tiers.
    let user = column.user(case);
    let ran = async {
        let state = column.state().await?.unwrap_or_else(|| bed.state());
        bed.prepare(&*state, case, &user).await?;
        let observed = column.run(case, &user).await?;
        Ok((observed, bed.left(&*state, case, &user).await?))
    };
    let found = match ran.await {
        Ok((observed, left)) => differences(case, &observed, &left),
        Err(error) => {
            let error: anyhow::Error = error;
            let ended = Ended::Broken(format!("{error:#}"));
            let observed = Observed { ended, stdout: String::new(), stderr: String::new() };
            differences(case, &observed, &Vec::new())
        }
    };
    match (found.is_empty(), limit) {
        (true, None) => Cell::Ok,
        (true, Some(limit)) => Cell::Limit(limit.reason),
        (false, _) => Cell::Differs(found),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::case;

    #[test]
    fn what_could_not_be_built_fails_in_ci_only() {
        for (ci, unbuilt) in [
            (None, Unbuilt::Skip),
            (Some(""), Unbuilt::Skip),
            (Some("false"), Unbuilt::Skip),
            (Some("true"), Unbuilt::Fail),
            (Some("1"), Unbuilt::Fail),
        ] {
            assert_eq!(Unbuilt::by_environment(ci), unbuilt, "{ci:?}");
        }
        let case = case("start/x", "x", "").needs("emcc");
        for (unbuilt, failed) in [(Unbuilt::Skip, 0), (Unbuilt::Fail, 1)] {
            let mut summary = Summary::default();
            summary.add("a column", &case, &unbuilt.cell("emcc"));
            assert_eq!((summary.passed(), summary.failed()), (0, failed));
        }
    }
}

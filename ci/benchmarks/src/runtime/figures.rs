//! The figures with targets.

use super::Measured;
use crate::figure::Figure;
use crate::stats::Ratio;
use std::fmt;

/// Maximum number of bytes that a page should download.
const DOWNLOAD: f64 = 120.0 * 1024.0;
/// Suspending and resuming, relative to a hand-written driver.
const SUSPENSION: f64 = 1.5;
/// A ready read, relative to the same in plain JavaScript.
const READY: f64 = 2.5;
/// A call and its reply, relative to a message and its echo.
const CALL: f64 = 1.3;
/// A hundred concurrent calls: how many times faster than blocking requests.
const FAN: f64 = 20.0;

/// Groups of columns that are measured side by side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Group {
    Suspension,
    Ready,
    Call,
    Fan,
}

impl Group {
    pub(crate) const ALL: [Group; 4] = [Group::Suspension, Group::Ready, Group::Call, Group::Fan];

    /// Name of the group in the page.
    pub(crate) fn id(self) -> &'static str {
        match self {
            Group::Suspension => "suspension",
            Group::Ready => "ready",
            Group::Call => "call",
            Group::Fan => "fan",
        }
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Group::Suspension => "suspend and resume",
            Group::Ready => "ready read of 8 bytes",
            Group::Call => "call that does nothing",
            Group::Fan => "100 calls",
        })
    }
}

/// The figure of the runtime's download size.
pub(crate) fn download(bytes: u64) -> Figure {
    Figure::new("download, brotli", bytes as f64, "bytes").at_most(DOWNLOAD)
}

/// The figures of one browser.
pub(crate) fn of(measured: &Measured) -> Vec<Figure> {
    let browser = measured.browser;
    let ratio = |group: Group, column: &str, base: &str| {
        let (_, columns) = measured.groups.iter().find(|(found, _)| *found == group)?;
        let ratio = Ratio::of(columns.get(column)?, columns.get(base)?);
        let name = format!("{browser}: {group}, {column} of {base}");
        let note = format!("{:.2} to {:.2}", ratio.least, ratio.most);
        Some(Figure::ratio(name, ratio.value).note(note))
    };
    let at_most = |group, column, base, most| Some(ratio(group, column, base)?.at_most(most));
    let faster = |column: &str| {
        let inverse = ratio(Group::Fan, "blocking", column)?;
        let name =
            format!("{browser}: 100 calls, how much faster than blocking requests: {column}");
        Some(Figure { name, ..inverse })
    };
    let figures = [
        at_most(Group::Suspension, "asyncify", "minimal", SUSPENSION),
        at_most(Group::Suspension, "asyncify", "asyncify-wasm", 1.0),
        ratio(Group::Suspension, "jspi", "raw jspi"),
        ratio(Group::Suspension, "jspi", "minimal"),
        at_most(Group::Ready, "asyncify", "plain", READY),
        at_most(Group::Ready, "jspi", "plain", READY),
        ratio(Group::Ready, "raw jspi", "plain"),
        at_most(Group::Call, "call", "echo", CALL),
        faster("fan").map(|figure| figure.at_least(FAN)),
        faster("echo"),
    ];
    figures.into_iter().flatten().collect()
}

//! The columns: four artefacts of the same shimmed module.

use clap::ValueEnum;

/// How an artefact is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Column {
    /// Binaryen's `-O2`, without Asyncify: it cannot suspend.
    O2,
    /// Binaryen's Asyncify with the import that suspends, then `-O2`.
    Default,
    /// `faasm-asyncify build`.
    Ours,
    /// Like the default, but assumes that no indirect call suspends, which is wrong in general.
    Floor,
}

impl Column {
    pub(crate) const ALL: [Column; 4] = [Column::O2, Column::Default, Column::Ours, Column::Floor];

    /// Title in tables.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Column::O2 => "`-O2` only",
            Column::Default => "Asyncify, default reach",
            Column::Ours => "ours",
            Column::Floor => "floor (unsound)",
        }
    }

    /// Name on the command line.
    pub(crate) fn id(self) -> &'static str {
        match self {
            Column::O2 => "o2",
            Column::Default => "default",
            Column::Ours => "ours",
            Column::Floor => "floor",
        }
    }
}

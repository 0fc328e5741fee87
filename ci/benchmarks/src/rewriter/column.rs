//! What is compared: four artefacts of the same shimmed module.

use clap::ValueEnum;

/// How an artefact is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Column {
    /// Binaryen's `-O2`, without Asyncify: it cannot suspend.
    O2,
    /// Binaryen's Asyncify, told which import suspends, then `-O2`.
    Default,
    /// `faasm-asyncify build`.
    Ours,
    /// As the default, but no indirect call is taken for one that may suspend: wrong in general.
    Floor,
}

impl Column {
    pub(crate) const ALL: [Column; 4] = [Column::O2, Column::Default, Column::Ours, Column::Floor];

    /// For tables.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Column::O2 => "`-O2` only",
            Column::Default => "Asyncify, default reach",
            Column::Ours => "ours",
            Column::Floor => "floor (unsound)",
        }
    }

    /// As the command line has it.
    pub(crate) fn id(self) -> &'static str {
        match self {
            Column::O2 => "o2",
            Column::Default => "default",
            Column::Ours => "ours",
            Column::Floor => "floor",
        }
    }
}

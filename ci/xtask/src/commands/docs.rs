//! `cargo xtask docs`: writes `docs/host-interface.md` from the host-interface table.

use std::fmt::Write as _;
use std::fs;

use anyhow::{Context as _, Result, ensure};
use faasm_bridge::host::{
    Available, Era, FAMILIES, HostCall, Returns, Row, Status, Suspends, ValType,
};

use crate::workspace::Workspace;

const HEAD: &str = "# The host interface

The imports that a function may use, and their status. It is the same in the page and in the embedded cluster, because both
drive one implementation. Written by `cargo xtask docs` from `bridge/src/host/table.rs`; do not edit.

*Waits*: the call may block; in a page it then suspends the function. *What it calls*: the call itself does not block, but it
calls a function of the guest, which may. *Era*: `current` are WASI commands (2021 onward), `legacy` are functions of the
2019/20 toolchain. `i32?`: a function may declare the result or omit it. Each WASI call may also be imported from `env` under
the name that C libraries use for it, for example `__wasi_fd_read`.
";

/// Write docs/host-interface.md from the table of host calls
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only check that the file is up to date
    #[arg(long)]
    pub(crate) check: bool,
}

impl Args {
    pub(crate) fn run(self, workspace: &Workspace) -> Result<()> {
        let path = workspace.root().join("docs/host-interface.md");
        let text = document();
        if self.check {
            let found = fs::read_to_string(&path).unwrap_or_default();
            ensure!(found == text, "{} is out of date: run `cargo xtask docs`", path.display());
            return Ok(());
        }
        fs::write(&path, text).with_context(|| format!("writing {}", path.display()))
    }
}

fn document() -> String {
    let mut text = HEAD.to_owned();
    for module in ["env", "wasi_snapshot_preview1"] {
        section(&mut text, module);
    }
    text.push_str("\n## Only in a Faasm cluster, by name\n\nPages and the embedded cluster reject a function that imports one of these, with the code `cluster-only`.\n\n| imports of `env` | |\n|---|---|\n");
    for family in FAMILIES {
        let names = family.prefixes.iter().map(|prefix| format!("`{prefix}*`"));
        let names: Vec<_> =
            names.chain(family.names.iter().map(|name| format!("`{name}`"))).collect();
        writeln!(text, "| {} | {}: {} |", names.join(", "), family.name, family.summary)
            .expect("writing to a string");
    }
    text
}

fn section(text: &mut String, module: &str) {
    let head = "| import | signature | waits | era | page | embedded cluster | |\n|---|---|---|---|---|---|---|\n";
    write!(text, "\n## `{module}`\n\n{head}").expect("writing to a string");
    for call in HostCall::ALL.iter().filter(|call| call.row().module == module) {
        let row = call.row();
        let waits = match row.suspends {
            Suspends::Never => "",
            Suspends::May => "yes",
            Suspends::Calls => "what it calls",
        };
        let era = match row.era {
            Era::Any => "",
            Era::Current => "current",
            Era::Legacy => "legacy",
        };
        // The aliases of WASI calls follow one rule, which the introduction states.
        let alias = call.alias().filter(|_| row.module == "env");
        let also = alias.map(|alias| format!("; also imported as `{alias}`")).unwrap_or_default();
        writeln!(
            text,
            "| `{}` | `{}` | {waits} | {era} | {} | {} | {}{also} |",
            row.name,
            signature(row),
            status(row),
            status(row),
            call.summary()
        )
        .expect("writing to a string");
    }
}

/// The status, which is the same in both columns, because both drive one implementation.
fn status(row: &Row) -> String {
    match (row.available, row.status) {
        (Available::Cluster, _) => "rejected: only in Faasm".to_owned(),
        (_, Status::Ready) => "**runs**".to_owned(),
        (_, Status::Planned(reason)) => format!("not yet: {reason}"),
    }
}

fn signature(row: &Row) -> String {
    let names = |types: &[ValType]| {
        let names: Vec<_> = types.iter().map(|ty| ty.name()).collect();
        names.join(", ")
    };
    let (params, fewer) = (names(row.params), names(&row.params[..row.required]));
    let result = match row.returns {
        Returns::Nothing => "",
        Returns::I32 => " -> i32",
        Returns::I32OrNothing => " -> i32?",
        Returns::F64 => " -> f64",
    };
    match row.required < row.params.len() {
        true => format!("({fewer}) or ({params}){result}"),
        false => format!("({params}){result}"),
    }
}

//! Commands in documents: each subcommand and option must exist.
//!
//! The subcommands and options of `cargo xtask` are known here; those of other programs are parsed from their help
//! output.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::markdown::{Document, Piece};
use crate::process::line;
use crate::workspace::Workspace;

/// Programs whose commands are checked, as documents write them.
const XTASK: &str = "cargo xtask";
const BINARIES: [&str; 2] = ["faasm-relay", "faasm-asyncify"];

/// Options of other programs that documents mention without a command.
const FOREIGN: &str = include_str!("foreign-options.txt");

type Options = BTreeSet<String>;

/// The programs, with the options of each subcommand.
pub(super) struct Programs(BTreeMap<&'static str, BTreeMap<String, Options>>);

impl Programs {
    /// The programs of this checkout, which must be built.
    pub(super) fn of(workspace: &Workspace, xtask: clap::Command) -> Result<Programs> {
        let mut programs = BTreeMap::from([(XTASK, of_clap(xtask))]);
        for name in BINARIES {
            let binary = workspace.binary(name);
            let help = |arguments: &[&str]| {
                let mut command = Command::new(&binary);
                let output = command.args(arguments).output();
                let output = output.with_context(|| format!("starting `{}`", line(&command)))?;
                ensure!(output.status.success(), "`{}` failed: {}", line(&command), output.status);
                Ok(String::from_utf8_lossy(&output.stdout).into_owned())
            };
            let mut known = BTreeMap::new();
            for subcommand in subcommands(&help(&["--help"])?) {
                let options = options(&help(&[&subcommand, "--help"])?);
                ensure!(!options.is_empty(), "the help of `{name} {subcommand}` lists no options");
                known.insert(subcommand, options);
            }
            ensure!(!known.is_empty(), "the help of {name} lists no commands");
            programs.insert(name, known);
        }
        Ok(Programs(programs))
    }

    /// Commands and options in a document that do not exist.
    pub(super) fn check(&self, document: &Document) -> Vec<String> {
        let pieces = document.code.iter().chain(&document.spans);
        let of_commands = pieces.flat_map(|piece| self.problems(piece));
        let alone = document.spans.iter().filter_map(|span| self.unknown_option(span));
        let mut problems: Vec<_> = of_commands.collect();
        problems.extend(alone);
        problems.sort_by_key(|(line, _)| *line);
        problems
            .into_iter()
            .map(|(line, what)| format!("{}:{line}: {what}", document.path))
            .collect()
    }

    fn problems(&self, piece: &Piece) -> Vec<(usize, String)> {
        let mut problems = Vec::new();
        for (program, known) in &self.0 {
            for arguments in calls(&piece.text, program) {
                let mut words = arguments.split_whitespace();
                let Some(subcommand) = words.next().map(trim).filter(|word| is_subcommand(word))
                else {
                    continue;
                };
                let Some(options) = known.get(subcommand) else {
                    problems
                        .push((piece.line, format!("`{program} {subcommand}` is not a command")));
                    continue;
                };
                // Arguments after `--` belong to the function.
                for word in words.take_while(|word| *word != "--") {
                    let option = option(word);
                    if option.starts_with("--") && !options.contains(option) {
                        problems.push((
                            piece.line,
                            format!("`{program} {subcommand}` has no option `{option}`"),
                        ));
                    }
                }
            }
        }
        problems
    }

    /// The problem of a span that consists of an option only, if no program has this option.
    fn unknown_option(&self, span: &Piece) -> Option<(usize, String)> {
        let option = span
            .text
            .strip_prefix("--")
            .filter(|rest| rest.starts_with(|c: char| c.is_ascii_alphabetic()))?;
        let option = option_name(&span.text).filter(|name| name.len() > 2 && !option.is_empty())?;
        let is_ours =
            self.0.values().flat_map(BTreeMap::values).any(|options| options.contains(option));
        let is_foreign =
            FOREIGN.lines().any(|known| known.split_whitespace().next() == Some(option));
        let what = format!(
            "no command has the option `{option}`; one of another program is a line of ci/xtask/src/documents/foreign-options.txt"
        );
        (!is_ours && !is_foreign).then_some((span.line, what))
    }
}

/// The text after each mention of a program, to the end of the command.
fn calls<'a>(text: &'a str, program: &'a str) -> impl Iterator<Item = &'a str> {
    let is_part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '/' | '.');
    let found = text.match_indices(program).filter(move |(at, _)| {
        // `./faasm-relay` and `target/debug/faasm-relay` are the program, `my-faasm-relay` is not.
        let before = text[..*at].chars().next_back();
        // In `cargo build -p faasm-relay` it is a package.
        before.is_none_or(|c| !is_part(c) || c == '/') && !text[..*at].ends_with("-p ")
    });
    found.filter_map(move |(at, _)| {
        let rest = text[at + program.len()..].strip_prefix(' ')?;
        let end = rest.find(['|', ';', '#', '&', ')', '>']).unwrap_or(rest.len());
        Some(&rest[..end])
    })
}

fn trim(word: &str) -> &str {
    word.trim_end_matches([',', '.', ':', '`', '"', '\''])
}

/// Whether a word can be a subcommand: not an option, a placeholder or prose.
fn is_subcommand(word: &str) -> bool {
    !word.is_empty()
        && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-')
        && !word.starts_with('-')
}

/// The option of `--option=value`, `--option` or `[--option]`.
fn option(word: &str) -> &str {
    let word = word.trim_start_matches('[');
    option_name(word).unwrap_or("")
}

fn option_name(text: &str) -> Option<&str> {
    let length = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '-').unwrap_or(text.len());
    text.starts_with("--").then_some(&text[..length])
}

fn of_clap(mut command: clap::Command) -> BTreeMap<String, Options> {
    command.build();
    let subcommands = command.get_subcommands().map(|subcommand| {
        let options = subcommand.get_arguments().filter_map(|argument| argument.get_long());
        // An option of a nested subcommand counts as an option of the subcommand.
        let below = subcommand.get_subcommands().flat_map(clap::Command::get_arguments);
        let below = below.filter_map(|argument| argument.get_long());
        let options = options.chain(below).map(|long| format!("--{long}")).collect();
        (subcommand.get_name().to_owned(), options)
    });
    subcommands.collect()
}

/// The subcommands in a help output, without `help`.
fn subcommands(help: &str) -> Vec<String> {
    let section = help.lines().skip_while(|line| line.trim() != "Commands:").skip(1);
    let rows = section.take_while(|line| !line.trim().is_empty());
    // Continuation lines of descriptions are indented further.
    let names = rows.filter(|row| row.starts_with("  ") && !row.starts_with("   "));
    let names = names.filter_map(|row| row.split_whitespace().next());
    names.filter(|name| *name != "help").map(str::to_owned).collect()
}

/// The long options in a help output.
fn options(help: &str) -> Options {
    let rows = help.lines().map(str::trim_start).filter(|row| row.starts_with('-'));
    rows.filter_map(|row| row.find("--").and_then(|at| option_name(&row[at..])))
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HELP: &str = "Does things\n\nUsage: p <COMMAND>\n\nCommands:\n  serve  Serves\n         and more\n  run    Runs\n  help   Print this\n\nOptions:\n  -h, --help  Print help\n";

    #[test]
    fn subcommands_and_options_are_read_from_help() {
        assert_eq!(subcommands(HELP), ["serve", "run"]);
        let help = "Options:\n  -o, --output <DIR>\n          Like --other\n      --stack-size <BYTES>  Room\n";
        assert_eq!(
            options(help),
            BTreeSet::from(["--output".to_owned(), "--stack-size".to_owned()])
        );
    }

    #[test]
    fn commands_that_do_not_exist_are_found() {
        let options =
            |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Options>();
        let serve = BTreeMap::from([
            ("serve".to_owned(), options(&["--data", "--web"])),
            ("run".to_owned(), options(&["--input"])),
        ]);
        let test = BTreeMap::from([("test".to_owned(), options(&[]))]);
        let programs = Programs(BTreeMap::from([("faasm-relay", serve), (XTASK, test)]));
        let problems = |text: &str| programs.check(&Document::parse("a.md", text)).join("\n");
        for good in [
            "`faasm-relay serve --data x`, `faasm-relay`, `faasm-relay run -- --nocapture`, `cargo xtask X`, `--web`, `--release`",
            "```sh\nfaasm-relay serve --data=d \\\n  --web w # --not an option\nX=$(faasm-relay run --input a) other --option\n```",
            "`my-faasm-relay walk`, `cargo xtask --help`, `cargo test -p faasm-relay walk`",
        ] {
            assert_eq!(problems(good), "", "{good}");
        }
        for (bad, what) in [
            ("\n`faasm-relay walk`", "a.md:2: `faasm-relay walk` is not a command"),
            ("`cargo xtask test --fast`", "`cargo xtask test` has no option `--fast`"),
            (
                "```sh\nfaasm-relay serve \\\n  --wib w\n```",
                "a.md:2: `faasm-relay serve` has no option `--wib`",
            ),
            ("`target/debug/faasm-relay run --web`", "has no option `--web`"),
            ("`--wib DIR`", "no command has the option `--wib`"),
        ] {
            assert!(problems(bad).contains(what), "{bad}: {}", problems(bad));
        }
    }
}

//! Runs other programs: prints each command before it runs, and names it if it fails.

use std::env;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};

use anyhow::{Context as _, Result, bail};

/// Runs a command to its end; fails unless it succeeds.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = status(command)?;
    if !status.success() {
        bail!("`{}` failed: {status}", line(command));
    }
    Ok(())
}

/// Runs a command to its end and returns its status.
pub(crate) fn status(command: &mut Command) -> Result<ExitStatus> {
    show(command);
    command.status().with_context(|| format!("starting `{}`", line(command)))
}

/// Runs a command to its end; passes each line of its standard output to standard output and to `on_line`.
pub(crate) fn stream(command: &mut Command, mut on_line: impl FnMut(&str)) -> Result<ExitStatus> {
    show(command);
    let shown = line(command);
    let context = || format!("running `{shown}`");
    let mut child = command.stdout(Stdio::piped()).spawn().with_context(context)?;
    let stdout = child.stdout.take().context("no standard output")?;
    // Not `lines()`, because output of tests need not be UTF-8.
    for line in BufReader::new(stdout).split(b'\n') {
        let line = line.with_context(context)?;
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        on_line(&line);
    }
    child.wait().with_context(context)
}

/// Whether a command can be started and succeeds; its output is discarded.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}

/// The first of these programs that the `PATH` contains.
pub(crate) fn find_program(names: &[&str]) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    let folders: Vec<PathBuf> = env::split_paths(&path).collect();
    names.iter().find_map(|name| {
        let file = format!("{name}{}", env::consts::EXE_SUFFIX);
        folders.iter().map(|folder| folder.join(&file)).find(|path| path.is_file())
    })
}

/// Prints a command before it runs.
pub(crate) fn show(command: &Command) {
    eprintln!("  $ {}", line(command));
}

/// A command as one would type it, without the path of the program.
pub(crate) fn line(command: &Command) -> String {
    let program = PathBuf::from(command.get_program());
    let mut line = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
    for argument in command.get_args() {
        line.push(' ');
        let argument = argument.to_string_lossy();
        if argument.contains(' ') {
            line.push_str(&format!("'{argument}'"));
        } else {
            line.push_str(&argument);
        }
    }
    line
}

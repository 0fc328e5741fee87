//! Results of test runs, parsed from their output: how many tests passed and failed, and the output of those that
//! failed, which is repeated at the end, because a CI log may keep only its last lines.

use std::process::Command;

use anyhow::{Context as _, Result};

use crate::process::stream;

/// Number of lines kept of one failed test's output: the panic message comes first.
const LINES_PER_FAILURE: usize = 30;

/// Test results over several runs.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Results {
    pub passed: u64,
    pub failed: u64,
    /// The failed tests, each with the beginning of its output.
    failures: Vec<Vec<String>>,
    /// Whether the following lines are output of the last of the failures.
    in_output: bool,
}

impl Results {
    /// Runs tests and adds their results. A run that fails without a failed test (a compile error or a crash) counts as
    /// one failure.
    pub(crate) fn run(&mut self, command: &mut Command) -> Result<()> {
        let failed_before = self.failed;
        let status = stream(command, |line| self.add(line)).context("running tests")?;
        if !status.success() && self.failed == failed_before {
            self.fail(format!("{command:?} ended with {status} without a failed test"));
        }
        self.in_output = false;
        Ok(())
    }

    /// Adds a failure that does not belong to a test.
    pub(crate) fn fail(&mut self, reason: String) {
        eprintln!("{reason}");
        self.failed += 1;
        self.failures.push(vec![reason]);
    }

    /// Prints the failures, then the counts.
    pub(crate) fn print(&self) {
        if !self.failures.is_empty() {
            println!("\nfailures:");
        }
        for failure in &self.failures {
            println!();
            for line in failure {
                println!("  {line}");
            }
        }
        println!("\n{} passed, {} failed", self.passed, self.failed);
    }

    /// Parses one line of output: libtest's results (`test result: ok. 5 passed; 0 failed; ...`), the output of failed
    /// tests (`---- name stdout ----` and the lines after it), and the results of the conformance suite (`360 cases,
    /// 1000 passed, 0 failed`, `failed: COLUMN: CASE`). Ignores other lines.
    fn add(&mut self, line: &str) {
        if let Some(name) =
            line.strip_prefix("---- ").and_then(|rest| rest.strip_suffix(" stdout ----"))
        {
            self.failures.push(vec![name.to_owned()]);
            self.in_output = true;
        } else if line.starts_with("failed: ") {
            self.failures.push(vec![line.to_owned()]);
        } else if line == "failures:" || line.starts_with("test result: ") {
            self.in_output = false;
        } else if self.in_output
            && let Some(output) = self.failures.last_mut()
            && output.len() <= LINES_PER_FAILURE
            && !line.trim().is_empty()
        {
            output.push(line.to_owned());
        }
        self.count(line);
    }

    fn count(&mut self, line: &str) {
        let line = line.trim();
        let libtest = line.strip_prefix("test result: ").map(|result| (result, "; "));
        let suite = line.split_once(" cases, ").map(|(_, counts)| (counts, ", "));
        let Some((result, separator)) = libtest.or(suite) else { return };
        let result = result.split_once(". ").map_or(result, |(_, counts)| counts);
        for part in result.split(separator) {
            match part.split_once(' ') {
                Some((number, "passed")) => self.passed += number.parse::<u64>().unwrap_or(0),
                Some((number, "failed")) => self.failed += number.parse::<u64>().unwrap_or(0),
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(output: &str) -> Results {
        let mut results = Results::default();
        for line in output.lines() {
            results.add(line);
        }
        results
    }

    #[test]
    fn results_of_several_runs_are_added_up() {
        let results = read(
            "running 5 tests\n\
             test result: ok. 5 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out\n\
             test result: FAILED. 2 passed; 3 failed; 1 ignored; finished in 0.00s\n\
             my test result: ok. 7 passed\n\
             130 cases, 250 passed, 1 failed",
        );
        assert_eq!((results.passed, results.failed), (257, 4));
    }

    #[test]
    fn failures_are_kept_with_the_head_of_their_output() {
        let long = "and so on\n".repeat(100);
        let results = read(&format!(
            "test a::first ... FAILED\n\nfailures:\n\n---- a::first stdout ----\n\nthread 'a::first' panicked at x.rs:1:2:\n\
             left: 1\n\n---- a::second stdout ----\n{long}\n\nfailures:\n    a::first\n    a::second\n\n\
             test result: FAILED. 0 passed; 2 failed; 0 ignored\nother output\n\
             failed: firefox, Asyncify: state/pull (output)\n1 cases, 0 passed, 1 failed",
        ));
        assert_eq!(results.failures.len(), 3);
        assert_eq!(
            results.failures[0],
            ["a::first", "thread 'a::first' panicked at x.rs:1:2:", "left: 1"]
        );
        assert_eq!(results.failures[1].len(), LINES_PER_FAILURE + 1);
        assert_eq!(results.failures[2], ["failed: firefox, Asyncify: state/pull (output)"]);
        assert_eq!(results.failed, 3);
    }
}

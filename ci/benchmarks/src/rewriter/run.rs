//! The output of a workload: the time of each round, and a checksum of its results.

use crate::stats::least;
use anyhow::{Context as _, Result, ensure};

/// One run of a workload in one instance.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Run {
    /// Nanoseconds of the fastest round: earlier rounds include compilation, and other programs slow rounds down.
    pub(crate) fastest: f64,
    pub(crate) checksum: String,
}

impl Run {
    pub(crate) fn parse(printed: &str) -> Result<Run> {
        let mut rounds = Vec::new();
        let mut checksum = None;
        for line in printed.lines() {
            match line.split_once(' ') {
                Some(("round", time)) => {
                    rounds.push(
                        time.parse::<f64>()
                            .with_context(|| format!("parsing the time in `{line}`"))?,
                    );
                }
                Some(("checksum", sum)) => checksum = Some(sum.to_owned()),
                _ => {}
            }
        }
        let checksum = checksum.with_context(|| format!("no checksum in the output: {printed}"))?;
        ensure!(!rounds.is_empty(), "no rounds in the output: {printed}");
        Ok(Run { fastest: least(rounds.into_iter()), checksum })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fastest_round_counts() {
        let run = Run::parse("round 12\nround 10\nround 11\nchecksum ab\n").unwrap();
        assert_eq!(run, Run { fastest: 10.0, checksum: "ab".to_owned() });
        Run::parse("round 12\n").unwrap_err();
        Run::parse("checksum ab\n").unwrap_err();
        Run::parse("round 1 differs\nchecksum ab\n").unwrap_err();
    }
}

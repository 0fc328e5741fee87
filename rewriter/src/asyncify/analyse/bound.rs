//! The largest total size of the frames that all functions on the stack can save.

use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// How large the unwound stack can become.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Bound {
    /// No more than so many bytes.
    Bytes(u64),
    /// Unbounded: these functions form a cycle of calls that can suspend; each calls the next, and the last the first.
    Recursion(Vec<String>),
    /// The frame size of this function could not be determined from Binaryen's output.
    Unknown(String),
}

/// The heaviest path of calls from any of `starts`.
///
/// `frame` gives the bytes of a node, `next` its successors.
///
/// # Errors
/// A cycle, in the order of its calls.
pub(super) fn longest_path<N: Copy + Ord>(
    starts: impl Iterator<Item = N>,
    frame: impl Fn(N) -> u32,
    next: impl Fn(N) -> Vec<N>,
) -> Result<u64, Vec<N>> {
    let mut longest: BTreeMap<N, u64> = BTreeMap::new();
    // Depth first; the path holds the nodes whose successors are not all measured yet.
    for start in starts {
        let mut path = Vec::new();
        let mut on_path = BTreeSet::new();
        let enter = |step: N| (step, next(step).into_iter(), 0);
        if !longest.contains_key(&start) {
            path.push(enter(start));
            on_path.insert(start);
        }
        while let Some((step, pending, below)) = path.last_mut() {
            let Some(following) = pending.next() else {
                let total = u64::from(frame(*step)) + *below;
                longest.insert(*step, total);
                on_path.remove(step);
                path.pop();
                if let Some((_, _, below)) = path.last_mut() {
                    *below = total.max(*below);
                }
                continue;
            };
            if let Some(known) = longest.get(&following) {
                *below = (*known).max(*below);
            } else if on_path.insert(following) {
                path.push(enter(following));
            } else {
                let cycle = path.iter().map(|(step, ..)| *step);
                return Err(cycle.skip_while(|step| *step != following).collect());
            }
        }
    }
    Ok(longest.values().copied().max().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    /// Functions with these frames, and the calls between them.
    fn longest(frames: &[u32], calls: &[(usize, usize)]) -> Result<u64, Vec<usize>> {
        let next = |caller| {
            let mine = calls.iter().filter(|(from, _)| *from == caller);
            mine.map(|(_, callee)| *callee).collect()
        };
        longest_path(0..frames.len(), |function| frames[function], next)
    }

    #[test]
    fn the_heaviest_path_counts_not_the_longest() {
        assert_eq!(longest(&[], &[]), Ok(0));
        assert_eq!(longest(&[5], &[]), Ok(5));
        assert_eq!(longest(&[1, 2, 30, 4], &[(0, 1), (1, 3), (0, 2)]), Ok(31));
        assert_eq!(longest(&[1, 2, 3, 4], &[(0, 1), (1, 3), (0, 2), (2, 3), (3, 3)]), Err(vec![3]));
        // Found from the other end first.
        assert_eq!(longest(&[4, 3, 2], &[(2, 1), (1, 0)]), Ok(9));
    }

    #[test]
    fn a_cycle_excludes_the_path_that_leads_to_it() {
        assert_eq!(longest(&[1; 4], &[(0, 1), (1, 2), (2, 3), (3, 1)]), Err(vec![1, 2, 3]));
    }
}

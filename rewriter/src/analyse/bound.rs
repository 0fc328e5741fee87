//! How much all functions on the stack can save together.

use serde::Serialize;
use std::collections::BTreeMap;
use walrus::FunctionId;

/// How large the unwound stack can become.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Bound {
    /// No more than so many bytes.
    Bytes(u64),
    /// Any size: each of these functions can call the next, and the last one the first, before the function suspends.
    Recursion(Vec<String>),
    /// What a function saves could not be told from what Binaryen made of it.
    Unknown(String),
}

/// The most that a path through the functions adds up to.
///
/// `frames` gives each function with its bytes, `callees` whom it can call of them.
///
/// # Errors
/// A cycle, in the order of its calls.
pub(super) fn longest_path(
    frames: &BTreeMap<FunctionId, u32>,
    callees: impl Fn(FunctionId) -> Vec<FunctionId>,
) -> Result<u64, Vec<FunctionId>> {
    let mut longest: BTreeMap<FunctionId, u64> = BTreeMap::new();
    // Depth first; on the path are the functions whose callees are not all known yet.
    for start in frames.keys() {
        let mut path = Vec::new();
        let enter = |function: FunctionId| (function, callees(function).into_iter(), 0);
        if !longest.contains_key(start) {
            path.push(enter(*start));
        }
        while let Some((function, pending, below)) = path.last_mut() {
            let Some(callee) = pending.next() else {
                let frame = frames.get(function).copied().unwrap_or(0);
                let total = u64::from(frame) + *below;
                longest.insert(*function, total);
                path.pop();
                if let Some((_, _, below)) = path.last_mut() {
                    *below = total.max(*below);
                }
                continue;
            };
            if let Some(known) = longest.get(&callee) {
                *below = (*known).max(*below);
            } else if let Some(first) = path.iter().position(|(other, ..)| *other == callee) {
                return Err(path.drain(first..).map(|(function, ..)| function).collect());
            } else {
                path.push(enter(callee));
            }
        }
    }
    Ok(longest.values().copied().max().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use walrus::{FunctionBuilder, Module};

    /// Functions with these frames, and who calls whom by position.
    fn longest(frames: &[u32], calls: &[(usize, usize)]) -> Result<u64, Vec<usize>> {
        let mut module = Module::default();
        let ids: Vec<FunctionId> = frames
            .iter()
            .map(|_| {
                let builder = FunctionBuilder::new(&mut module.types, &[], &[]);
                builder.finish(Vec::new(), &mut module.funcs)
            })
            .collect();
        let position = |id: FunctionId| ids.iter().position(|other| *other == id).unwrap();
        let callees = |function: FunctionId| {
            let mine = calls.iter().filter(|(caller, _)| *caller == position(function));
            mine.map(|(_, callee)| ids[*callee]).collect()
        };
        let frames = ids.iter().copied().zip(frames.iter().copied()).collect();
        longest_path(&frames, callees).map_err(|cycle| cycle.into_iter().map(position).collect())
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
    fn a_cycle_is_named_without_what_leads_to_it() {
        assert_eq!(longest(&[1; 4], &[(0, 1), (1, 2), (2, 3), (3, 1)]), Err(vec![1, 2, 3]));
    }
}

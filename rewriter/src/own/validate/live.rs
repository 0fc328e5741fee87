//! What has to be right after a function was rewound: a second look at liveness, on the output.
//!
//! From the label of each site on, only two things are read: what lies below the arguments of the call, or finds its callee, and
//! what the code after the call reads. All of that has to be among what the function restores.

use super::Fault;
use super::code::{Code, is_pure};
use std::collections::BTreeSet;
use wasmparser::Operator;

/// A site of the output.
#[derive(Clone, Copy, Debug)]
pub(super) struct Site {
    /// Index of the end that is its label.
    pub(super) label: usize,
    pub(super) call: usize,
}

type Set = Vec<u64>;

fn with(set: &mut Set, local: u32) {
    set[local as usize / 64] |= 1 << (local % 64);
}

fn unite(set: &mut Set, other: &Set) -> bool {
    let mut grew = false;
    for (word, more) in set.iter_mut().zip(other) {
        grew |= *more & !*word != 0;
        *word |= more;
    }
    grew
}

/// Checks that `restored` is enough. Only the instructions before `end` count, and of these not those that are `ours`.
pub(super) fn check(
    code: &Code<'_>,
    end: usize,
    ours: &[bool],
    sites: &[Site],
    restored: &BTreeSet<u32>,
) -> Result<(), Fault> {
    let mut needed = vec![0; code.locals.len().div_ceil(64)];
    let calls: BTreeSet<usize> = sites.iter().map(|site| site.call).collect();
    after_calls(code, end, ours, &calls, &mut needed);
    for site in sites {
        before_call(code, *site, &mut needed)?;
    }
    let is_needed = |local: &u32| needed[*local as usize / 64] >> (local % 64) & 1 == 1;
    match (0..code.locals.len() as u32).find(|local| is_needed(local) && !restored.contains(local))
    {
        None => Ok(()),
        Some(local) => Err(Fault::new(format!("local {local} is not restored and read later"))),
    }
}

/// What lives after the calls, by going backwards until nothing changes.
fn after_calls(
    code: &Code<'_>,
    end: usize,
    ours: &[bool],
    calls: &BTreeSet<usize>,
    needed: &mut Set,
) {
    let none: Set = vec![0; needed.len()];
    // Where each block is branched to, and what lives there.
    let mut arrive = vec![none.clone(); code.blocks.len()];
    loop {
        let mut grew = false;
        let mut live = none.clone();
        let mut other: Vec<Set> = Vec::new();
        let mut thrown = vec![none.clone()];
        for at in (0..end).rev() {
            if ours[at] {
                continue;
            }
            let op = &code.ops[at];
            if super::code::is_end_of_path(&op.operator) {
                live.fill(0);
            }
            // These name a `try`, and do not go there.
            let names = matches!(op.operator, Operator::Rethrow { .. } | Operator::Delegate { .. });
            for target in code.targets(op).iter().filter(|_| !names) {
                unite(&mut live, &arrive[*target]);
            }
            let block = &code.blocks[op.block];
            match &op.operator {
                Operator::LocalGet { local_index } => with(&mut live, *local_index),
                Operator::LocalSet { local_index } | Operator::LocalTee { local_index } => {
                    live[*local_index as usize / 64] &= !(1 << (local_index % 64));
                }
                Operator::Call { .. }
                | Operator::CallIndirect { .. }
                | Operator::CallRef { .. } => {
                    thrown.last().map(|thrown| unite(&mut live, thrown));
                    if calls.contains(&at) {
                        unite(needed, &live);
                    }
                }
                Operator::Throw { .. } | Operator::ThrowRef | Operator::Rethrow { .. } => {
                    thrown.last().map(|thrown| unite(&mut live, thrown));
                }
                Operator::End | Operator::Delegate { .. } => {
                    if !block.is_loop {
                        grew |= unite(&mut arrive[op.block], &live);
                    }
                    other.push(live.clone());
                    if block.is_try {
                        let mut all = thrown.last().cloned().unwrap_or_else(|| none.clone());
                        for target in &code.targets[block.catches.clone()] {
                            unite(&mut all, &arrive[*target]);
                        }
                        thrown.push(all);
                    }
                }
                Operator::Else => {
                    // What the alternative reads can be read from the start.
                    let alternative = std::mem::replace(&mut live, arrive[op.block].clone());
                    other.pop();
                    other.push(alternative);
                }
                Operator::Catch { .. } | Operator::CatchAll => {
                    if let Some(all) = thrown.last_mut() {
                        unite(all, &live);
                    }
                    // What the part before ends with lives after the whole.
                    live.clone_from(&arrive[op.block]);
                }
                Operator::If { .. } => {
                    if let Some(other) = other.pop() {
                        unite(&mut live, &other);
                    }
                }
                Operator::Loop { .. } => {
                    other.pop();
                    grew |= unite(&mut arrive[op.block], &live);
                    live.clone_from(&arrive[op.block]);
                }
                Operator::Block { .. } => drop(other.pop()),
                Operator::Try { .. } | Operator::TryTable { .. } => {
                    other.pop();
                    thrown.pop();
                }
                _ => {}
            }
        }
        if !grew {
            return;
        }
    }
}

/// What is read from a site's label to its call, and matters.
fn before_call(code: &Code<'_>, site: Site, needed: &mut Set) -> Result<(), Fault> {
    let mut stack: Vec<Vec<u32>> = Vec::new();
    let strange = || Fault::new("something between a label and its call");
    for op in &code.ops[site.label + 1..site.call] {
        match &op.operator {
            Operator::LocalGet { local_index } => stack.push(vec![*local_index]),
            Operator::LocalSet { .. } => drop(stack.pop().ok_or_else(strange)?),
            // It traps, if what it is given is not right.
            Operator::RefAsNonNull => {
                stack.last().ok_or_else(strange)?.iter().for_each(|local| with(needed, *local));
            }
            _ if is_pure(op) => {
                let below = stack.len().checked_sub(op.pops).ok_or_else(strange)?;
                let operands = stack.split_off(below);
                stack.push(operands.into_iter().flatten().collect());
            }
            _ => return Err(strange()),
        }
    }
    let call = &code.ops[site.call];
    let below = stack.len().checked_sub(call.pops).ok_or_else(strange)?;
    let found_by_operand = !matches!(call.operator, Operator::Call { .. });
    let callee = if found_by_operand { stack.last() } else { None };
    let matters = stack[..below].iter().chain(callee);
    matters.flatten().for_each(|local| with(needed, *local));
    Ok(())
}

//! Generates functions to fuzz with: modules from `wasm-smith`, with host calls added.
//!
//! `wasm-smith` knows every instruction, but its modules rarely call anything, and never the way a compiler's do. So each
//! module gets imports of the host interface, functions of its own and a table of both (`world`), and expressions and
//! statements full of calls (`code`), at random places of its functions, with whatever values lie on the stack there. What
//! was read by calls ends up in exported globals and in memory, where a difference shows.
//!
//! It has to end: each function and each turn of a loop costs one unit of a budget, and with none left functions return at
//! once (`bounds`). That keeps the end of most runs regular, where `wasm-smith`'s own fuel would make it a trap.

mod bounds;
mod calls;
mod code;
mod program;
mod smith;
mod statements;
mod values;
mod world;

use crate::finding::guarded;
use crate::random::Rng;
use crate::scenario::Scenario;
use std::panic::AssertUnwindSafe;

pub use smith::{Profile, any_module};

/// A module of whatever proposal, with host calls woven in. It need not be valid.
pub fn any_function(rng: &mut Rng) -> Option<Vec<u8>> {
    let base = any_module(rng)?;
    let profile = Profile::random(rng);
    // What walrus makes of such a module is the rewriter's to find out, not ours.
    guarded("weave", AssertUnwindSafe(|| program::weave(&base, &profile, rng))).ok()?
}

/// A function to fuzz with, which carries its scenario; none where `wasm-smith` gives up on the seed.
pub fn function(seed: u64) -> Option<Vec<u8>> {
    let mut rng = Rng::new(seed);
    let profile = Profile::random(&mut rng);
    let base = smith::module(&profile, &mut rng)?;
    let woven = program::weave(&base, &profile, &mut rng)?;
    Some(Scenario::new(rng.number()).carried_by(&woven))
}

//! Generates functions to fuzz with: modules from `wasm-smith`, with host calls added.
//!
//! `wasm-smith` uses every instruction, but its modules contain few calls, and none like those of a compiler. So this
//! adds imports of the host interface, functions and a table of both to each module (`world`), and inserts expressions
//! and statements with many calls (`code`) at random positions of its functions, whatever values are on the stack
//! there. The results of calls reach exported globals and memory, where differences are visible.
//!
//! Every run must terminate: each function call and loop iteration consumes one unit of a budget, and once it is used
//! up, functions return at once (`bounds`). Most runs then end normally, whereas `wasm-smith`'s own fuel would make
//! them trap.

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
use faasm_bridge::manifest::Pass;
use std::panic::AssertUnwindSafe;

pub use smith::{Profile, any_module};

/// A module with any proposal, with host calls inserted. It may be invalid.
pub fn any_function(rng: &mut Rng) -> Option<Vec<u8>> {
    let base = any_module(rng)?;
    let profile = Profile::random(rng);
    // What walrus makes of such a module is the rewriter's to find out, not ours.
    guarded("weave", AssertUnwindSafe(|| program::weave(&base, &profile, rng))).ok()?
}

/// A function to fuzz these passes with, which carries its scenario; none where `wasm-smith` gives up on the seed.
pub fn function(seed: u64, passes: &[Pass]) -> Option<Vec<u8>> {
    let mut rng = Rng::new(seed);
    let mut profile = Profile::random(&mut rng);
    if passes == [Pass::Own] {
        profile.unreadable = rng.chance(50);
        profile.references = rng.chance(20);
    }
    let base = smith::module(&profile, &mut rng)?;
    let woven = program::weave(&base, &profile, &mut rng)?;
    Some(Scenario::new(rng.number()).carried_by(&woven))
}

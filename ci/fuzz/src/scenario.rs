//! The host's behaviour in one run: every answer, suspension and change of memory is a function of a seed and the
//! number of earlier calls.
//!
//! The seed is stored in a custom section of the module, so that one file describes a whole experiment.

use crate::random::{hash, mix};
use wasmparser::{Parser, Payload};

/// Name of the custom section with the seed, as eight bytes, little-endian.
const SECTION: &str = "faasm-fuzz";

/// A host's behaviour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scenario {
    seed: u64,
}

/// Side effects of a host in a call, before or after the guest waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    Nothing,
    /// Writes eight bytes, at this address modulo the size of memory.
    Write {
        address: u64,
        bytes: u64,
    },
    /// Grows memory by this many pages.
    Grow {
        pages: u32,
    },
    /// Calls the guest's allocator, if there is one, and writes to the allocated memory.
    Allocate {
        size: u32,
        bytes: u64,
    },
}

/// The two points at which the host has side effects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    Begin,
    Finish,
}

impl Scenario {
    pub fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// The scenario stored in a module; that of seed 0 if there is none.
    pub fn of(wasm: &[u8]) -> Self {
        let section = Parser::new(0).parse_all(wasm).find_map(|payload| match payload {
            Ok(Payload::CustomSection(section)) if section.name() == SECTION => {
                section.data().try_into().ok().map(u64::from_le_bytes)
            }
            _ => None,
        });
        Self { seed: section.unwrap_or(0) }
    }

    /// The module with this scenario stored in it.
    pub fn carried_by(self, wasm: &[u8]) -> Vec<u8> {
        let mut carrier = wasm.to_vec();
        // The section is short, so its lengths take one byte.
        carrier.extend([0, 1 + SECTION.len() as u8 + 8, SECTION.len() as u8]);
        carrier.extend(SECTION.as_bytes());
        carrier.extend(self.seed.to_le_bytes());
        carrier
    }

    fn at(self, what: u64, call: u64) -> u64 {
        mix(&[self.seed, what, call])
    }

    /// A number for another property that should differ between scenarios, by name.
    pub(crate) fn draw(self, what: &str) -> u64 {
        mix(&[self.seed, hash(what.as_bytes())])
    }

    /// Whether the guest must wait for the result of call number `call`, if that call may block.
    pub(crate) fn suspends(self, call: u64) -> bool {
        let percent = match self.draw("waiting") % 16 {
            0 => 0,
            1 | 2 => 15,
            3..8 => 50,
            _ => 100,
        };
        self.at(1, call) % 100 < percent
    }

    /// The result of a call.
    pub(crate) fn answer(self, call: u64) -> i32 {
        let answer = self.at(2, call);
        match answer % 4 {
            0 => 0,
            1 => (answer >> 32) as i32 & 0xff,
            _ => (answer >> 32) as i32,
        }
    }

    pub(crate) fn effect(self, call: u64, moment: Moment) -> Effect {
        let draw = self.at(3 + moment as u64, call);
        let (address, bytes) = (draw >> 20, self.at(5, call));
        match (draw % 32, moment) {
            (0..6, _) => Effect::Write { address, bytes },
            (6, _) => Effect::Grow { pages: (address % 3) as u32 },
            (7..10, Moment::Finish) => Effect::Allocate { size: (address % 64) as u32, bytes },
            _ => Effect::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_carries_its_scenario() {
        let wasm = wat::parse_str("(module (memory 1))").unwrap();
        assert_eq!(Scenario::of(&wasm), Scenario::new(0));
        let carrier = Scenario::new(0x0123_4567_89ab_cdef).carried_by(&wasm);
        wasmparser::validate(&carrier).unwrap();
        assert_eq!(Scenario::of(&carrier), Scenario::new(0x0123_4567_89ab_cdef));
    }
}

//! Faults out of a seed.

use super::faults::{Fault, Phase};
use std::collections::BTreeMap;
use std::time::Duration;

/// How far into a body a fault may come, in bytes.
const DEEPEST_BYTES: u64 = 200_000;

/// How long a stall lasts at most. Clients of tests are told to give up earlier.
const LONGEST_STALL: Duration = Duration::from_millis(400);

/// A schedule of faults. What happens to the n-th request of a phase follows from the seed alone, in whatever order
/// requests of several phases come.
#[derive(Debug, Clone)]
pub struct RandomFaults {
    seed: u64,
    one_in: u64,
    left: u32,
    met: BTreeMap<u8, u64>,
}

impl RandomFaults {
    /// About every `one_in`th request meets a fault, until `most` have happened.
    #[must_use]
    pub fn new(seed: u64, one_in: u64, most: u32) -> Self {
        Self {
            seed,
            one_in: one_in.max(1),
            left: most,
            met: BTreeMap::new(),
        }
    }

    /// The fault for the next request of a phase.
    pub(super) fn meet(&mut self, phase: Phase) -> Option<Fault> {
        let met = self.met.entry(phase as u8).or_default();
        *met += 1;
        let mut dice = Dice(mixed(self.seed ^ mixed(phase as u64 ^ mixed(*met))));
        if self.left == 0 || !dice.below(self.one_in).eq(&0) {
            return None;
        }
        self.left -= 1;
        Some(fault(&mut dice))
    }
}

/// All kinds that a client can survive when they do not come too often.
fn fault(dice: &mut Dice) -> Fault {
    let after_bytes = match dice.below(3) {
        0 => 0,
        _ => dice.below(DEEPEST_BYTES),
    };
    let lasting = LONGEST_STALL.mul_f64(0.5);
    match dice.below(12) {
        0..3 => Fault::ResetRequest { after_bytes },
        3..5 => Fault::ResetAnswer { after_bytes },
        5 => Fault::TruncateAnswer { after_bytes },
        6 => Fault::StallRequest {
            after_bytes,
            lasting: LONGEST_STALL,
        },
        7 => Fault::StallAnswer {
            after_bytes: 0,
            lasting,
        },
        8 => Fault::too_many_requests((dice.below(2) == 0).then_some("0")),
        9 => Fault::status(500),
        10 => Fault::status(502),
        _ => Fault::status(503),
    }
}

/// Numbers that follow from one (splitmix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mixed(self.0) % end
    }
}

fn mixed(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    number ^ (number >> 31)
}

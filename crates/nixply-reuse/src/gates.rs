//! Figures that a planner has to reach, as a document that is kept beside a fleet.

use crate::ReuseError;
use crate::figures::{Figures, Moved};
use crate::run::Run;
use serde::Deserialize;

/// What a planner has to reach on a draw. Ratios are thousandths of one layer per path.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gate {
    /// The planner.
    pub planner: String,
    /// The draw of projects.
    pub draw: String,
    /// The most layers of store paths.
    pub max_layers: usize,
    /// The level of its catalogs; none: the one that it proposes.
    pub level: Option<u32>,
    /// The registry push.
    pub push: u64,
    /// The update pull.
    pub pull: u64,
    /// The pull across images.
    pub cross: u64,
    /// The pull of a deploy.
    pub deploy: u64,
    /// The update pull of clients that keep layers as chains.
    pub chain: u64,
}

/// A measure that misses its gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Miss {
    /// The measure.
    pub measure: &'static str,
    /// The most thousandths that would do.
    pub gate: u64,
    /// What moved.
    pub moved: Moved,
}

/// A measure's name, its gate, and where it stands among the figures.
type Measure = (&'static str, u64, fn(&Figures) -> Moved);

/// Reads gates: an array of objects.
pub fn read_gates(document: &str, bytes: &[u8]) -> Result<Vec<Gate>, ReuseError> {
    serde_json::from_slice(bytes).map_err(|source| ReuseError::Json {
        document: document.to_owned(),
        expected: "an array of gates",
        source,
    })
}

impl Gate {
    /// The measures of a run that miss this gate; the run is one of its planner, draw, number of layers and level.
    ///
    /// Ratios are compared as tables show them, rounded to thousandths.
    #[must_use]
    pub fn misses(&self, run: &Run) -> Vec<Miss> {
        let measures: [Measure; 5] = [
            ("push", self.push, |figures| figures.push),
            ("pull", self.pull, |figures| figures.pull),
            ("cross", self.cross, |figures| figures.cross),
            ("deploy", self.deploy, |figures| figures.deploy),
            ("chain", self.chain, |figures| figures.chain),
        ];
        let missed = measures.into_iter().filter_map(|(measure, gate, of)| {
            let moved = of(&run.total);
            // Where nothing had to move, nothing was measured.
            let is_met = moved.bound_bytes > 0 && rounded_thousandths(moved) <= u128::from(gate);
            (!is_met).then_some(Miss {
                measure,
                gate,
                moved,
            })
        });
        missed.collect()
    }
}

fn rounded_thousandths(moved: Moved) -> u128 {
    let bound = u128::from(moved.bound_bytes).max(1);
    (u128::from(moved.bytes) * 1000 + bound / 2) / bound
}

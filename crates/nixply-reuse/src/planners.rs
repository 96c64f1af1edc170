//! The planners that the laboratory compares.

use crate::fleet::Pin;
use nixply_pack::{Budget, PackError, Packer, pack};
use nixply_store::{Closure, PathIdx};

/// Plans the images of a fleet, pin after pin.
pub trait Planner {
    /// What tables call it.
    fn name(&self) -> &str;

    /// A new pin begins; a planner that knows the fleet looks at its sets here.
    fn begin_pin(&mut self, pin: &Pin) -> Result<(), PackError>;

    /// The layers of an image, bottom first. Called once for each version that is deployed, in the order of time.
    fn plan(
        &mut self,
        image: &str,
        closure: &Closure,
        volatile: &[PathIdx],
    ) -> Result<Vec<Vec<PathIdx>>, PackError>;
}

/// A packer that sees nothing but the closure.
#[derive(Debug)]
struct Alone {
    packer: Packer,
    budget: Budget,
}

impl Planner for Alone {
    fn name(&self) -> &str {
        self.packer.name()
    }

    fn begin_pin(&mut self, _: &Pin) -> Result<(), PackError> {
        Ok(())
    }

    fn plan(
        &mut self,
        _: &str,
        closure: &Closure,
        _: &[PathIdx],
    ) -> Result<Vec<Vec<PathIdx>>, PackError> {
        Ok(pack(closure, self.packer, self.budget)?.layers)
    }
}

/// Every planner, for images of at most so many layers of store paths.
pub fn all(max_layers: usize) -> Vec<Box<dyn Planner>> {
    Packer::ALL
        .into_iter()
        .map(|packer| {
            let max_layers = if packer == Packer::PerPath {
                usize::MAX
            } else {
                max_layers
            };
            let budget = Budget {
                max_layers,
                reserved_layers: 0,
            };
            Box::new(Alone { packer, budget }) as Box<dyn Planner>
        })
        .collect()
}

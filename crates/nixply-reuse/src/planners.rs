//! The planners that the laboratory compares.

use crate::fleet::Pin;
use nixply_pack::{Budget, PackError, PackOptions, Packer, pack};
use nixply_store::{Closure, PathIdx, StorePath};
use std::collections::BTreeMap;

/// The layers of an image, bottom first.
pub type Layers = Vec<Vec<PathIdx>>;

/// Plans the images of a fleet, pin after pin.
pub trait Planner {
    /// What tables call it.
    fn name(&self) -> &str;

    /// The most layers of store paths that it uses; none where it has no limit.
    fn max_layers(&self) -> Option<usize>;

    /// A new pin begins: a planner that knows the fleet looks at its sets here.
    fn begin_pin(&mut self, pin: &Pin) -> Result<(), PackError>;

    /// Plans the next version of an image. `own` are the image's own paths, where they are known.
    fn plan(
        &mut self,
        image: &str,
        closure: &Closure,
        own: &[PathIdx],
    ) -> Result<Layers, PackError>;

    /// Plans a version that nothing follows upon: the next call of [`Planner::plan`] does not know of it.
    fn plan_apart(
        &mut self,
        image: &str,
        closure: &Closure,
        own: &[PathIdx],
    ) -> Result<Layers, PackError>;
}

/// A packer as it is.
#[derive(Debug)]
struct Plain {
    packer: Packer,
    max_layers: Option<usize>,
    /// The last plan of each image, where the packer is to keep layers of it.
    prior: Option<BTreeMap<String, Vec<Vec<StorePath>>>>,
    name: &'static str,
}

impl Planner for Plain {
    fn name(&self) -> &str {
        self.name
    }

    fn max_layers(&self) -> Option<usize> {
        self.max_layers
    }

    fn begin_pin(&mut self, _: &Pin) -> Result<(), PackError> {
        Ok(())
    }

    fn plan(
        &mut self,
        image: &str,
        closure: &Closure,
        own: &[PathIdx],
    ) -> Result<Layers, PackError> {
        let layers = self.plan_apart(image, closure, own)?;
        if let Some(prior) = &mut self.prior {
            let path = |idx: &PathIdx| closure.info(*idx).path.clone();
            let paths = layers.iter().map(|layer| layer.iter().map(path).collect());
            prior.insert(image.to_owned(), paths.collect());
        }
        Ok(layers)
    }

    fn plan_apart(
        &mut self,
        image: &str,
        closure: &Closure,
        own: &[PathIdx],
    ) -> Result<Layers, PackError> {
        let budget = Budget {
            max_layers: self.max_layers.unwrap_or(usize::MAX),
            reserved_layers: 0,
        };
        let mut options = PackOptions::new(self.packer, budget);
        if matches!(self.packer, Packer::Solo | Packer::Fleet) {
            options.volatile = own;
        }
        if let Some(prior) = self.prior.as_ref().and_then(|prior| prior.get(image)) {
            options.prior = prior;
        }
        let packing = pack(closure, &options)?;
        Ok(packing
            .layers
            .into_iter()
            .map(|layer| layer.paths)
            .collect())
    }
}

/// Every planner, for images of at most so many layers of store paths.
#[must_use]
pub fn all(max_layers: usize) -> Vec<Box<dyn Planner>> {
    Packer::ALL
        .into_iter()
        .filter(|packer| *packer != Packer::Fleet)
        .map(|packer| {
            let max_layers = (packer != Packer::PerPath).then_some(max_layers);
            let plain = Plain {
                packer,
                max_layers,
                prior: None,
                name: packer.name(),
            };
            Box::new(plain) as Box<dyn Planner>
        })
        .collect()
}

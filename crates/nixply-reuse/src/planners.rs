//! The planners that the laboratory compares.

use crate::fleet::Sets;
use nixply_pack::{Budget, Catalog, CatalogError, PackError, PackOptions, Packer, pack};
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

    /// A new pin begins, with so much to package and these sets in it: a planner that knows the fleet looks at them here.
    fn begin_pin(&mut self, closure: &Closure, sets: &Sets) -> Result<(), CatalogError>;

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

/// A packer and what it is given beside the closure.
#[derive(Debug, Clone, Copy)]
struct Recipe {
    name: &'static str,
    packer: Packer,
    /// Whether it gets the plan of the image's version before.
    takes_prior: bool,
}

const RECIPES: [Recipe; 9] = [
    Recipe::plain(Packer::Solo),
    Recipe::plain(Packer::Fleet),
    Recipe::with_prior("solo+prior", Packer::Solo),
    Recipe::with_prior("fleet+prior", Packer::Fleet),
    Recipe::plain(Packer::AutoLayer),
    Recipe::plain(Packer::Popularity),
    Recipe::plain(Packer::Nix2container),
    Recipe::plain(Packer::Size),
    Recipe::plain(Packer::PerPath),
];

impl Recipe {
    const fn plain(packer: Packer) -> Self {
        Self {
            name: packer.name(),
            packer,
            takes_prior: false,
        }
    }

    const fn with_prior(name: &'static str, packer: Packer) -> Self {
        Self {
            name,
            packer,
            takes_prior: true,
        }
    }
}

/// The names of all planners, in the order of tables.
pub fn names() -> impl Iterator<Item = &'static str> {
    RECIPES.iter().map(|recipe| recipe.name)
}

/// A planner by name, for images of at most so many layers of store paths; none where no planner has the name.
///
/// `level` is the level of the catalogs of planners that make one; none: they propose one at the first pin and keep it.
#[must_use]
pub fn planner(name: &str, max_layers: usize, level: Option<u32>) -> Option<Box<dyn Planner>> {
    let recipe = RECIPES.into_iter().find(|recipe| recipe.name == name)?;
    Some(Box::new(PackerPlanner {
        recipe,
        max_layers: (recipe.packer != Packer::PerPath).then_some(max_layers),
        level,
        catalog: None,
        prior: BTreeMap::new(),
    }))
}

#[derive(Debug)]
struct PackerPlanner {
    recipe: Recipe,
    max_layers: Option<usize>,
    level: Option<u32>,
    /// The catalog of the pin.
    catalog: Option<Catalog>,
    /// The last plan of each image.
    prior: BTreeMap<String, Vec<Vec<StorePath>>>,
}

impl Planner for PackerPlanner {
    fn name(&self) -> &str {
        self.recipe.name
    }

    fn max_layers(&self) -> Option<usize> {
        self.max_layers
    }

    fn begin_pin(&mut self, closure: &Closure, sets: &Sets) -> Result<(), CatalogError> {
        if self.recipe.packer == Packer::Fleet {
            let level = if let Some(level) = self.level {
                level
            } else {
                let max_layers = self.max_layers.unwrap_or(usize::MAX);
                Catalog::propose_level(closure, sets, max_layers)?.level
            };
            self.level = Some(level);
            self.catalog = Some(Catalog::new(closure, sets, level)?);
        }
        Ok(())
    }

    fn plan(
        &mut self,
        image: &str,
        closure: &Closure,
        own: &[PathIdx],
    ) -> Result<Layers, PackError> {
        let layers = self.plan_apart(image, closure, own)?;
        if self.recipe.takes_prior {
            let path = |idx: &PathIdx| closure.info(*idx).path.clone();
            let paths = layers.iter().map(|layer| layer.iter().map(path).collect());
            self.prior.insert(image.to_owned(), paths.collect());
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
        let mut options = PackOptions::new(self.recipe.packer, budget);
        if matches!(self.recipe.packer, Packer::Solo | Packer::Fleet) {
            options.volatile = own;
        }
        options.catalog = self.catalog.as_ref();
        if let Some(prior) = self.prior.get(image) {
            options.prior = prior;
        }
        let packing = pack(closure, &options)?;
        let layers = packing.layers.into_iter();
        Ok(layers.map(|layer| layer.paths).collect())
    }
}

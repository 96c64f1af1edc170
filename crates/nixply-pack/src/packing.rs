//! Budgets, options, packings, and the one entry point.

use crate::dag::Dag;
use crate::names::moved_hash_ranks;
use crate::{
    Catalog, Packer, PackerId, Pipeline, PipelineError, auto_layer, layered, nix2container,
    pipeline, popularity, size,
};
use nixply_store::{Closure, PathIdx, StorePath};

/// The most layers that Docker takes in one image (moby, `layer/layer_store.go`, `maxLayerDepth`: 127 of some storage
/// drivers less the two that a container adds). Packing does not enforce it; the command line warns above it.
pub const DOCKER_MAX_LAYERS: usize = 125;

/// How many layers an image may have, and how many of them are not for store paths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// The most layers of the whole image.
    pub max_layers: usize,
    /// The layers of the base image, and one for the root files where there are any.
    pub reserved_layers: usize,
}

impl Budget {
    /// The layers that are left for store paths. nixpkgs' dockerTools always reserves one for its customisation layer.
    #[must_use]
    pub const fn available(self) -> usize {
        self.max_layers.saturating_sub(self.reserved_layers)
    }
}

/// Everything that a packing depends on beside the closure.
#[derive(Debug, Clone, Copy)]
pub struct PackOptions<'a> {
    /// The algorithm.
    pub packer: Packer,
    /// How many layers there may be.
    pub budget: Budget,
    /// Paths that are new in every version of the image; none: they are found by structure. For [`Packer::Solo`] and
    /// [`Packer::Fleet`] only.
    pub volatile: &'a [PathIdx],
    /// The fleet's catalog, which [`Packer::Fleet`] needs.
    pub catalog: Option<&'a Catalog>,
    /// The layers of an earlier image, bottom first: those whose paths are all still there stay as they are. For
    /// [`Packer::Solo`] and [`Packer::Fleet`] only.
    pub prior: &'a [Vec<StorePath>],
    /// What [`Packer::Pipeline`] does, which needs it.
    pub pipeline: Option<&'a Pipeline>,
}

impl PackOptions<'_> {
    /// A packer and a budget, nothing else.
    #[must_use]
    pub const fn new(packer: Packer, budget: Budget) -> Self {
        Self {
            packer,
            budget,
            volatile: &[],
            catalog: None,
            prior: &[],
            pipeline: None,
        }
    }
}

/// The store paths of a closure in layers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packing {
    /// What packed it.
    pub packer: PackerId,
    /// The layers, bottom first.
    pub layers: Vec<PackedLayer>,
    /// What was taken as new in every version of the image, and why; ascending.
    pub volatile: Vec<(PathIdx, VolatileReason)>,
    /// The paths that the catalog does not know, volatile ones left out; ascending. Empty without a catalog.
    pub unknown: Vec<PathIdx>,
}

/// One layer of a packing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackedLayer {
    /// The paths. Their order is the packer's own: by popularity for `popularity` and `nix2container`, largest first for
    /// `size`, by name and then hash for `auto-layer`, ascending for `solo` and `fleet`, as the steps left them for
    /// `pipeline`. It does not matter to format
    /// version 1, which sorts; dockerTools writes its tar in this order, so the exact mode needs it.
    pub paths: Vec<PathIdx>,
    /// Why these paths share a layer.
    pub reason: LayerReason,
    /// Who rides on whom: paths that came into this layer because of another one.
    pub riders: Vec<Rider>,
    /// The package sets that hold every path of this layer, as positions in [`Catalog::set_names`]; empty without a
    /// catalog.
    pub sets: Vec<u32>,
}

/// A path and the path that it rides on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rider {
    /// The path that rides.
    pub path: PathIdx,
    /// A path that uses it, directly or not, and stands in the same layer.
    pub host: PathIdx,
}

/// Why paths share a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum LayerReason {
    /// The image has a layer for each of its groups, or this group is among the largest: a path with what rides on it.
    Group {
        /// The path that the others ride on, or the first of paths that come and go together.
        head: PathIdx,
    },
    /// Small groups that share a layer because each of its own would cost more than it saves.
    Small,
    /// Groups that are too small for a layer of their own and too large for the small ones' layer.
    Rest,
    /// What the image itself asks for, where it is not known which of it changes with every version.
    AskedFor,
    /// New in every version of the image.
    Volatile,
    /// A layer of the prior image, as it was.
    Prior,
    /// The packer gives no reasons (those that follow another tool).
    Packer,
}

/// Why a path counts as new in every version of the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum VolatileReason {
    /// The caller said so.
    Given,
    /// It uses a volatile path, so its own hash follows.
    UsesVolatile,
    /// It is the closure's only root, or the only one that no package set holds.
    Root,
    /// Only volatile paths use it, and it refers, directly or not, to more than three quarters of the closure.
    HoldsMost,
    /// Only volatile paths use it, and no package set of the catalog holds it.
    InNoSet,
    /// It is a small root among several.
    SmallRoot,
}

/// Why a closure could not be packed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PackError {
    /// The budget leaves too few layers for store paths.
    #[error(
        "{max_layers} {} too few: {reserved_layers} {} to the base image and the root files, \
         expected at least {needed} in all",
        if *.max_layers == 1 { "layer is" } else { "layers are" },
        if *.reserved_layers == 1 { "goes" } else { "go" },
    )]
    NoRoom {
        /// The most layers of the whole image.
        max_layers: usize,
        /// The layers that are not for store paths.
        reserved_layers: usize,
        /// The least `max_layers` that would do.
        needed: usize,
    },
    /// An option was given that the packer has no use for.
    #[error("the packer `{packer}` takes no {option}: expected {takers}")]
    NotForPacker {
        /// The packer.
        packer: Packer,
        /// What was given, in words.
        option: &'static str,
        /// The packers that take it, in words.
        takers: &'static str,
    },
    /// [`Packer::Fleet`] without a catalog.
    #[error("the packer `fleet` needs a catalog")]
    NoCatalog,
    /// [`Packer::Pipeline`] without a pipeline.
    #[error("the packer `pipeline` needs a layering pipeline")]
    NoPipeline,
    /// A pipeline cannot be carried out.
    #[error(transparent)]
    Pipeline(Box<PipelineError>),
    /// A pipeline makes more layers than there is room for.
    #[error(
        "the layering pipeline makes {made} layers of store paths, expected at most {available}, since the image may \
         have {max_layers} layers in all: end it with `limit_layers`"
    )]
    PipelineLayers {
        /// How many layers the steps make.
        made: usize,
        /// The most layers of the whole image.
        max_layers: usize,
        /// How many of them are for store paths.
        available: usize,
    },
}

/// Packs a closure.
pub fn pack(closure: &Closure, options: &PackOptions<'_>) -> Result<Packing, PackError> {
    let packer = options.packer;
    check_options(options)?;
    let needed_for_paths = match packer {
        Packer::PerPath => closure.paths().len(),
        _ => 1,
    };
    let available = options.budget.available();
    if available < needed_for_paths {
        let Budget {
            max_layers,
            reserved_layers,
        } = options.budget;
        return Err(PackError::NoRoom {
            max_layers,
            reserved_layers,
            needed: reserved_layers.saturating_add(needed_for_paths),
        });
    }
    let dag = Dag::new(closure);
    let layers = match packer {
        Packer::Solo | Packer::Fleet => return Ok(layered::pack(closure, &dag, options)),
        Packer::AutoLayer => auto_layer::layers(closure, &dag, available),
        Packer::Popularity => {
            let ranks = moved_hash_ranks(closure);
            let order = popularity::order(&dag, |path| ranks[path as usize]);
            singles_and_rest(order, available)
        }
        Packer::Nix2container => singles_and_rest(nix2container::order(&dag), available),
        Packer::Size => singles_and_rest(size::order(closure), available),
        Packer::PerPath => singles_and_rest(references_first(closure), available),
        Packer::Pipeline => {
            let pipeline = options.pipeline.ok_or(PackError::NoPipeline)?;
            let layers = pipeline::layers(closure, &dag, pipeline)
                .map_err(|error| PackError::Pipeline(Box::new(error)))?;
            if layers.len() > available {
                return Err(PackError::PipelineLayers {
                    made: layers.len(),
                    max_layers: options.budget.max_layers,
                    available,
                });
            }
            layers
        }
    };
    let layer = |layer: Vec<u32>| PackedLayer {
        paths: layer.into_iter().map(PathIdx).collect(),
        reason: LayerReason::Packer,
        riders: Vec::new(),
        sets: Vec::new(),
    };
    Ok(Packing {
        packer: packer.id(),
        layers: layers.into_iter().map(layer).collect(),
        volatile: Vec::new(),
        unknown: Vec::new(),
    })
}

/// An option that would silently do nothing is an error.
fn check_options(options: &PackOptions<'_>) -> Result<(), PackError> {
    let packer = options.packer;
    let refused = |option, takers| {
        Err(PackError::NotForPacker {
            packer,
            option,
            takers,
        })
    };
    if options.pipeline.is_some() && packer != Packer::Pipeline {
        return refused("layering pipeline", "`pipeline`");
    }
    match packer {
        Packer::Fleet if options.catalog.is_none() => return Err(PackError::NoCatalog),
        Packer::Fleet => return Ok(()),
        _ if options.catalog.is_some() => return refused("catalog", "`fleet`"),
        Packer::Solo => return Ok(()),
        _ => {}
    }
    if !options.prior.is_empty() {
        return refused("prior plan", "`solo` or `fleet`");
    }
    if !options.volatile.is_empty() {
        return refused("volatile paths", "`solo` or `fleet`");
    }
    Ok(())
}

/// Every path above all that it refers to; the closure's own topological order.
fn references_first(closure: &Closure) -> Vec<u32> {
    let order = closure.topological_order().into_iter();
    order.map(|path| path.0).collect()
}

/// The first `available - 1` paths in a layer each, the rest, if any, in one on top.
///
/// nixpkgs `docker/default.nix` and nix2container `nix/layers.go` both group so. `available` is at least 1.
fn singles_and_rest(mut order: Vec<u32>, available: usize) -> Vec<Vec<u32>> {
    let rest = order.split_off(order.len().min(available - 1));
    let mut layers: Vec<Vec<u32>> = order.into_iter().map(|path| vec![path]).collect();
    if !rest.is_empty() {
        layers.push(rest);
    }
    layers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_layer_takes_what_is_left() {
        let layers = |paths: u32, available| singles_and_rest((0..paths).collect(), available);
        assert_eq!(layers(4, 1), [vec![0, 1, 2, 3]]);
        assert_eq!(layers(4, 3), [vec![0], vec![1], vec![2, 3]]);
        assert_eq!(layers(4, 4), [vec![0], vec![1], vec![2], vec![3]]);
        assert_eq!(layers(2, usize::MAX), [vec![0], vec![1]]);
    }

    #[test]
    fn more_reserved_layers_than_layers_leave_none() {
        let budget = Budget {
            max_layers: 3,
            reserved_layers: 5,
        };
        assert_eq!(budget.available(), 0);
    }
}

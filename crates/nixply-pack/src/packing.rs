//! Budgets, packings, and the one entry point.

use crate::dag::Dag;
use crate::{Packer, PackerId, auto_layer, nix2container, popularity, size};
use nixply_store::{Closure, PathIdx};

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

/// The store paths of a closure in layers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packing {
    /// What packed it.
    pub packer: PackerId,
    /// The layers, bottom first. The order of paths inside a layer is the packer's own: by popularity for `popularity`
    /// and `nix2container`, largest first for `size`, by name and then hash for `auto-layer`. It does not matter to
    /// format version 1, which sorts; dockerTools writes its tar in this order, so the exact mode needs it.
    pub layers: Vec<Vec<PathIdx>>,
}

/// Why a closure could not be packed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PackError {
    /// The budget leaves too few layers for store paths.
    #[error(
        "{max_layers} layers are too few: {reserved_layers} go to the base image and the root files, \
         expected at least {needed} in all"
    )]
    NoRoom {
        /// The most layers of the whole image.
        max_layers: usize,
        /// The layers that are not for store paths.
        reserved_layers: usize,
        /// The least `max_layers` that would do.
        needed: usize,
    },
}

/// Packs a closure.
pub fn pack(closure: &Closure, packer: Packer, budget: Budget) -> Result<Packing, PackError> {
    let needed_for_paths = match packer {
        Packer::PerPath => closure.paths().len(),
        _ => 1,
    };
    let available = budget.available();
    if available < needed_for_paths {
        return Err(PackError::NoRoom {
            max_layers: budget.max_layers,
            reserved_layers: budget.reserved_layers,
            needed: budget.reserved_layers.saturating_add(needed_for_paths),
        });
    }
    let dag = Dag::new(closure);
    let layers = match packer {
        Packer::AutoLayer => auto_layer::layers(closure, &dag, available),
        Packer::Popularity => singles_and_rest(popularity::order(closure, &dag), available),
        Packer::Nix2container => singles_and_rest(nix2container::order(&dag), available),
        Packer::Size => singles_and_rest(size::order(closure), available),
        Packer::PerPath => singles_and_rest(references_first(closure), available),
    };
    let in_closure = |layer: Vec<u32>| layer.into_iter().map(PathIdx).collect();
    Ok(Packing {
        packer: packer.id(),
        layers: layers.into_iter().map(in_closure).collect(),
    })
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

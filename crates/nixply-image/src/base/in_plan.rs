//! Base layers in a plan: how they come into it, and what a plan that is read must say of them.

use super::{BaseImage, BaseRecord, BaseTree, tar_key};
use crate::{Plan, PlanError, PlannedLayer};
use std::collections::BTreeMap;

/// Puts the layers of a base below everything that comes.
pub(crate) fn put_on(plan: &mut Plan, base: BaseImage) {
    plan.layers = base.layers;
    plan.base = Some(BaseRecord {
        name: base.name,
        digest: base.digest,
        history: base.history,
        // The store paths stand in the layers.
        tree: base.tree.map(|tree| BaseTree {
            store_paths: BTreeMap::new(),
            ..tree
        }),
    });
}

/// Base layers are the lowest, each tells what it is, and the history tells of each.
pub(crate) fn check_layers(plan: &Plan) -> Result<(), PlanError> {
    let mut count = 0;
    for (layer_idx, layer) in plan.layers.iter().enumerate() {
        let PlannedLayer::Base(base) = layer else {
            continue;
        };
        let problem = |problem| PlanError::BaseLayer { layer_idx, problem };
        if count != layer_idx {
            return Err(problem("a base layer stands above another layer"));
        }
        count += 1;
        match (&base.descriptor, base.key, base.size_bytes) {
            (Some(_), None, None) => {}
            (None, Some(found), Some(_)) => {
                let expected = tar_key(base.diff_id, plan.compression);
                if expected != found {
                    return Err(PlanError::Key {
                        layer_idx,
                        expected,
                        found,
                    });
                }
            }
            _ => {
                return Err(problem(
                    "a base layer has a descriptor, or a key and a size",
                ));
            }
        }
    }
    let history = plan.base.iter().flat_map(|base| &base.history);
    let histories = history.filter(|entry| !entry.empty_layer).count();
    if histories == count {
        return Ok(());
    }
    Err(PlanError::BaseHistory {
        layers: count,
        histories,
    })
}

impl PlannedLayer {
    /// The store paths that the layer is known to hold where they belong, as absolute paths.
    pub(crate) fn store_paths(&self) -> Vec<&str> {
        match self {
            Self::Store { paths, .. } => {
                paths.iter().map(|planned| planned.path.as_str()).collect()
            }
            Self::Base(base) => base.paths.iter().map(String::as_str).collect(),
            // A path that nix2container put elsewhere is not where it would be looked for.
            _ => Vec::new(),
        }
    }
}

//! A base from a plan: its layers are taken over as they are.

use super::plan_tree::tree_of;
use super::{BaseDatabase, BaseError, BaseImage, BaseTree};
use crate::{LayerFormatRecord, Plan, PlannedLayer};
use nixply_layer::{Compression, StoreRoot};

impl BaseImage {
    /// Takes a plan's layers as a base. They are compressed with the compression of the image that is built on them.
    ///
    /// With a `store` the layers are looked into that do not tell themselves what they hold: finished tars, and those of
    /// nix2container. Without one, nobody knows the tree of such a plan.
    pub fn of_plan(
        plan: Plan,
        compression: Compression,
        layer_format: &LayerFormatRecord,
        store: Option<&StoreRoot>,
    ) -> Result<Self, BaseError> {
        let has_store = |layer: &PlannedLayer| matches!(layer, PlannedLayer::Store { .. });
        if plan.layer_format != *layer_format && plan.layers.iter().any(has_store) {
            return Err(BaseError::LayerFormat {
                found: plan.layer_format.name(),
                wanted: layer_format.name(),
            });
        }
        let is_database = |layer: &PlannedLayer| matches!(layer, PlannedLayer::Database { .. });
        let has_database = plan.layers.iter().any(is_database);
        let mut plan = plan
            .with_compression(compression)
            .map_err(|error| BaseError::Plan(Box::new(error)))?;
        plan.layers.retain(|layer| !is_database(layer));
        let tree = tree_of(&plan, store)?;
        if let Some(tree) = &tree {
            keep_whole_paths(&mut plan.layers, tree)?;
        }
        let database = if has_database {
            BaseDatabase::LeftOut
        } else {
            BaseDatabase::in_layers(
                tree.as_ref()
                    .is_some_and(|tree| !tree.nix_database.is_empty()),
            )
        };
        Ok(Self {
            name: None,
            digest: None,
            platform: plan.platform,
            config: plan.config,
            history: plan.base.map(|base| base.history).unwrap_or_default(),
            layers: plan.layers,
            database,
            tree,
        })
    }
}

/// Takes the store paths out of base layers that a layer above them hides.
fn keep_whole_paths(layers: &mut [PlannedLayer], tree: &BaseTree) -> Result<(), BaseError> {
    let is_whole = |path: &str| tree.store_paths.contains_key(path);
    for layer in layers {
        match layer {
            PlannedLayer::Base(base) => base.paths.retain(|path| is_whole(path)),
            PlannedLayer::Store { paths, .. } => {
                if let Some(hidden) = paths.iter().find(|planned| !is_whole(&planned.path)) {
                    return Err(BaseError::HiddenPath {
                        path: hidden.path.clone(),
                    });
                }
            }
            _ => {}
        }
    }
    Ok(())
}

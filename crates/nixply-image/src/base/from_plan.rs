//! A base from a plan: its layers are taken over as they are.

use super::{BaseError, BaseImage, BaseTree, DirectoryOwner};
use crate::root_file::{RootFileSpec, RootFileType};
use crate::{LayerFormatRecord, Plan, PlannedLayer};
use nixply_layer::Compression;

impl BaseImage {
    /// Takes a plan's layers as a base. They are compressed with the compression of the image that is built on them.
    pub fn of_plan(
        plan: Plan,
        compression: Compression,
        layer_format: &LayerFormatRecord,
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
        let below = match &plan.base {
            Some(base) => base.tree.clone(),
            None => Some(BaseTree::default()),
        };
        let tree = below.and_then(|tree| add_layers(tree, &plan.layers));
        Ok(Self {
            name: None,
            digest: None,
            platform: plan.platform,
            config: plan.config,
            history: plan.base.map(|base| base.history).unwrap_or_default(),
            layers: plan.layers,
            has_database,
            tree,
        })
    }
}

/// What stands in a plan's own layers, added to what is below them; none where a layer does not say.
fn add_layers(mut tree: BaseTree, layers: &[PlannedLayer]) -> Option<BaseTree> {
    for layer in layers {
        match layer {
            PlannedLayer::Root {
                files, contents, ..
            } => {
                let symlinks = contents.iter().flat_map(|content| &content.symlinks);
                for (path, target) in symlinks {
                    tree.links.insert(path.clone(), target.clone());
                }
                for file in files {
                    add_file(&mut tree, file);
                }
            }
            PlannedLayer::Tar { .. } | PlannedLayer::Nix2container { .. } => return None,
            PlannedLayer::Store { .. } | PlannedLayer::Database { .. } | PlannedLayer::Base(_) => {}
        }
    }
    Some(tree)
}

fn add_file(tree: &mut BaseTree, file: &RootFileSpec) {
    let path = file.path.clone();
    tree.links.remove(&path);
    tree.directories.remove(&path);
    match (file.kind, &file.target) {
        // It may lead to a file. Then nothing of ours can stand below it anyway.
        (RootFileType::Symlink, Some(target)) => {
            tree.links.insert(path, target.clone());
        }
        (RootFileType::Directory, _) => {
            let owner = DirectoryOwner {
                mode: file.mode.clone().unwrap_or_else(|| "0755".to_owned()),
                uid: file.uid,
                gid: file.gid,
            };
            tree.directories.insert(path, owner);
        }
        _ => {}
    }
}

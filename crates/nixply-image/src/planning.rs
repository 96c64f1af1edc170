//! From a closure and options to a plan.

use crate::plan::LayerFormatRecord;
use crate::{PackerRecord, Plan, PlannedLayer, PlannedPath, RootFileError, RootFileSpec};
use nixply_layer::{Compression, LayerContents, StorePathContent};
use nixply_oci::{Platform, RuntimeConfig};
use nixply_pack::{Budget, PackError, PackOptions, Packer, pack};
use nixply_store::Closure;
use std::collections::BTreeMap;

/// The most layers where nobody says otherwise: dockerTools' default, which leaves Docker's limit of 125 some room for
/// images built on top.
pub const DEFAULT_MAX_LAYERS: usize = 100;

/// Everything that a plan depends on beside the closure.
#[derive(Debug, Clone)]
pub struct PlanOptions {
    /// What decides the layers.
    pub packer: Packer,
    /// The most layers that the image may have, root layer included.
    pub max_layers: usize,
    /// How layers are compressed.
    pub compression: Compression,
    /// How layers are written.
    pub layer_format: LayerFormatRecord,
    /// What the image runs on.
    pub platform: Platform,
    /// What a container runs.
    pub config: RuntimeConfig,
    /// What stands outside the store, resolved.
    pub root_files: Vec<RootFileSpec>,
    /// The image's name.
    pub name: Option<String>,
    /// The image's tag.
    pub tag: Option<String>,
    /// The image's creation time.
    pub created: Option<String>,
    /// Annotations of the manifest.
    pub annotations: BTreeMap<String, String>,
    /// What the plan names as its tool.
    pub tool: Option<String>,
}

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlanningError {
    /// The packer cannot keep to the budget.
    #[error(transparent)]
    Pack(#[from] PackError),
    /// A root file cannot be part of an image.
    #[error(transparent)]
    RootFile(#[from] RootFileError),
    /// There is neither a store path nor a root file.
    #[error("the image would be empty: it has neither store paths nor root files")]
    Empty,
}

/// Packs a closure into layers and puts the root files, where there are any, into one more on top.
pub fn plan_image(closure: Option<&Closure>, options: PlanOptions) -> Result<Plan, PlanningError> {
    if closure.is_none() && options.root_files.is_empty() {
        return Err(PlanningError::Empty);
    }
    let id = options.packer.id();
    let packer = PackerRecord {
        name: id.name.to_owned(),
        version: id.version,
        max_layers: options.max_layers,
    };
    let mut plan = Plan::empty(options.platform, packer, options.compression);
    plan.layer_format = options.layer_format;
    if let Some(closure) = closure {
        let budget = Budget {
            max_layers: options.max_layers,
            reserved_layers: usize::from(!options.root_files.is_empty()),
        };
        let packing = pack(closure, &PackOptions::new(options.packer, budget))?;
        plan.roots = closure
            .roots()
            .into_iter()
            .map(|idx| path_text(closure, idx))
            .collect();
        for layer in packing.layers {
            let planned = store_layer(&plan, closure, layer.paths);
            plan.layers.push(planned);
        }
    }
    if !options.root_files.is_empty() {
        let mut files = options.root_files;
        files.sort_by(|a, b| a.path.cmp(&b.path));
        let contents = LayerContents::Root {
            files: plan.root_files(&files)?,
        };
        let key = plan.layer_spec(contents).key();
        plan.layers.push(PlannedLayer::Root { key, files });
    }
    plan.tool = options.tool;
    plan.name = options.name;
    plan.tag = options.tag;
    plan.config = options.config;
    plan.created = options.created;
    plan.annotations = options.annotations;
    Ok(plan)
}

fn path_text(closure: &Closure, idx: nixply_store::PathIdx) -> String {
    closure.store_dir().display(&closure.info(idx).path)
}

fn store_layer(
    plan: &Plan,
    closure: &Closure,
    mut layer: Vec<nixply_store::PathIdx>,
) -> PlannedLayer {
    // nixply's own format knows a set of paths; dockerTools writes them in the packer's order.
    if plan.layer_format == LayerFormatRecord::Nixply {
        layer.sort_unstable();
    }
    let contents = LayerContents::Store {
        store_dir: closure.store_dir().clone(),
        paths: layer
            .iter()
            .map(|idx| {
                let info = closure.info(*idx);
                StorePathContent {
                    path: info.path.clone(),
                    nar_hash: info.nar_hash,
                    nar_size_bytes: info.nar_size_bytes,
                }
            })
            .collect(),
    };
    let paths: Vec<PlannedPath> = layer
        .iter()
        .map(|idx| {
            let info = closure.info(*idx);
            PlannedPath {
                path: path_text(closure, *idx),
                nar_hash: info.nar_hash,
                nar_size_bytes: info.nar_size_bytes,
            }
        })
        .collect();
    PlannedLayer::Store {
        key: plan.layer_spec(contents).key(),
        nar_size_bytes: paths
            .iter()
            .map(|path| path.nar_size_bytes)
            .fold(0, u64::saturating_add),
        paths,
    }
}

//! The order in which dockerTools' popularity contest packs the store paths of a derivation's image.
//!
//! dockerTools does not run the contest on the image's store paths alone: the file with the config and the customisation
//! layer are in the graph, and so is the file that names these two, its root. They are taken out of the list afterwards.
//! Where the bytes of dockerTools are asked for, this is done here, too: the specification is the root, its layer tars are
//! customisation layers, and a node is made up for the config.

use crate::planning::PlanningError;
use crate::{ImageSpec, LayerFormatRecord, Plan, PlanError, PlannedLayer, PlannedPath};
use nixply_pack::{Budget, PackOptions, Packer, pack};
use nixply_store::{Closure, ClosureError, NarHash, PathInfo, StorePath};
use std::collections::BTreeMap;

/// The made-up store path of the file with the config.
const CONFIG_NODE: &str = "00000000000000000000000000000000-base.json";

/// Why the order cannot be told.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DockertoolsOrderError {
    /// The graph is no closure.
    #[error(transparent)]
    Closure(#[from] ClosureError),
    /// The contest cannot be held.
    #[error(transparent)]
    Planning(#[from] PlanningError),
    /// The plan cannot be put in order.
    #[error(transparent)]
    Plan(#[from] PlanError),
}

/// True where a specification asks for the bytes and the contest of dockerTools.
#[must_use]
pub fn wants_dockertools_order(spec: &ImageSpec) -> bool {
    let exact = matches!(spec.layer_format, Some(LayerFormatRecord::Dockertools(_)));
    exact && spec.packer.as_deref() == Some("popularity")
}

/// Puts the store paths of a plan in dockerTools' order. `exported` is the closure of the specification `spec`, itself in
/// it; `in_config` are the store paths that its config names, `tars` those that hold its layer tars.
///
/// # Errors
/// [`DockertoolsOrderError`], which closures that Nix exports do not have.
pub fn in_dockertools_order(
    plan: Plan,
    exported: &Closure,
    spec: &StorePath,
    in_config: &[StorePath],
    tars: &[StorePath],
) -> Result<Plan, DockertoolsOrderError> {
    let order = contest(exported, spec, in_config, tars)?;
    Ok(regroup(plan, &order)?)
}

/// All paths of the graph, the most popular first.
fn contest(
    exported: &Closure,
    spec: &StorePath,
    in_config: &[StorePath],
    tars: &[StorePath],
) -> Result<Vec<StorePath>, DockertoolsOrderError> {
    let Ok(config_node) = StorePath::new(CONFIG_NODE) else {
        return Ok(Vec::new());
    };
    let mut records: Vec<(PathInfo, Vec<StorePath>)> = exported
        .indices()
        .map(|idx| {
            let info = exported.info(idx).clone();
            let references = if info.path == *spec {
                let files = tars.iter().chain([&config_node]);
                files.cloned().collect()
            } else {
                let references = exported.references(idx);
                references
                    .map(|to| exported.info(to).path.clone())
                    .collect()
            };
            (info, references)
        })
        .collect();
    records.push((
        PathInfo {
            path: config_node.clone(),
            nar_hash: NarHash::from_bytes([0; 32]),
            nar_size_bytes: 0,
            ca: None,
            deriver: None,
            signatures: Vec::new(),
            registration_time_secs: None,
        },
        in_config.to_vec(),
    ));
    let graph = Closure::new(exported.store_dir().clone(), records)?
        .restrict(std::slice::from_ref(spec))?;
    let packing = pack(
        &graph,
        &PackOptions {
            packer: Packer::Popularity,
            budget: Budget {
                max_layers: graph.paths().len(),
                reserved_layers: 0,
            },
            volatile: &[],
            catalog: None,
            prior: &[],
            pipeline: None,
        },
    )
    .map_err(PlanningError::from)?;
    let paths = packing.layers.into_iter().flat_map(|layer| layer.paths);
    Ok(paths.map(|idx| graph.info(idx).path.clone()).collect())
}

/// Spreads the store paths of a plan over as many layers as it has for them, in an order of all of them: one each, and the
/// last layer takes the rest.
fn regroup(mut plan: Plan, order: &[StorePath]) -> Result<Plan, PlanError> {
    let Some(store_dir) = plan.store_dir() else {
        return Ok(plan);
    };
    let is_store = |layer: &PlannedLayer| matches!(layer, PlannedLayer::Store { .. });
    let Some(first) = plan.layers.iter().position(is_store) else {
        return Ok(plan);
    };
    let mut planned: BTreeMap<String, PlannedPath> = BTreeMap::new();
    let mut others = Vec::new();
    let mut count = 0;
    for layer in std::mem::take(&mut plan.layers) {
        if let PlannedLayer::Store { paths, .. } = layer {
            count += 1;
            planned.extend(paths.into_iter().map(|path| (path.path.clone(), path)));
        } else {
            others.push(layer);
        }
    }
    let mut ordered: Vec<PlannedPath> = order
        .iter()
        .filter_map(|path| planned.remove(&store_dir.display(path)))
        .collect();
    // What the graph does not reach is in no order; there is none unless somebody added paths by hand.
    ordered.extend(planned.into_values());
    let rest = ordered.split_off(ordered.len().min(count - 1));
    let mut groups: Vec<Vec<PlannedPath>> = ordered.into_iter().map(|path| vec![path]).collect();
    if !rest.is_empty() {
        groups.push(rest);
    }
    let mut layers = Vec::with_capacity(groups.len());
    for paths in groups {
        let layer_idx = layers.len();
        let mut contents = Vec::with_capacity(paths.len());
        for planned in &paths {
            let path = store_dir
                .parse(&planned.path)
                .map_err(|source| PlanError::StorePath { layer_idx, source })?;
            let content = planned.content(path).ok_or_else(|| PlanError::Mode {
                path: planned.path.clone(),
            })?;
            contents.push(content);
        }
        layers.push(plan.given_layer(store_dir.clone(), paths, contents));
    }
    others.splice(first..first, layers);
    plan.layers = others;
    Ok(plan)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{PackerRecord, PlannedPermissions};
    use nixply_layer::Compression;
    use nixply_oci::Platform;

    #[test]
    fn owners_and_modes_stay_with_their_paths() {
        let packer = PackerRecord {
            name: "popularity".to_owned(),
            version: 1,
            max_layers: 3,
            catalog: None,
            level: None,
            unknown_paths: None,
            pipeline: None,
        };
        let none = Compression::None;
        let mut plan = Plan::empty(Platform::linux("amd64"), packer, none);
        let store_dir = nixply_store::StoreDir::default();
        let names = ["a", "b"].map(|name| format!("{}-{name}", "0".repeat(32)));
        let paths = names.map(|name| StorePath::new(&name).unwrap());
        for path in &paths {
            let planned = PlannedPath {
                path: store_dir.display(path),
                nar_hash: NarHash::from_bytes([0; 32]),
                nar_size_bytes: 5,
                rides_on: None,
                permissions: vec![PlannedPermissions {
                    mode: "4755".to_owned(),
                    uid: 0,
                    gid: 7,
                    entries: vec!["bin/su".to_owned()],
                }],
            };
            let content = planned.content(path.clone()).unwrap();
            let layer = plan.given_layer(store_dir.clone(), vec![planned], vec![content]);
            plan.layers.push(layer);
        }
        let upside_down = [paths[1].clone(), paths[0].clone()];
        let ordered = regroup(plan.clone(), &upside_down).unwrap();
        plan.layers.reverse();
        assert_eq!(ordered, plan);
        ordered.layer_specs().unwrap();
    }
}

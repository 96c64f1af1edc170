//! The explanation as JSON: `nixply.explain/1` (`docs/reading-plans.md`).

use super::Explained;
use crate::error::{CliError, ExitStatus};
use nixply_image::{LayerHolds, LayerWhy, Package, SizeMeasure, VolatileReasonRecord};
use nixply_store::StorePath;
use serde_json::{Value, json};
use std::collections::BTreeMap;

const SCHEMA: &str = "nixply.explain/1";

pub(super) fn image(explained: &Explained<'_>) -> Result<String, CliError> {
    let contents = &explained.known.contents;
    let layers: Vec<Value> = (0..contents.layers.len())
        .map(|idx| layer(explained, idx))
        .collect();
    let plan = explained.known.plan.as_ref();
    text(&json!({
        "schema": SCHEMA,
        "image": explained.args.image,
        "digest": contents.digest.map(|digest| digest.to_string()),
        "packer": plan.map(|plan| &plan.packer),
        "sizes": match contents.measure {
            SizeMeasure::NarSize => "nar",
            SizeMeasure::StoredSize => "stored",
        },
        "roots": paths(explained, explained.roots()),
        "references_known": explained.graph.is_some(),
        "layers": layers,
    }))
}

pub(super) fn path(explained: &Explained<'_>, path: &StorePath) -> Result<String, CliError> {
    let contents = &explained.known.contents;
    let layers: Vec<usize> = (0..contents.layers.len())
        .filter(|idx| {
            contents.layers[*idx]
                .paths()
                .iter()
                .any(|held| held.path == *path)
        })
        .collect();
    let graph = explained.graph.as_ref();
    let most = if explained.args.all {
        usize::MAX
    } else {
        super::path::MAX_CHAINS
    };
    let package = Package::of_name(path.name());
    let users = graph.and_then(|graph| graph.users(path));
    text(&json!({
        "schema": SCHEMA,
        "image": explained.args.image,
        "path": contents.store_dir.display(path),
        "package": package.name,
        "version": package.version,
        "nar_size_bytes": explained.nar_size_bytes(path),
        "layers": layers.iter().map(|idx| reason(explained, *idx)).collect::<Vec<_>>(),
        "rides_on": layers.iter().find_map(|idx| rides_on(explained, *idx, path)),
        "volatile": volatile(explained, path),
        "references_known": graph.is_some(),
        "is_root": graph.map(|graph| graph.is_root(path)),
        "users": users.map(|users| users.all),
        "direct_users": users.map(|users| users.direct),
        "users_among_roots": users.map(|users| users.roots),
        "references": users.map(|users| users.references),
        "chains": graph.map(|graph| {
            let chains = graph.chains(path, most).into_iter();
            chains.map(|chain| paths(explained, chain)).collect::<Vec<_>>()
        }),
    }))
}

fn layer(explained: &Explained<'_>, idx: usize) -> Value {
    let outline = &explained.known.contents.layers[idx];
    let mut value = reason(explained, idx);
    match &outline.holds {
        LayerHolds::StorePaths(held) => {
            let hosts: BTreeMap<&StorePath, &StorePath> = explained.layers[idx]
                .riders
                .iter()
                .map(|(rider, host)| (rider, host))
                .collect();
            let store_dir = &explained.known.contents.store_dir;
            value["paths"] = held
                .iter()
                .map(|held| {
                    json!({
                        "path": store_dir.display(&held.path),
                        "nar_size_bytes": held.nar_size_bytes.or_else(|| {
                            explained.graph.as_ref()?.nar_size_bytes(&held.path)
                        }),
                        "rides_on": hosts.get(&held.path).map(|host| store_dir.display(host)),
                        "volatile": volatile(explained, &held.path),
                    })
                })
                .collect();
        }
        LayerHolds::RootFiles(files) => value["files"] = json!(files),
        LayerHolds::Unknown(comment) => value["comment"] = json!(comment),
    }
    value
}

/// A layer's place, size and reason.
fn reason(explained: &Explained<'_>, idx: usize) -> Value {
    let layer = &explained.layers[idx];
    let store_dir = &explained.known.contents.store_dir;
    json!({
        "layer": idx + 1,
        "size_bytes": explained.known.contents.layers[idx].size_bytes,
        "why": match layer.why {
            LayerWhy::Alone => "alone",
            LayerWhy::Riders => "riders",
            LayerWhy::Together => "together",
            LayerWhy::Headed => "headed",
            LayerWhy::Small => "small",
            LayerWhy::Rest => "rest",
            LayerWhy::AskedFor => "asked-for",
            LayerWhy::Prior => "prior",
            LayerWhy::Roots => "roots",
            LayerWhy::Grouped => "grouped",
            LayerWhy::Volatile => "volatile",
            LayerWhy::RootFiles => "root-files",
            LayerWhy::Unknown => "unknown",
        },
        "recorded": layer.recorded,
        "head": layer.head.as_ref().map(|head| store_dir.display(head)),
        "sets": layer.sets,
        "set_count": layer.set_count,
    })
}

fn rides_on(explained: &Explained<'_>, idx: usize, path: &StorePath) -> Option<String> {
    let riders = &explained.layers[idx].riders;
    let (_, host) = riders.iter().find(|(rider, _)| rider == path)?;
    Some(explained.known.contents.store_dir.display(host))
}

fn volatile(explained: &Explained<'_>, path: &StorePath) -> Option<VolatileReasonRecord> {
    super::path::volatile(explained, path)
}

fn paths(explained: &Explained<'_>, paths: Vec<&StorePath>) -> Vec<String> {
    let store_dir = &explained.known.contents.store_dir;
    paths
        .into_iter()
        .map(|path| store_dir.display(path))
        .collect()
}

fn text(value: &Value) -> Result<String, CliError> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| CliError::from_error(ExitStatus::Failed, &error))?;
    Ok(text + "\n")
}

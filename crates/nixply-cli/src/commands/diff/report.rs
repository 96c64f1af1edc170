//! The comparison as JSON: `nixply.diff/1` (`docs/reading-plans.md`).

use super::Diff;
use super::packing::{packed_alike, packer};
use crate::contents::Known;
use crate::error::{CliError, ExitStatus};
use nixply_image::{
    Change, ChangeKind, Identity, LayerComparison, LayerFate, PackerRecord, SizeMeasure, Traffic,
};
use nixply_store::{StoreDir, StorePath};
use serde::Serialize;
use serde_json::{Value, json};

#[derive(Debug, Serialize)]
struct Report<'a> {
    schema: &'static str,
    differ: bool,
    old: Side<'a>,
    new: Side<'a>,
    packed_alike: Option<bool>,
    identity: &'static str,
    references_known: bool,
    paths_known: bool,
    layers: Counts,
    push: Moved,
    pull: Moved,
    chain_pull: Value,
    carried: Value,
    config: Vec<Value>,
    packages: Vec<Package<'a>>,
    moved_layers: Vec<MovedLayer>,
    gone_layers: Vec<usize>,
}

#[derive(Debug, Serialize)]
struct Side<'a> {
    image: &'a str,
    digest: Option<String>,
    packer: Option<&'a PackerRecord>,
    sizes: &'static str,
    layers: usize,
    size_bytes: u64,
}

#[derive(Debug, Default, Serialize)]
struct Counts {
    kept: usize,
    recompressed: usize,
    remade: usize,
    changed: usize,
    new: usize,
    gone: usize,
}

#[derive(Debug, Serialize)]
struct Moved {
    layers: usize,
    size_bytes: u64,
}

#[derive(Debug, Serialize)]
struct Package<'a> {
    name: &'a str,
    change: &'static str,
    old_version: Option<&'a str>,
    new_version: Option<&'a str>,
    old_paths: Vec<String>,
    new_paths: Vec<String>,
    nar_size_bytes: u64,
    because_of: &'a [usize],
    touched_layers: usize,
    touched_bytes: u64,
    alone_bytes: u64,
}

#[derive(Debug, Serialize)]
struct MovedLayer {
    /// Counted from the bottom, from 1.
    layer: usize,
    old_layer: Option<usize>,
    fate: &'static str,
    size_bytes: u64,
    packages: Vec<usize>,
    causes: Vec<usize>,
}

pub(super) fn json(diff: &Diff<'_>) -> Result<String, CliError> {
    let comparison = diff.comparison;
    let report = Report {
        schema: "nixply.diff/1",
        differ: diff.differ(),
        old: side(&diff.args.old, diff.old),
        new: side(&diff.args.new, diff.new),
        packed_alike: packed_alike(diff),
        identity: match comparison.identity {
            Identity::Digest => "digest",
            Identity::Key => "key",
            Identity::StorePaths => "store-paths",
        },
        references_known: comparison.references_known,
        paths_known: comparison.paths_known,
        layers: counts(&comparison.layers, comparison.gone.len()),
        push: moved(comparison.push),
        pull: moved(comparison.pull),
        chain_pull: json!({
            "layers": comparison.chain_pull.layers,
            "size_bytes": comparison.chain_pull.size_bytes,
            "first_layer": (comparison.chain_start < comparison.layers.len())
                .then_some(comparison.chain_start + 1),
        }),
        carried: json!({
            "paths": comparison.carried_paths,
            "nar_size_bytes": comparison.carried_nar_bytes,
        }),
        config: comparison
            .config
            .iter()
            .map(|change| json!({"field": change.field, "old": change.old, "new": change.new}))
            .collect(),
        packages: comparison
            .changes
            .iter()
            .map(|change| {
                let dirs = (&diff.old.contents.store_dir, &diff.new.contents.store_dir);
                package(change, dirs)
            })
            .collect(),
        moved_layers: comparison
            .layers
            .iter()
            .enumerate()
            .filter(|(_, layer)| layer.fate != LayerFate::Kept)
            .map(|(idx, layer)| moved_layer(idx, layer))
            .collect(),
        gone_layers: comparison.gone.iter().map(|idx| idx + 1).collect(),
    };
    let text = serde_json::to_string_pretty(&report)
        .map_err(|error| CliError::from_error(ExitStatus::Failed, &error))?;
    Ok(text + "\n")
}

fn side<'a>(image: &'a str, known: &'a Known) -> Side<'a> {
    let contents = &known.contents;
    Side {
        image,
        digest: contents.digest.map(|digest| digest.to_string()),
        packer: packer(known),
        sizes: match contents.measure {
            SizeMeasure::NarSize => "nar",
            SizeMeasure::StoredSize => "stored",
        },
        layers: contents.layers.len(),
        size_bytes: contents.size_bytes(),
    }
}

fn counts(layers: &[LayerComparison], gone: usize) -> Counts {
    let count = |fate| layers.iter().filter(|layer| layer.fate == fate).count();
    Counts {
        kept: count(LayerFate::Kept),
        recompressed: count(LayerFate::Recompressed),
        remade: count(LayerFate::Remade),
        changed: count(LayerFate::Changed),
        new: count(LayerFate::New),
        gone,
    }
}

fn moved(traffic: Traffic) -> Moved {
    Moved {
        layers: traffic.layers,
        size_bytes: traffic.size_bytes,
    }
}

fn package<'a>(change: &'a Change, (old, new): (&StoreDir, &StoreDir)) -> Package<'a> {
    let texts =
        |dir: &StoreDir, paths: &[StorePath]| paths.iter().map(|path| dir.display(path)).collect();
    Package {
        name: &change.name,
        change: match change.kind {
            ChangeKind::Version => "version",
            ChangeKind::Rebuilt => "rebuilt",
            ChangeKind::RebuiltByReference => "rebuilt-by-reference",
            ChangeKind::Remade => "remade",
            ChangeKind::Added => "added",
            ChangeKind::Removed => "removed",
        },
        old_version: change.old_version.as_deref(),
        new_version: change.new_version.as_deref(),
        old_paths: texts(old, &change.old_paths),
        new_paths: texts(new, &change.new_paths),
        nar_size_bytes: change.nar_size_bytes,
        because_of: &change.because_of,
        touched_layers: change.touched_layers,
        touched_bytes: change.touched_bytes,
        alone_bytes: change.alone_bytes,
    }
}

fn moved_layer(idx: usize, layer: &LayerComparison) -> MovedLayer {
    MovedLayer {
        layer: idx + 1,
        old_layer: layer.old_idx.map(|idx| idx + 1),
        fate: match layer.fate {
            LayerFate::Kept => "kept",
            LayerFate::Recompressed => "recompressed",
            LayerFate::Remade => "remade",
            LayerFate::Changed => "changed",
            LayerFate::New => "new",
        },
        size_bytes: layer.size_bytes,
        packages: layer.changes.clone(),
        causes: layer.causes.clone(),
    }
}

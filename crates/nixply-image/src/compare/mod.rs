//! Two images side by side: what has to be moved from one to the other, and which packages are behind it.
//!
//! # Duty
//!
//! [`compare`] takes what is known of two images ([`ImageContents`]) and, where somebody has them, the references of the
//! new one's store paths. It reads no layer. Three questions are answered in turn: which path became which (`paths`),
//! which layer became which and what that moves (`layers`), and whose change is behind each layer that moves
//! (`causes`).
//!
//! # What is behind a change
//!
//! A path of another version, an added, a removed or a remade one is a *cause*. A path that has its old name and version and another
//! hash was built again; where one of its references changed, that is why, and only the causes of that reference are
//! behind it. Without references nobody can tell, so then every path that was built again is a cause.

mod causes;
mod layers;
mod paths;

pub use layers::{Identity, LayerFate, Traffic};

use crate::contents::{HeldPath, ImageContents, LayerHolds};
use crate::package::Package;
use causes::Causes;
use nixply_store::{Closure, StorePath};
use paths::{Pairing, pair_paths};
use serde_json::Value;
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// How a package changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChangeKind {
    /// Another version.
    Version,
    /// The same version built again with no changed reference: its recipe changed, or what it was built with.
    Rebuilt,
    /// The same version built again because of a reference.
    RebuiltByReference,
    /// The same store path with another NAR hash: the build is not reproducible.
    Remade,
    /// The old image has no path of the package.
    Added,
    /// The new image has no path of the package.
    Removed,
}

/// The paths of one package that changed in one way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The package's name, without its version.
    pub name: String,
    /// How it changed.
    pub kind: ChangeKind,
    /// The version of the old image; none where it is added, or its name has no version.
    pub old_version: Option<String>,
    /// The version of the new image; none where it is removed, or its name has no version.
    pub new_version: Option<String>,
    /// The paths of the old image.
    pub old_paths: Vec<StorePath>,
    /// The paths of the new image.
    pub new_paths: Vec<StorePath>,
    /// The NAR sizes of the new paths, summed; 0 where they are not known.
    pub nar_size_bytes: u64,
    /// The changes behind this one, as positions in [`Comparison::changes`]; empty for a cause.
    pub because_of: Vec<usize>,
    /// How many layers that move have a path that changed because of this.
    pub touched_layers: usize,
    /// The sizes of those layers, summed.
    pub touched_bytes: u64,
    /// The sizes of the layers that nothing else touches.
    pub alone_bytes: u64,
}

impl Change {
    /// True where nothing else is behind it.
    #[must_use]
    pub fn is_cause(&self) -> bool {
        self.kind != ChangeKind::RebuiltByReference
    }
}

/// A layer of the new image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerComparison {
    /// What became of it.
    pub fate: LayerFate,
    /// Its counterpart in the old image, from the bottom, from 0.
    pub old_idx: Option<usize>,
    /// Its size, in the new image's measure.
    pub size_bytes: u64,
    /// The changes of the paths in it, and of those that left it, the largest first, as positions in
    /// [`Comparison::changes`].
    pub changes: Vec<usize>,
    /// The changes behind those. A layer that moves without any holds the same paths in another grouping.
    pub causes: Vec<usize>,
}

/// A field of the image's config that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigChange {
    /// The field, as the config names it.
    pub field: String,
    /// Its old value; null where it was not there.
    pub old: Value,
    /// Its new value; null where it is gone.
    pub new: Value,
}

/// What tells two images apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comparison {
    /// What layers were told apart by.
    pub identity: Identity,
    /// The layers of the new image, bottom first.
    pub layers: Vec<LayerComparison>,
    /// The layers of the old image that have no counterpart.
    pub gone: Vec<usize>,
    /// What changed: causes first, by the bytes that they touch, then what was built again because of them, by size.
    pub changes: Vec<Change>,
    /// What a registry lacks that holds the old image.
    pub push: Traffic,
    /// What a client lacks that holds the old image and keeps layers by their diff IDs.
    pub pull: Traffic,
    /// What a client fetches that holds the old image and keeps layers only with all that is below them.
    pub chain_pull: Traffic,
    /// The layer that such a client starts with, from the bottom, from 0; the number of layers where it fetches none.
    pub chain_start: usize,
    /// How the configs differ.
    pub config: Vec<ConfigChange>,
    /// The paths that both images have, and how many the new one has in all.
    pub kept_paths: usize,
    /// The unchanged paths that move all the same, because they are in layers that do.
    pub carried_paths: usize,
    /// Their NAR sizes, summed, where all of them are known.
    pub carried_nar_bytes: Option<u64>,
    /// True where references told which rebuilt paths were built again because of which.
    pub references_known: bool,
    /// True where the layers of both images say which store paths they hold.
    pub paths_known: bool,
}

impl Comparison {
    /// True where anything differs that this comparison looks at.
    #[must_use]
    pub fn differ(&self) -> bool {
        let kept = |layer: &LayerComparison| layer.fate == LayerFate::Kept;
        !self.layers.iter().all(kept)
            || !self.gone.is_empty()
            || !self.config.is_empty()
            || self.chain_start < self.layers.len()
    }
}

/// Compares two images. `references` has the references of the new image's store paths; paths that it does not have
/// count as without references.
#[must_use]
pub fn compare(
    old: &ImageContents,
    new: &ImageContents,
    references: Option<&Closure>,
) -> Comparison {
    let old_paths: BTreeMap<&StorePath, &HeldPath> =
        old.paths().map(|held| (&held.path, held)).collect();
    let new_paths: BTreeMap<&StorePath, &HeldPath> =
        new.paths().map(|held| (&held.path, held)).collect();
    let pairing = pair_paths(&old_paths, &new_paths);
    let identity = layers::identity_of(old, new);
    let paired = layers::pair_layers(old, new, identity, &pairing);
    let mut changes = changes_of(&new_paths, &pairing, references);
    let moves = |fate: LayerFate| fate != LayerFate::Kept;
    let causes = Causes::new(&changes, references);

    let mut compared: Vec<LayerComparison> = paired
        .iter()
        .zip(&new.layers)
        .map(|(paired, layer)| {
            let left = paired.old_idx.map(|idx| old.layers[idx].paths());
            let own = if moves(paired.fate) {
                causes.own(layer.paths(), left.unwrap_or_default())
            } else {
                Vec::new()
            };
            LayerComparison {
                fate: paired.fate,
                old_idx: paired.old_idx,
                size_bytes: layer.size_bytes,
                causes: Vec::new(),
                changes: own,
            }
        })
        .collect();
    causes.attribute(&mut changes, &mut compared, &new.layers);
    sort(&mut changes, &mut compared);

    let carried: Vec<&HeldPath> = compared
        .iter()
        .zip(&new.layers)
        .filter(|(compared, _)| moves(compared.fate))
        .flat_map(|(_, layer)| layer.paths())
        .filter(|held| !causes.is_changed(&held.path))
        .collect();
    let chain_start = layers::chain_start(old, new, identity);
    let taken: Vec<usize> = paired.iter().filter_map(|paired| paired.old_idx).collect();
    Comparison {
        identity,
        push: layers::traffic(new, identity, |idx| moves(paired[idx].fate)),
        pull: layers::traffic(new, identity, |idx| {
            !matches!(paired[idx].fate, LayerFate::Kept | LayerFate::Recompressed)
        }),
        chain_pull: layers::traffic(new, identity, |idx| idx >= chain_start),
        chain_start,
        layers: compared,
        gone: (0..old.layers.len())
            .filter(|idx| !taken.contains(idx))
            .collect(),
        changes,
        config: config_changes(old, new),
        kept_paths: new_paths
            .keys()
            .filter(|path| old_paths.contains_key(*path))
            .count(),
        carried_paths: carried.len(),
        carried_nar_bytes: carried.iter().try_fold(0_u64, |sum, held| {
            Some(sum.saturating_add(held.nar_size_bytes?))
        }),
        references_known: references.is_some(),
        paths_known: [old, new].into_iter().all(|image| {
            let unknown = |holds: &LayerHolds| matches!(holds, LayerHolds::Unknown(_));
            !image.layers.iter().any(|layer| unknown(&layer.holds))
        }),
    }
}

/// One change for each package, way and pair of versions.
fn changes_of(
    new_paths: &BTreeMap<&StorePath, &HeldPath>,
    pairing: &Pairing<'_>,
    references: Option<&Closure>,
) -> Vec<Change> {
    let mut changes: BTreeMap<(String, ChangeKind, String, String), Change> = BTreeMap::new();
    let mut add = |kind: ChangeKind, old: Option<&HeldPath>, new: Option<&HeldPath>| {
        let package = |held: Option<&HeldPath>| held.map(|held| Package::of_name(held.path.name()));
        let (old_package, new_package) = (package(old), package(new));
        let version = |package: &Option<Package>| {
            let version = package.as_ref().map(|package| package.version.clone());
            version.filter(|version| !version.is_empty())
        };
        let (old_version, new_version) = (version(&old_package), version(&new_package));
        let Some(name) = new_package.or(old_package).map(|package| package.name) else {
            return;
        };
        let key = (
            name.clone(),
            kind,
            old_version.clone().unwrap_or_default(),
            new_version.clone().unwrap_or_default(),
        );
        let change = changes.entry(key).or_insert_with(|| Change {
            name,
            kind,
            old_version,
            new_version,
            old_paths: Vec::new(),
            new_paths: Vec::new(),
            nar_size_bytes: 0,
            because_of: Vec::new(),
            touched_layers: 0,
            touched_bytes: 0,
            alone_bytes: 0,
        });
        change.old_paths.extend(old.map(|held| held.path.clone()));
        change.new_paths.extend(new.map(|held| held.path.clone()));
        let bytes = new.and_then(|held| held.nar_size_bytes).unwrap_or(0);
        change.nar_size_bytes = change.nar_size_bytes.saturating_add(bytes);
    };
    // A path that refers to no path but unchanged ones does not differ because of a reference.
    let has_changed_reference = |path: &StorePath| {
        references.is_some_and(|closure| {
            closure.find(path).is_some_and(|idx| {
                closure.references(idx).any(|to| {
                    let to = &closure.info(to).path;
                    pairing.old_of.get(to).is_none_or(|old| old.path != *to)
                })
            })
        })
    };
    for (path, new) in new_paths {
        match pairing.old_of.get(path) {
            Some(old) if old.path == **path => {
                if let (Some(a), Some(b)) = (old.nar_hash, new.nar_hash)
                    && a != b
                {
                    add(ChangeKind::Remade, Some(old), Some(new));
                }
            }
            Some(old) => {
                let same_version =
                    Package::of_name(old.path.name()) == Package::of_name(path.name());
                let kind = match same_version {
                    false => ChangeKind::Version,
                    true if has_changed_reference(path) => ChangeKind::RebuiltByReference,
                    true => ChangeKind::Rebuilt,
                };
                add(kind, Some(old), Some(new));
            }
            None => add(ChangeKind::Added, None, Some(new)),
        }
    }
    for old in &pairing.removed {
        add(ChangeKind::Removed, Some(old), None);
    }
    changes.into_values().collect()
}

/// Puts the changes into the order that [`Comparison::changes`] promises, and the positions of them, too.
fn sort(changes: &mut Vec<Change>, layers: &mut [LayerComparison]) {
    let mut order: Vec<usize> = (0..changes.len()).collect();
    order.sort_by_key(|&idx| {
        let change = &changes[idx];
        (
            !change.is_cause(),
            Reverse((change.touched_bytes, change.alone_bytes)),
            Reverse(change.nar_size_bytes),
            idx,
        )
    });
    let mut position = vec![0; order.len()];
    for (new, &old) in order.iter().enumerate() {
        position[old] = new;
    }
    let renumber = |indices: &mut Vec<usize>| {
        for idx in indices.iter_mut() {
            *idx = position[*idx];
        }
    };
    for change in changes.iter_mut() {
        renumber(&mut change.because_of);
        change.because_of.sort_unstable();
    }
    for layer in layers.iter_mut() {
        renumber(&mut layer.changes);
        renumber(&mut layer.causes);
        layer.causes.sort_unstable();
    }
    let mut slots: Vec<Option<Change>> = std::mem::take(changes).into_iter().map(Some).collect();
    changes.extend(order.into_iter().filter_map(|idx| slots[idx].take()));
}

/// The fields that differ in what a container runs, and in what the image says of itself.
fn config_changes(old: &ImageContents, new: &ImageContents) -> Vec<ConfigChange> {
    let fields = |image: &ImageContents| {
        let mut fields = match serde_json::to_value(&image.config) {
            Ok(Value::Object(fields)) => fields,
            _ => serde_json::Map::new(),
        };
        fields.insert(
            "platform".to_owned(),
            Value::from(image.platform.to_string()),
        );
        fields.insert("created".to_owned(), Value::from(image.created.clone()));
        fields
    };
    let (mut old, mut new) = (fields(old), fields(new));
    let names: std::collections::BTreeSet<String> = old.keys().chain(new.keys()).cloned().collect();
    names
        .into_iter()
        .filter_map(|field| {
            let (old, new) = (old.remove(&field), new.remove(&field));
            (old != new).then(|| ConfigChange {
                field,
                old: old.unwrap_or_default(),
                new: new.unwrap_or_default(),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests;

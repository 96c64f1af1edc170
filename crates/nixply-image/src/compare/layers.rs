//! Which layer of the old image became which of the new one, and what that costs.

use super::paths::Pairing;
use crate::contents::{ImageContents, LayerHolds, LayerOutline};
use nixply_store::StorePath;
use std::collections::{BTreeMap, BTreeSet};

/// How far two layers are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Sameness {
    /// The bytes on the wire are other ones; those of the tar are not known to be the same.
    No,
    /// The same tar in another compression.
    SameTar,
    /// The same bytes on the wire.
    SameBlob,
}

/// What layers are told apart by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Identity {
    /// The digests and diff IDs of two images.
    Digest,
    /// Layer keys: what the layers are made from, bytes for bytes.
    Key,
    /// Sets of store paths: the other image has no layer keys, so whether its bytes are the same is not known.
    StorePaths,
}

/// What became of a layer of the new image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LayerFate {
    /// The old image has it.
    Kept,
    /// The old image has the same files in another compression: to push, not to pull.
    Recompressed,
    /// The old image has the same store paths in other bytes: another layer format or compression, or a path that was
    /// built again and came out otherwise.
    Remade,
    /// A layer of the old image holds other versions of its packages, or some of its paths.
    Changed,
    /// Nothing in it comes from a layer that is gone.
    New,
}

/// One layer of the new image beside its counterpart.
#[derive(Debug)]
pub(super) struct PairedLayer {
    pub(super) fate: LayerFate,
    pub(super) old_idx: Option<usize>,
}

/// A layer's identities, as texts of one kind each: whoever has one in common has the layer in common.
fn identities(layer: &LayerOutline, identity: Identity) -> [Option<String>; 2] {
    let text = |id: Option<&dyn ToString>| id.map(ToString::to_string);
    match identity {
        Identity::Digest => [
            text(layer.digest.as_ref().map(|id| id as _)),
            text(layer.diff_id.as_ref().map(|id| id as _)),
        ],
        // A base layer is finished: it has a digest in place of a key.
        Identity::Key => [
            text(layer.key.as_ref().map(|id| id as _))
                .or_else(|| text(layer.digest.as_ref().map(|id| id as _))),
            text(layer.content_key.as_ref().map(|id| id as _))
                .or_else(|| text(layer.diff_id.as_ref().map(|id| id as _))),
        ],
        Identity::StorePaths => [path_set(layer), None],
    }
}

/// The names of a layer's contents, sorted; none where they are not known. Two layers with the same root files may hold
/// different bytes in them, so those have no set either.
fn path_set(layer: &LayerOutline) -> Option<String> {
    let names: BTreeSet<&str> = layer
        .paths()
        .iter()
        .map(|held| held.path.base_name())
        .collect();
    (!names.is_empty()).then(|| names.into_iter().collect::<Vec<_>>().join("\n"))
}

/// By what two images' layers can be told apart.
pub(super) fn identity_of(old: &ImageContents, new: &ImageContents) -> Identity {
    let all = |has: fn(&LayerOutline) -> bool| old.layers.iter().chain(&new.layers).all(has);
    let any_key = |image: &ImageContents| image.layers.iter().any(|layer| layer.key.is_some());
    if all(|layer| layer.digest.is_some()) {
        Identity::Digest
    } else if any_key(old) && any_key(new) {
        Identity::Key
    } else {
        Identity::StorePaths
    }
}

/// Pairs the layers: the same ones first, then those with the same paths, then by what their paths became.
pub(super) fn pair_layers(
    old: &ImageContents,
    new: &ImageContents,
    identity: Identity,
    pairing: &Pairing<'_>,
) -> Vec<PairedLayer> {
    let mut taken = vec![false; old.layers.len()];
    let mut paired: Vec<Option<PairedLayer>> = new.layers.iter().map(|_| None).collect();
    pair_same(old, new, identity, &mut taken, &mut paired);
    pair_same_paths(old, new, &mut taken, &mut paired);
    pair_changed(old, new, pairing, &mut taken, &mut paired);
    paired
        .into_iter()
        .map(|paired| {
            paired.unwrap_or(PairedLayer {
                fate: LayerFate::New,
                old_idx: None,
            })
        })
        .collect()
}

fn pair_same(
    old: &ImageContents,
    new: &ImageContents,
    identity: Identity,
    taken: &mut [bool],
    paired: &mut [Option<PairedLayer>],
) {
    let mut old_by: [BTreeMap<String, Vec<usize>>; 2] = [BTreeMap::new(), BTreeMap::new()];
    for (idx, layer) in old.layers.iter().enumerate() {
        for (by, id) in old_by.iter_mut().zip(identities(layer, identity)) {
            if let Some(id) = id {
                by.entry(id).or_default().push(idx);
            }
        }
    }
    let fates = [LayerFate::Kept, LayerFate::Recompressed];
    for ((level, fate), by) in fates.into_iter().enumerate().zip(&old_by) {
        for (new_idx, layer) in new.layers.iter().enumerate() {
            let candidates = identities(layer, identity)[level]
                .as_ref()
                .and_then(|id| by.get(id));
            if let (None, Some(candidates)) = (&paired[new_idx], candidates) {
                // An image may hold the same layer twice; the second one is kept, too.
                let free = candidates.iter().find(|idx| !taken[**idx]);
                let old_idx = free.or(candidates.first()).copied();
                paired[new_idx] = Some(PairedLayer { fate, old_idx });
                if let Some(old_idx) = old_idx {
                    taken[old_idx] = true;
                }
            }
        }
    }
}

fn pair_same_paths(
    old: &ImageContents,
    new: &ImageContents,
    taken: &mut [bool],
    paired: &mut [Option<PairedLayer>],
) {
    let mut old_by: BTreeMap<String, usize> = BTreeMap::new();
    for (idx, layer) in old.layers.iter().enumerate() {
        if let (false, Some(set)) = (taken[idx], path_set(layer)) {
            old_by.insert(set, idx);
        }
    }
    for (new_idx, layer) in new.layers.iter().enumerate() {
        if paired[new_idx].is_some() {
            continue;
        }
        if let Some(old_idx) = path_set(layer).and_then(|set| old_by.remove(&set)) {
            taken[old_idx] = true;
            paired[new_idx] = Some(PairedLayer {
                fate: LayerFate::Remade,
                old_idx: Some(old_idx),
            });
        }
    }
}

/// Every path votes for the layer that its old counterpart is in, with its size; the strongest vote comes first.
fn pair_changed(
    old: &ImageContents,
    new: &ImageContents,
    pairing: &Pairing<'_>,
    taken: &mut [bool],
    paired: &mut [Option<PairedLayer>],
) {
    let mut layer_of: BTreeMap<&StorePath, usize> = BTreeMap::new();
    for (idx, layer) in old.layers.iter().enumerate() {
        layer_of.extend(layer.paths().iter().map(|held| (&held.path, idx)));
    }
    let mut votes: BTreeMap<(usize, usize), u64> = BTreeMap::new();
    for (new_idx, layer) in new.layers.iter().enumerate() {
        if paired[new_idx].is_some() {
            continue;
        }
        for held in layer.paths() {
            let counterpart = pairing.old_of.get(&held.path);
            if let Some(&old_idx) = counterpart.and_then(|held| layer_of.get(&held.path)) {
                let weight = held.nar_size_bytes.unwrap_or(0).saturating_add(1);
                let sum = votes.entry((new_idx, old_idx)).or_default();
                *sum = sum.saturating_add(weight);
            }
        }
        // Layers of files that are no store paths are the same layer of the two images, the upper ones first.
        if matches!(
            layer.holds,
            LayerHolds::RootFiles(_) | LayerHolds::Unknown(_)
        ) {
            let kind = std::mem::discriminant(&layer.holds);
            for (old_idx, other) in old.layers.iter().enumerate() {
                if std::mem::discriminant(&other.holds) == kind {
                    let distance =
                        (new.layers.len() - new_idx).abs_diff(old.layers.len() - old_idx);
                    let nearness = u64::MAX - u64::try_from(distance).unwrap_or(u64::MAX);
                    votes.insert((new_idx, old_idx), nearness);
                }
            }
        }
    }
    let mut votes: Vec<_> = votes.into_iter().collect();
    votes.sort_by_key(|((new_idx, old_idx), weight)| {
        (std::cmp::Reverse(*weight), *new_idx, *old_idx)
    });
    for ((new_idx, old_idx), _) in votes {
        if paired[new_idx].is_none() && !taken[old_idx] {
            taken[old_idx] = true;
            paired[new_idx] = Some(PairedLayer {
                fate: LayerFate::Changed,
                old_idx: Some(old_idx),
            });
        }
    }
}

/// What has to be moved, in bytes of the new image's measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Traffic {
    /// The layers that are moved.
    pub layers: usize,
    /// Their sizes, summed; a layer that an image holds twice is moved once.
    pub size_bytes: u64,
}

/// The traffic of the layers for which `moves` holds.
pub(super) fn traffic(
    new: &ImageContents,
    identity: Identity,
    moves: impl Fn(usize) -> bool,
) -> Traffic {
    let mut seen = BTreeSet::new();
    let mut traffic = Traffic {
        layers: 0,
        size_bytes: 0,
    };
    for (idx, layer) in new.layers.iter().enumerate() {
        let [id, _] = identities(layer, identity);
        if moves(idx) && id.is_none_or(|id| seen.insert(id)) {
            traffic.layers += 1;
            traffic.size_bytes = traffic.size_bytes.saturating_add(layer.size_bytes);
        }
    }
    traffic
}

/// The first layer of the new image that does not stand at its place in the old one: a client whose layers know what is
/// below them (Docker's graph drivers) fetches it and all above it.
pub(super) fn chain_start(old: &ImageContents, new: &ImageContents, identity: Identity) -> usize {
    let same = |old: &LayerOutline, new: &LayerOutline| sameness(old, new, identity) > Sameness::No;
    old.layers
        .iter()
        .zip(&new.layers)
        .take_while(|(old, new)| same(old, new))
        .count()
}

fn sameness(old: &LayerOutline, new: &LayerOutline, identity: Identity) -> Sameness {
    let [old_blob, old_tar] = identities(old, identity);
    let [new_blob, new_tar] = identities(new, identity);
    if old_blob.is_some() && old_blob == new_blob {
        Sameness::SameBlob
    } else if old_tar.is_some() && old_tar == new_tar {
        Sameness::SameTar
    } else {
        Sameness::No
    }
}

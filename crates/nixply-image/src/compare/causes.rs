//! Whose change is behind which layer.

use super::{Change, ChangeKind, LayerComparison};
use crate::contents::{HeldPath, LayerOutline};
use nixply_store::{Closure, PathIdx, StorePath};
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// Causes are carried up the references 64 at a time, a bit each: 100,000 paths with a million references and 20,000
/// causes are some 300 passes over the references instead of 20,000 walks.
const CAUSES_A_PASS: usize = 64;

/// The changes by path, and the references that carry them.
pub(super) struct Causes<'a> {
    references: Option<&'a Closure>,
    by_new_path: BTreeMap<StorePath, usize>,
    by_old_path: BTreeMap<StorePath, usize>,
    /// The sizes of new paths, where known, to name the largest first.
    nar_size_bytes: Vec<u64>,
    is_removal: Vec<bool>,
}

impl<'a> Causes<'a> {
    pub(super) fn new(changes: &[Change], references: Option<&'a Closure>) -> Self {
        let mut by_new_path = BTreeMap::new();
        let mut by_old_path = BTreeMap::new();
        for (idx, change) in changes.iter().enumerate() {
            by_new_path.extend(change.new_paths.iter().map(|path| (path.clone(), idx)));
            by_old_path.extend(change.old_paths.iter().map(|path| (path.clone(), idx)));
        }
        Self {
            references,
            by_new_path,
            by_old_path,
            nar_size_bytes: changes.iter().map(|change| change.nar_size_bytes).collect(),
            is_removal: changes
                .iter()
                .map(|change| change.kind == ChangeKind::Removed)
                .collect(),
        }
    }

    /// True for a path of the new image that the old one does not have as it is.
    pub(super) fn is_changed(&self, path: &StorePath) -> bool {
        self.by_new_path.contains_key(path)
    }

    /// The changes of a layer's paths, and the packages that left it for good, the largest first.
    pub(super) fn own(&self, new: &[HeldPath], old: &[HeldPath]) -> Vec<usize> {
        let changed = new
            .iter()
            .filter_map(|held| self.by_new_path.get(&held.path));
        let removed = old
            .iter()
            .filter_map(|held| self.by_old_path.get(&held.path))
            .filter(|idx| self.is_removal[**idx]);
        let mut own: Vec<usize> = changed.chain(removed).copied().collect();
        own.sort_by_key(|&idx| (Reverse(self.nar_size_bytes[idx]), idx));
        own.dedup();
        own
    }

    /// Fills in what is behind each change and each layer, and what each cause touches. `outlines` are the new image's
    /// layers.
    pub(super) fn attribute(
        &self,
        changes: &mut [Change],
        layers: &mut [LayerComparison],
        outlines: &[LayerOutline],
    ) {
        let causes: Vec<usize> = (0..changes.len())
            .filter(|&idx| changes[idx].is_cause())
            .collect();
        let in_order = self.changed_in_order();
        let sources: Vec<LayerSources> = layers
            .iter()
            .zip(outlines)
            .map(|(layer, outline)| self.sources(layer, outline))
            .collect();
        for batch in causes.chunks(CAUSES_A_PASS) {
            let behind = self.behind(changes, batch, &in_order);
            let named = |mask: u64| (0..batch.len()).filter(move |bit| mask >> bit & 1 == 1);
            for (idx, change) in changes.iter_mut().enumerate() {
                if !change.is_cause() {
                    let bits = named(behind.changes[idx]);
                    change.because_of.extend(bits.map(|bit| batch[bit]));
                }
            }
            for (layer, sources) in layers.iter_mut().zip(&sources) {
                let by_path = sources.paths.iter().map(|idx| behind.paths[idx.as_usize()]);
                let by_change = sources.changes.iter().map(|&idx| behind.changes[idx]);
                let mask = by_path.chain(by_change).fold(0, |mask, bits| mask | bits);
                layer.causes.extend(named(mask).map(|bit| batch[bit]));
            }
        }
        for layer in layers.iter() {
            for &cause in &layer.causes {
                let change = &mut changes[cause];
                change.touched_layers += 1;
                change.touched_bytes = change.touched_bytes.saturating_add(layer.size_bytes);
                if layer.causes.len() == 1 {
                    change.alone_bytes = change.alone_bytes.saturating_add(layer.size_bytes);
                }
            }
        }
    }

    fn sources(&self, layer: &LayerComparison, outline: &LayerOutline) -> LayerSources {
        let mut sources = LayerSources::default();
        // A layer that is kept has no changes.
        if layer.changes.is_empty() {
            return sources;
        }
        for held in outline.paths() {
            let in_closure = self.references.and_then(|closure| closure.find(&held.path));
            match (in_closure, self.by_new_path.get(&held.path)) {
                (Some(idx), Some(_)) => sources.paths.push(idx),
                (None, Some(&change)) => sources.changes.push(change),
                (_, None) => {}
            }
        }
        let removed = layer.changes.iter().filter(|idx| self.is_removal[**idx]);
        sources.changes.extend(removed);
        sources
    }

    /// The changed paths that references are known of, each behind those that it refers to.
    fn changed_in_order(&self) -> Vec<(PathIdx, usize)> {
        let Some(closure) = self.references else {
            return Vec::new();
        };
        closure
            .topological_order()
            .into_iter()
            .filter_map(|idx| {
                let change = self.by_new_path.get(&closure.info(idx).path)?;
                Some((idx, *change))
            })
            .collect()
    }

    fn behind(&self, changes: &[Change], batch: &[usize], in_order: &[(PathIdx, usize)]) -> Behind {
        let n_paths = self.references.map_or(0, |closure| closure.paths().len());
        let mut behind = Behind {
            changes: vec![0; changes.len()],
            paths: vec![0; n_paths],
        };
        for (bit, &cause) in batch.iter().enumerate() {
            behind.changes[cause] |= 1 << bit;
        }
        if let Some(closure) = self.references {
            for &(idx, change) in in_order {
                let own = batch.binary_search(&change).map_or(0, |bit| 1 << bit);
                let below = closure
                    .references(idx)
                    .fold(own, |mask, to| mask | behind.paths[to.as_usize()]);
                behind.paths[idx.as_usize()] = below;
                behind.changes[change] |= below;
            }
        }
        behind
    }
}

/// What a layer that moves gets its causes from.
#[derive(Default)]
struct LayerSources {
    /// Its changed paths that references are known of.
    paths: Vec<PathIdx>,
    /// The changes of its other changed paths, and of what left it.
    changes: Vec<usize>,
}

/// Which causes of a batch are behind something: bit n stands for the n-th of the batch.
struct Behind {
    changes: Vec<u64>,
    paths: Vec<u64>,
}

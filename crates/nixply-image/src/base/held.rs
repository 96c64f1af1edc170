//! The store paths of a base: which of an image's own are in its layers already.

use crate::{Plan, PlannedLayer, PlannedPermissions, entry_permissions};
use nixply_layer::EntryPermissions;
use nixply_store::{Closure, PathIdx, StoreDir, StorePath};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

/// The part of a closure that the layers of a plan do not hold yet; none where they hold all of it.
///
/// A store path whose entries get other owners or modes than it has in those layers is packed again. What a plan below
/// gives its entries stays, where we say nothing else: it is added to `permissions`.
pub(crate) fn without_base<'c>(
    closure: &'c Closure,
    plan: &Plan,
    permissions: &mut BTreeMap<StorePath, Vec<EntryPermissions>>,
) -> Option<Cow<'c, Closure>> {
    let mut held: BTreeMap<&str, &[PlannedPermissions]> = BTreeMap::new();
    for layer in &plan.layers {
        // A layer above another one has the last word.
        if let PlannedLayer::Store { paths, .. } = layer {
            let paths = paths.iter();
            held.extend(paths.map(|path| (path.path.as_str(), path.permissions.as_slice())));
        } else {
            held.extend(layer.store_paths().into_iter().map(|path| (path, &[][..])));
        }
    }
    if held.is_empty() {
        return Some(Cow::Borrowed(closure));
    }
    let changed = changed_paths(closure.store_dir(), &held, permissions);
    let is_held = |idx: PathIdx| {
        let path = &closure.info(idx).path;
        held.contains_key(closure.store_dir().display(path).as_str()) && !changed.contains(path)
    };
    closure.without(is_held).map(Cow::Owned)
}

/// The held paths that get other permissions than they have.
fn changed_paths(
    store_dir: &StoreDir,
    held: &BTreeMap<&str, &[PlannedPermissions]>,
    permissions: &mut BTreeMap<StorePath, Vec<EntryPermissions>>,
) -> BTreeSet<StorePath> {
    let mut changed = BTreeSet::new();
    for (path, entries) in permissions {
        let Some(below) = held.get(store_dir.display(path).as_str()) else {
            continue;
        };
        let said: BTreeSet<String> = entries.iter().map(|entry| entry.path.clone()).collect();
        let inherited = entry_permissions(below).into_iter().flatten();
        entries.extend(inherited.filter(|entry| !said.contains(&entry.path)));
        entries.sort_by(|a, b| a.path.cmp(&b.path));
        if PlannedPermissions::group(entries) != **below {
            changed.insert(path.clone());
        }
    }
    changed
}

//! All that stands outside the store, from everything in a specification that says so: `root`, `files`, `contents`, `perms`.

mod error;
mod homes;
#[cfg(test)]
mod tests;

pub use error::RootError;

use crate::linking::{LinkKind, LinkTree, StoreView, link_contents};
use crate::permissions::{Rules, apply_to_contents, apply_to_store};
use crate::root::{Lowered, lower};
use crate::root_file::resolve_root_files;
use crate::{BaseTree, FileOrigin, ImageSpec, LeftOut, LinkedContent, RootFileSpec, RootFileType};
use homes::give_homes_to_users;
use nixply_layer::{EntryPermissions, StoreRoot};
use nixply_store::{Closure, StorePath};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// What stands outside the store, resolved: what a plan needs of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ComposedRoot {
    /// Files, directories and links that stand for themselves.
    pub files: Vec<RootFileSpec>,
    /// Links into store paths.
    pub contents: Vec<LinkedContent>,
    /// Entries of store paths with another owner or mode than all others have.
    pub permissions: BTreeMap<StorePath, Vec<EntryPermissions>>,
    /// What of the contents is not in the root, because the first of them wins; for a note.
    pub left_out: Vec<LeftOut>,
}

/// Puts together what stands outside the store. Relative sources are taken from `base`, store paths are read through `store`.
///
/// What is asked for by its path wins over what contents have, and over what follows from users and the like. Without a closure
/// nothing is said about what the image has, so nothing is checked against it. `below` is what the base holds, where there is
/// one that somebody has looked into.
///
/// # Errors
/// [`RootError`], each with what it is about and most with a hint.
pub fn compose_root(
    spec: &ImageSpec,
    base: &Path,
    closure: Option<&Closure>,
    store: &StoreRoot,
    below: Option<&BaseTree>,
) -> Result<ComposedRoot, RootError> {
    let lowered = match &spec.root {
        Some(root) => lower(root, &spec.files, below)?,
        None => Lowered::default(),
    };
    let is_in_image = |path: &StorePath| closure.is_none_or(|closure| closure.find(path).is_some());
    for file in lowered.explicit.iter().chain(&lowered.derived) {
        check_target(file, store, is_in_image)?;
    }
    let accounts = lowered.accounts;
    let mut files = resolve_root_files(&spec.files, base, store)?;
    files.extend(resolve_root_files(&lowered.explicit, base, store)?);
    let by_path: BTreeSet<&str> = files.iter().map(|file| file.path.as_str()).collect();
    let derived: Vec<RootFileSpec> = lowered
        .derived
        .into_iter()
        .filter(|file| !by_path.contains(file.path.as_str()))
        .map(|file| RootFileSpec {
            origin: FileOrigin::Derived,
            ..file
        })
        .collect();
    files.extend(derived);

    let mut tree = link_contents(&spec.contents, spec.on_collision, store, is_in_image)?;
    for file in &files {
        make_way(&mut tree, file)?;
    }
    let mut rules = Rules::new(&spec.perms, &accounts, store.store_dir())?;
    let own = apply_to_contents(&mut rules, &mut tree, store)?;
    files.extend(resolve_root_files(&own, base, store)?);
    let view = StoreView::new(store);
    let contents = tree
        .contents
        .iter()
        .map(|content| view.store_path_of(content))
        .collect::<Result<BTreeSet<_>, _>>()?;
    let permissions = apply_to_store(&mut rules, closure, &contents, store)?;
    rules.check_all_matched()?;
    give_homes_to_users(&mut files, &mut tree, accounts.users());
    // What is asked for by its path is neither of the two.
    let mut left_out = std::mem::take(&mut tree.left_out);
    left_out.retain(|one| tree.entries.contains_key(&one.path));
    Ok(ComposedRoot {
        files,
        contents: tree.records(),
        permissions,
        left_out,
    })
}

/// Checks that a link into the store leads to something that the image has.
fn check_target(
    file: &RootFileSpec,
    store: &StoreRoot,
    is_in_image: impl Fn(&StorePath) -> bool,
) -> Result<(), RootError> {
    let view = StoreView::new(store);
    let Some(target) = file.target.as_ref() else {
        return Ok(());
    };
    let Ok(path) = view.store_path_of(target) else {
        return Ok(());
    };
    if !is_in_image(&path) {
        return Err(RootError::TargetNotInImage {
            path: file.path.clone(),
            target: target.clone(),
        });
    }
    // Planning need not have the store path here.
    if store.locate(&path).symlink_metadata().is_ok() && !view.exists(target) {
        return Err(RootError::NoTarget {
            path: file.path.clone(),
            target: target.clone(),
        });
    }
    Ok(())
}

/// Takes out of the tree what stands where a file shall stand.
fn make_way(tree: &mut LinkTree, file: &RootFileSpec) -> Result<(), RootError> {
    let path = file.path.as_str();
    for (end, _) in path.match_indices('/') {
        let above = &path[..end];
        let Some(entry) = tree.entries.get(above) else {
            continue;
        };
        if entry.kind != LinkKind::Directory {
            return Err(RootError::BelowLink {
                path: path.to_owned(),
                above: above.to_owned(),
                source_path: tree.source(above, entry),
            });
        }
    }
    let Some(entry) = tree.entries.get(path) else {
        return Ok(());
    };
    let below = format!("{path}/");
    let holds_something = tree
        .entries
        .range(below.clone()..)
        .next()
        .is_some_and(|(next, _)| next.starts_with(&below));
    if holds_something && file.kind != RootFileType::Directory {
        return Err(RootError::Hides {
            path: path.to_owned(),
            source_path: tree.source(path, entry),
        });
    }
    tree.entries.remove(path);
    Ok(())
}

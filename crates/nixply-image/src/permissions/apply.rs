//! Rules over the entries of store paths and of contents.

use super::error::PermsError;
use super::rules::{Change, Rules};
use crate::linking::{LinkEntry, LinkKind, LinkTree, StoreView, list};
use crate::root_file::mode_text;
use crate::{LinkError, RootFileSpec, RootFileType};
use nixply_layer::{EntryPermissions, StoreRoot};
use nixply_store::{Closure, StorePath};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Metadata};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// The modes of the store (`docs/format.md`).
const MODE_PROGRAM: u32 = 0o555;
const MODE_FILE: u32 = 0o444;
const MODE_SYMLINK: u32 = 0o777;
/// The mode of a directory that contents bring.
const MODE_LINKED_DIRECTORY: u32 = 0o755;

/// Takes the entries that rules match out of the tree of contents and makes files of their own of them, with what the rules
/// say; a link cannot carry a mode.
pub(crate) fn apply_to_contents(
    rules: &mut Rules,
    tree: &mut LinkTree,
    store: &StoreRoot,
) -> Result<Vec<RootFileSpec>, PermsError> {
    if rules.is_empty() {
        return Ok(Vec::new());
    }
    let view = StoreView::new(store);
    let store_paths = tree
        .contents
        .iter()
        .map(|content| view.store_path_of(content))
        .collect::<Result<Vec<_>, _>>()?;
    let mut files = Vec::new();
    for (path, entry) in &tree.entries {
        let source = tree.source(path, entry);
        if let Some(change) = rules.change(&store_paths[entry.content_idx], &source) {
            files.push(own_file(path, entry, &source, change, &view)?);
        }
    }
    for file in &files {
        tree.entries.remove(&file.path);
    }
    Ok(files)
}

fn own_file(
    path: &str,
    entry: &LinkEntry,
    source: &str,
    change: Change,
    view: &StoreView<'_>,
) -> Result<RootFileSpec, PermsError> {
    let spec = match &entry.kind {
        LinkKind::Directory => {
            let mode = change.mode.unwrap_or(MODE_LINKED_DIRECTORY);
            RootFileSpec::directory(path.to_owned(), &mode_text(mode), 0, 0)
        }
        LinkKind::Symlink { target } => RootFileSpec::symlink(path.to_owned(), target.clone()),
        LinkKind::File => {
            // The place itself: the source is read without a view of the store.
            let missing = || LinkError::Missing {
                content: source.to_owned(),
                physical: source.into(),
            };
            let (place, _) = view.resolve(source)?.ok_or_else(missing)?;
            let metadata = metadata(&place.physical)?;
            let mode = change.mode.unwrap_or_else(|| default_mode(&metadata));
            RootFileSpec {
                source: Some(place.logical.into()),
                mode: Some(mode_text(mode)),
                ..RootFileSpec::new(path.to_owned(), RootFileType::File)
            }
        }
    };
    Ok(RootFileSpec {
        uid: change.uid.unwrap_or(0),
        gid: change.gid.unwrap_or(0),
        ..spec
    })
}

/// What rules say of the entries of all store paths but the contents, whose files the root has.
pub(crate) fn apply_to_store(
    rules: &mut Rules,
    closure: Option<&Closure>,
    contents: &BTreeSet<StorePath>,
    store: &StoreRoot,
) -> Result<BTreeMap<StorePath, Vec<EntryPermissions>>, PermsError> {
    let mut permissions = BTreeMap::new();
    let Some(closure) = closure.filter(|_| !rules.is_empty()) else {
        return Ok(permissions);
    };
    for (path, regex) in rules.named_paths() {
        if closure.find(path).is_none() {
            return Err(PermsError::NotInImage {
                regex: regex.to_owned(),
                path: store.store_dir().display(path),
            });
        }
    }
    for info in closure.paths() {
        let path = &info.path;
        if contents.contains(path) || !rules.concern(path) {
            continue;
        }
        let found = entries_of(path, rules, store)?;
        if !found.is_empty() {
            permissions.insert(path.clone(), found);
        }
    }
    Ok(permissions)
}

fn entries_of(
    store_path: &StorePath,
    rules: &mut Rules,
    store: &StoreRoot,
) -> Result<Vec<EntryPermissions>, LinkError> {
    let logical = store.store_dir().display(store_path);
    let top = store.locate(store_path);
    let mut found = Vec::new();
    let mut todo = vec![String::new()];
    while let Some(path) = todo.pop() {
        let physical = if path.is_empty() {
            top.clone()
        } else {
            top.join(&path)
        };
        let metadata = match metadata(&physical) {
            Err(LinkError::Read { source, .. })
                if path.is_empty() && source.kind() == std::io::ErrorKind::NotFound =>
            {
                return Err(LinkError::Missing {
                    content: logical,
                    physical,
                });
            }
            other => other?,
        };
        let entry = if path.is_empty() {
            logical.clone()
        } else {
            format!("{logical}/{path}")
        };
        if metadata.is_dir() {
            for child in list(&physical)? {
                todo.push(if path.is_empty() {
                    child.name
                } else {
                    format!("{path}/{}", child.name)
                });
            }
        }
        if let Some(change) = rules.change(store_path, &entry) {
            let default = default_mode(&metadata);
            found.push(EntryPermissions {
                path,
                // A link has no mode of its own.
                mode: change
                    .mode
                    .filter(|_| !metadata.is_symlink())
                    .unwrap_or(default),
                uid: change.uid.unwrap_or(0),
                gid: change.gid.unwrap_or(0),
            });
        }
    }
    found.sort_unstable();
    Ok(found)
}

fn default_mode(metadata: &Metadata) -> u32 {
    if metadata.is_symlink() {
        MODE_SYMLINK
    } else if metadata.is_dir() || metadata.permissions().mode() & 0o100 != 0 {
        MODE_PROGRAM
    } else {
        MODE_FILE
    }
}

fn metadata(physical: &Path) -> Result<Metadata, LinkError> {
    fs::symlink_metadata(physical).map_err(|source| LinkError::Read {
        physical: physical.to_owned(),
        source,
    })
}

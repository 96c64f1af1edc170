//! All that stands outside the store, from everything in a specification that says so: files, and the trees of contents.

use crate::linking::{LinkKind, LinkTree, link_contents};
use crate::root_file::resolve_root_files;
use crate::{ImageSpec, LinkError, LinkedContent, RootFileError, RootFileSpec, RootFileType};
use nixply_layer::{EntryPermissions, StoreRoot};
use nixply_store::{Closure, StorePath};
use std::collections::BTreeMap;
use std::path::Path;

/// What stands outside the store, resolved: what a plan needs of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ComposedRoot {
    /// Files, directories and links that were asked for one by one.
    pub files: Vec<RootFileSpec>,
    /// Links into store paths.
    pub contents: Vec<LinkedContent>,
    /// Entries of store paths with another owner or mode than all others have.
    pub permissions: BTreeMap<StorePath, Vec<EntryPermissions>>,
}

/// Why the root of an image cannot be put together.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RootError {
    /// A root file cannot be part of an image.
    #[error(transparent)]
    RootFile(#[from] RootFileError),
    /// The contents cannot be linked.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// A file would have to stand below something that a content has as a link.
    #[error(
        "root file `{path}` lies below `/{above}`, which is no directory in the image: it is a link, from `{source_path}`"
    )]
    BelowLink {
        /// The root file.
        path: String,
        /// The part of its path that is a link.
        above: String,
        /// Where the link comes from.
        source_path: String,
    },
    /// A file stands where a content has a directory with something in it.
    #[error("root file `{path}` would hide what `{source_path}` has below it")]
    Hides {
        /// The root file.
        path: String,
        /// The directory in the content.
        source_path: String,
    },
}

impl RootError {
    /// One thing to do about it, where there is one.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Link(error) => error.hint(),
            Self::BelowLink { above, .. } => Some(format!(
                "name the place that `/{above}` leads to, or make `/{above}` a directory with `\"type\": \"directory\"`"
            )),
            _ => None,
        }
    }
}

/// Puts together what stands outside the store. Relative sources are taken from `base`, store paths are read through `store`.
///
/// What is asked for by name wins over what contents have.
pub fn compose_root(
    spec: &ImageSpec,
    base: &Path,
    closure: Option<&Closure>,
    store: &StoreRoot,
) -> Result<ComposedRoot, RootError> {
    let files = resolve_root_files(&spec.files, base, store)?;
    let is_in_image = |path: &StorePath| closure.is_some_and(|c| c.find(path).is_some());
    let mut tree = link_contents(&spec.contents, spec.on_collision, store, is_in_image)?;
    for file in &files {
        make_way(&mut tree, file)?;
    }
    Ok(ComposedRoot {
        files,
        contents: tree.records(),
        permissions: BTreeMap::new(),
    })
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

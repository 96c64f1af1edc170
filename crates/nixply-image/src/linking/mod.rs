//! `contents`: the trees of store paths, linked into the root of an image.
//!
//! # Duty
//!
//! What nixpkgs' `symlinkJoin` makes with `lndir`, without building anything: directories become directories, regular files
//! become symbolic links to where they lie in the store, symbolic links stay what they are. Only directories and links are
//! read, through the [`StoreRoot`], so the store may lie elsewhere; a file is read only where two contents have different
//! ones at the same place.
//!
//! # Decisions
//!
//! * A relative link is kept as it is written (`python3 -> python3.11`), as `lndir` does. One that leads out of its own tree
//!   would lead elsewhere from the root, so it becomes a link to itself in the store.
//! * Two contents may have the same entry where that is the same thing: the same link, the same file behind links, or files
//!   with the same bytes and the same executable bit (what `buildEnv` lets pass). Everything else is an error that names both,
//!   unless the first shall win ([`OnCollision::First`], what `lndir` does).
//! * A symbolic link to a directory and a directory are merged, as `buildEnv` does; with [`OnCollision::First`] the first wins.
//! * `nix-support/` at the top of a content is for builders, not for images, and is left out.
//!
//! # Invariants
//!
//! * The order in which a directory lists its entries never shows; with [`OnCollision::Error`] neither does the order of
//!   the contents.

mod error;
mod merge;
#[cfg(test)]
mod properties;
mod record;
mod store_view;
#[cfg(test)]
pub(crate) mod tests;

pub use error::LinkError;
pub use record::LinkedContent;

use merge::Merge;
pub(crate) use merge::are_same;
use nixply_layer::StoreRoot;
use nixply_store::StorePath;
use serde::Deserialize;
use std::collections::BTreeMap;
pub(crate) use store_view::{StoreView, list};

/// What happens where two contents have different things at one place.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnCollision {
    /// An error that names both.
    #[default]
    Error,
    /// The content that is named first wins, as in nixpkgs' dockerTools; a directory that comes second is left out whole.
    First,
}

/// Something of a content that is not in the root, because a content that is named before has something else there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LeftOut {
    /// The place in the root, without a leading slash.
    pub path: String,
    /// What stands there, in the store.
    pub taken: String,
    /// The first thing that differs from it, in the store.
    pub left_out: String,
}

/// What contents put into the root: each entry by its path in the image, without a leading slash.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct LinkTree {
    /// The contents, as absolute paths; entries name them by their place here.
    pub(crate) contents: Vec<String>,
    pub(crate) entries: BTreeMap<String, LinkEntry>,
    /// What the first content has and another one has otherwise, by path; with [`OnCollision::First`] alone.
    pub(crate) left_out: Vec<LeftOut>,
}

/// One entry that a content puts into the root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LinkEntry {
    /// The content, by its place in the list.
    pub(crate) content_idx: usize,
    pub(crate) kind: LinkKind,
}

/// What an entry is in the content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LinkKind {
    /// A directory, which other contents may have as well.
    Directory,
    /// A regular file: the root gets a link to it.
    File,
    /// A symbolic link with this target.
    Symlink { target: String },
}

impl LinkTree {
    /// The absolute path in the store that an entry comes from.
    pub(crate) fn source(&self, path: &str, entry: &LinkEntry) -> String {
        format!("{}/{path}", self.contents[entry.content_idx])
    }
}

/// Links the trees of contents into one; each is a store path, or a directory in one, as an absolute path.
///
/// `is_in_image` says which store paths the image has.
pub(crate) fn link_contents(
    contents: &[String],
    on_collision: OnCollision,
    store: &StoreRoot,
    is_in_image: impl Fn(&StorePath) -> bool,
) -> Result<LinkTree, LinkError> {
    let mut contents: Vec<String> = contents
        .iter()
        .map(|content| content.trim_end_matches('/').to_owned())
        .collect();
    match on_collision {
        OnCollision::Error => {
            contents.sort_unstable();
            contents.dedup();
        }
        OnCollision::First => {
            let mut seen = std::collections::BTreeSet::new();
            contents.retain(|content| seen.insert(content.clone()));
        }
    }
    let view = StoreView::new(store);
    let mut tops = Vec::with_capacity(contents.len());
    for content in &contents {
        let path = view.store_path_of(content)?;
        if !is_in_image(&path) {
            return Err(LinkError::NotInImage {
                content: content.clone(),
            });
        }
        tops.push(view.content_directory(content)?);
    }
    let (entries, left_out) = Merge::new(&view, &contents, on_collision).run(tops)?;
    Ok(LinkTree {
        contents,
        entries,
        left_out,
    })
}

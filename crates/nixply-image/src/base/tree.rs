//! What of a base image's files ours could damage.

use super::follow::follow;
use super::{BaseAccounts, DirectoryNames};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What of a base image's files ours could damage. Paths have no slashes at their ends: `usr/bin`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BaseTree {
    /// The symbolic links that lead to directories, and what they say. A directory of ours would replace them.
    pub links: BTreeMap<String, String>,
    /// The directories that have another mode than 0755, or are not root's. A directory of ours would change that.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub directories: BTreeMap<String, DirectoryOwner>,
    /// All other directories. A link of ours would replace them. None where a lock of an earlier version does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usual_directories: Option<DirectoryNames>,
    /// The store paths, as absolute paths, each with the layer that it is in, from the bottom, from 0.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub store_paths: BTreeMap<String, usize>,
    /// The files of Nix's database of the store paths, `db.sqlite` and those that SQLite has beside it; by their names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nix_database: Vec<String>,
    /// The users and groups. None where nobody has read them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accounts: Option<BaseAccounts>,
}

/// A directory's mode and owner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirectoryOwner {
    /// Four octal digits.
    pub mode: String,
    /// The numeric owner.
    pub uid: u64,
    /// The numeric group.
    pub gid: u64,
}

impl DirectoryOwner {
    pub(super) fn new(mode: u32, uid: u64, gid: u64) -> Self {
        Self {
            mode: format!("{mode:04o}"),
            uid,
            gid,
        }
    }

    /// As directories are that nobody listed.
    pub(super) fn usual() -> Self {
        Self::new(0o755, 0, 0)
    }
}

impl BaseTree {
    /// The store paths of a layer.
    pub(crate) fn store_paths_of(&self, layer_idx: usize) -> Vec<String> {
        let held = self.store_paths.iter().filter(|(_, at)| **at == layer_idx);
        held.map(|(path, _)| path.clone()).collect()
    }

    /// Whether a directory stands at a path, by itself and not by a link.
    #[must_use]
    pub fn is_directory(&self, path: &str) -> bool {
        let usual = self.usual_directories.as_ref();
        path.is_empty()
            || self.directories.contains_key(path)
            || usual.is_some_and(|usual| usual.contains(path))
    }

    /// The directory that a path is or leads to by links; none where it leads to something else, or to nothing.
    #[must_use]
    pub fn directory_at(&self, path: &str) -> Option<String> {
        let place = self.place_of(path)?;
        self.is_directory(&place).then_some(place)
    }

    /// The directory that a path is or leads to by links, where it has another mode than 0755 or is not root's.
    pub(crate) fn unusual_directory_at(&self, path: &str) -> Option<&DirectoryOwner> {
        self.directories.get(&self.place_of(path)?)
    }

    fn place_of(&self, path: &str) -> Option<String> {
        let link = |at: &str| self.links.get(at).map(String::as_str);
        Some(follow(path, true, &link).ok()?.place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_of_an_earlier_version_does_not_tell_usual_directories() {
        let old =
            r#"{"links":{"bin":"usr/bin"},"directories":{"tmp":{"mode":"1777","uid":0,"gid":0}}}"#;
        let tree: BaseTree = serde_json::from_str(old).unwrap();
        assert_eq!(tree.usual_directories, None);
        assert!(tree.is_directory("tmp") && !tree.is_directory("usr/bin"));
        assert_eq!(serde_json::to_string(&tree).unwrap(), old);
        let new = old.replace("}}}", r#"}},"usual_directories":{"":"usr","usr":"bin"}}"#);
        let tree: BaseTree = serde_json::from_str(&new).unwrap();
        assert_eq!(tree.directory_at("bin").as_deref(), Some("usr/bin"));
        assert_eq!(tree.directory_at("bin/sh"), None);
        assert!(!tree.is_directory("bin"));
    }
}

//! What of a base image's files ours could damage, read from the entries of its layers.
//!
//! Layers are laid over each other as a runtime does it (OCI image-spec v1.1.1, `layer.md`): whiteouts of a layer hide what
//! is below the layer, a directory keeps what it holds, anything else replaces what was there, and the way to an entry
//! goes through symbolic links.

use super::over::follow;
use nixply_layer::{StoredEntry, StoredEntryKind};
use nixply_store::{StoreDir, StorePath};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// A name that hides another one of the layers below.
const WHITEOUT: &str = ".wh.";

/// The name that hides all that the layers below have in its directory.
const OPAQUE: &str = ".wh..wh..opq";

/// What of a base image's files ours could damage. Paths have no slashes at their ends: `usr/bin`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BaseTree {
    /// The symbolic links that lead to directories, and what they say. A directory of ours would replace them.
    pub links: BTreeMap<String, String>,
    /// The directories that have another mode than 0755, or are not root's. A directory of ours would change that.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub directories: BTreeMap<String, DirectoryOwner>,
    /// The store paths, as absolute paths, each with the layer that it is in, from the bottom, from 0.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub store_paths: BTreeMap<String, usize>,
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
    fn new(mode: u32, uid: u64, gid: u64) -> Self {
        Self {
            mode: format!("{mode:04o}"),
            uid,
            gid,
        }
    }

    fn usual() -> Self {
        Self::new(0o755, 0, 0)
    }
}

impl BaseTree {
    /// The store paths of a layer.
    pub(crate) fn store_paths_of(&self, layer_idx: usize) -> Vec<String> {
        let held = self.store_paths.iter().filter(|(_, at)| **at == layer_idx);
        held.map(|(path, _)| path.clone()).collect()
    }
}

/// What stands at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Node {
    Directory(DirectoryOwner),
    Link(String),
    Other,
    /// A store path; the layer that it is in.
    StorePath(usize),
}

/// Reads the entries of an image's layers, bottom first.
#[derive(Debug)]
pub struct TreeReader {
    store_dir: StoreDir,
    nodes: BTreeMap<String, Node>,
    /// Of the layer that is being read.
    added: BTreeMap<String, Node>,
    hidden: BTreeSet<String>,
    emptied: BTreeSet<String>,
    layer_idx: usize,
}

impl TreeReader {
    /// Starts with no layer.
    #[must_use]
    pub fn new(store_dir: StoreDir) -> Self {
        Self {
            store_dir,
            nodes: BTreeMap::new(),
            added: BTreeMap::new(),
            hidden: BTreeSet::new(),
            emptied: BTreeSet::new(),
            layer_idx: 0,
        }
    }

    /// Takes an entry of the layer that is being read. Names that no layer of ours could have are passed over.
    pub fn add(&mut self, entry: StoredEntry) {
        let Some(name) = std::str::from_utf8(&entry.name).ok().and_then(plain) else {
            return;
        };
        let (parent, base_name) = name.rsplit_once('/').unwrap_or(("", &name));
        if base_name == OPAQUE {
            self.emptied.insert(parent.to_owned());
            return;
        }
        if let Some(hidden) = base_name.strip_prefix(WHITEOUT) {
            self.hidden.insert(join(parent, hidden));
            return;
        }
        if let Some(path) = self.store_path_of(&name) {
            self.added.insert(path, Node::StorePath(self.layer_idx));
            return;
        }
        let node = match entry.kind {
            StoredEntryKind::Directory => {
                Node::Directory(DirectoryOwner::new(entry.mode, entry.uid, entry.gid))
            }
            StoredEntryKind::Symlink { target } => {
                Node::Link(String::from_utf8_lossy(&target).into_owned())
            }
            StoredEntryKind::Other => Node::Other,
        };
        self.added.insert(name, node);
    }

    /// Lays the layer over those below it.
    pub fn end_layer(&mut self) {
        for directory in std::mem::take(&mut self.emptied) {
            self.remove_below(&directory);
        }
        for path in std::mem::take(&mut self.hidden) {
            self.nodes.remove(&path);
            self.remove_below(&path);
        }
        // A directory comes before what it holds.
        for (name, node) in std::mem::take(&mut self.added) {
            let Ok(followed) = follow(&name, false, &|path| self.link(path)) else {
                continue;
            };
            self.put(followed.place, node);
        }
        self.layer_idx += 1;
    }

    /// What was read.
    #[must_use]
    pub fn finish(self) -> BaseTree {
        let mut tree = BaseTree::default();
        for (path, node) in &self.nodes {
            match node {
                Node::Directory(owner) if *owner != DirectoryOwner::usual() => {
                    tree.directories.insert(path.clone(), owner.clone());
                }
                Node::Link(target) if self.may_be_directory(path) => {
                    tree.links.insert(path.clone(), target.clone());
                }
                Node::StorePath(layer_idx) => {
                    tree.store_paths.insert(format!("/{path}"), *layer_idx);
                }
                Node::Directory(_) | Node::Link(_) | Node::Other => {}
            }
        }
        tree
    }

    /// True for a link to a directory, and for one to what could become one: `/var/lock -> /run/lock` leads nowhere
    /// before a container runs. A link whose target has no directory to stand in is a leftover.
    fn may_be_directory(&self, link: &str) -> bool {
        let Ok(followed) = follow(link, true, &|path| self.link(path)) else {
            return true;
        };
        let is_directory = |path: &str| {
            path.is_empty() || matches!(self.nodes.get(path), Some(Node::Directory(_)))
        };
        match self.nodes.get(&followed.place) {
            Some(Node::Directory(_) | Node::StorePath(_) | Node::Link(_)) => true,
            Some(Node::Other) => false,
            None => {
                let (parent, _) = followed.place.rsplit_once('/').unwrap_or(("", ""));
                is_directory(parent) || self.store_path_of(&followed.place).is_some()
            }
        }
    }

    fn link(&self, path: &str) -> Option<&str> {
        match self.nodes.get(path) {
            Some(Node::Link(target)) => Some(target),
            _ => None,
        }
    }

    fn put(&mut self, path: String, node: Node) {
        for (end, _) in path.match_indices('/') {
            let parent = self.nodes.entry(path[..end].to_owned());
            parent.or_insert_with(|| Node::Directory(DirectoryOwner::usual()));
        }
        match (&node, self.nodes.get(&path)) {
            // It was there before this layer, and may have been added to.
            (Node::StorePath(_), Some(Node::StorePath(_))) => return,
            (Node::Directory(_), _) => {}
            _ => self.remove_below(&path),
        }
        self.nodes.insert(path, node);
    }

    fn remove_below(&mut self, directory: &str) {
        if directory.is_empty() {
            self.nodes.clear();
            return;
        }
        // `0` follows `/` in byte order.
        let inside = format!("{directory}/")..format!("{directory}0");
        let below: Vec<String> = self
            .nodes
            .range(inside)
            .map(|(path, _)| path.clone())
            .collect();
        for path in below {
            self.nodes.remove(&path);
        }
    }

    /// The store path that a name is or lies in, as a name.
    fn store_path_of(&self, name: &str) -> Option<String> {
        let relative = &self.store_dir.as_str()[1..];
        let inside = name.strip_prefix(relative)?.strip_prefix('/')?;
        let base_name = inside.split('/').next()?;
        StorePath::new(base_name).ok()?;
        Some(format!("{relative}/{base_name}"))
    }
}

/// A name without `.` and empty parts; none for one that leaves the root, or is the root.
fn plain(name: &str) -> Option<String> {
    let parts: Vec<&str> = name
        .split('/')
        .filter(|part| !matches!(*part, "" | "."))
        .collect();
    (!parts.is_empty() && !parts.contains(&"..")).then(|| parts.join("/"))
}

fn join(parent: &str, name: &str) -> String {
    if parent.is_empty() {
        name.to_owned()
    } else {
        format!("{parent}/{name}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STORE_PATH: &str = "nix/store/0123456789abcdfghijklmnpqrsvwxyz-a";

    /// Lines of a layer: `usr/bin/` a directory, `bin -> usr/bin` a link, anything else a file.
    fn tree_of(layers: &[&[&str]]) -> BaseTree {
        let mut reader = TreeReader::new(StoreDir::default());
        for layer in layers {
            for line in *layer {
                let (name, kind) = if let Some((name, target)) = line.split_once(" -> ") {
                    let target = target.as_bytes().to_vec();
                    (name, StoredEntryKind::Symlink { target })
                } else if let Some(name) = line.strip_suffix('/') {
                    (name, StoredEntryKind::Directory)
                } else {
                    (*line, StoredEntryKind::Other)
                };
                reader.add(StoredEntry {
                    name: name.as_bytes().to_vec(),
                    kind,
                    mode: if name.ends_with("tmp") { 0o1777 } else { 0o755 },
                    uid: 0,
                    gid: 0,
                });
            }
            reader.end_layer();
        }
        reader.finish()
    }

    fn links(layers: &[&[&str]]) -> Vec<String> {
        let links = tree_of(layers).links.into_iter();
        links
            .map(|(path, target)| format!("{path} -> {target}"))
            .collect()
    }

    #[test]
    fn links_to_directories_are_kept_and_links_to_files_are_not() {
        let layer = [
            "./usr/bin/",
            "./usr/bin/sh",
            "./bin -> usr/bin",
            "usr/sbin -> /usr/bin",
            "run/",
            "var/lock -> /run/lock",
            "etc/sh -> /bin/sh",
            "etc/gone.1 -> /usr/share/man/man1/gone.1",
            "loop -> loop",
        ];
        assert_eq!(
            links(&[&layer]),
            [
                "bin -> usr/bin",
                "loop -> loop",
                "usr/sbin -> /usr/bin",
                "var/lock -> /run/lock",
            ]
        );
    }

    #[test]
    fn whiteouts_hide_what_is_below_their_layer_only() {
        let below: &[&str] = &["usr/bin/", "bin -> usr/bin", "a/x -> /usr", "a/y -> /usr"];
        assert_eq!(
            links(&[below, &[".wh.bin"]]),
            ["a/x -> /usr", "a/y -> /usr"]
        );
        assert_eq!(
            links(&[below, &["a/.wh..wh..opq", "a/z -> /usr", "bin/"]]),
            ["a/z -> /usr"]
        );
        assert_eq!(
            links(&[below, &[".wh.bin", "bin -> /usr"]])[2],
            "bin -> /usr"
        );
        assert_eq!(links(&[below, &["a"]]), ["bin -> usr/bin"]);
        // The root could still get a directory of that name.
        assert_eq!(
            links(&[below, &[".wh.usr"]]),
            ["a/x -> /usr", "a/y -> /usr"]
        );
    }

    #[test]
    fn the_way_to_an_entry_goes_through_links() {
        let tree = tree_of(&[&["usr/bin/", "bin -> usr/bin"], &["bin/x -> /usr/bin"]]);
        assert_eq!(tree.links["usr/bin/x"], "/usr/bin");
        assert!(!tree.links.contains_key("bin/x"));
    }

    #[test]
    fn unusual_directories_and_store_paths_are_told() {
        let inside = format!("{STORE_PATH}/bin/a");
        let tree = tree_of(&[&["tmp/", "usr/"], &["nix/store/", &inside], &[&inside]]);
        let unusual: Vec<&String> = tree.directories.keys().collect();
        assert_eq!(unusual, ["tmp"]);
        assert_eq!(tree.directories["tmp"].mode, "1777");
        assert_eq!(tree.store_paths[&format!("/{STORE_PATH}")], 1);
        assert_eq!(tree.store_paths_of(1).len(), 1);
        let gone = format!("nix/store/.wh.{}", &STORE_PATH[10..]);
        assert!(tree_of(&[&[&inside], &[&gone]]).store_paths.is_empty());
    }
}

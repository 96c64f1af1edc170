//! What of a base image's files ours could damage, read from the entries of its layers.
//!
//! Layers are laid over each other as a runtime does it (OCI image-spec v1.1.1, `layer.md`): whiteouts of a layer hide what
//! is below the layer, a directory keeps what it holds, anything else replaces what was there, and the way to an entry
//! goes through symbolic links.

use super::accounts::{
    BaseAccounts, BaseFile, GROUP, KeptTexts, NSSWITCH, PASSWD, SHADOW, wants_text,
};
use super::directory_names::join;
use super::follow::follow;
use super::{BaseTree, DirectoryNames, DirectoryOwner};
use crate::nix_database::{DATABASE_NAME, database_dir};
use nixply_layer::{NAME_LIMIT_BYTES, StoredEntry, StoredEntryKind, plain_name};
use nixply_store::{StoreDir, StorePath};
use std::collections::{BTreeMap, BTreeSet};

/// A name that hides another one of the layers below.
const WHITEOUT: &str = ".wh.";

/// The name that hides all that the layers below have in its directory.
const OPAQUE: &str = ".wh..wh..opq";

/// What stands at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Node {
    Directory(DirectoryOwner),
    Link(String),
    /// A file that was read.
    Text(Vec<u8>),
    Other,
    /// A store path that nobody has looked into.
    StorePath,
}

/// Reads the entries of an image's layers, bottom first.
#[derive(Debug)]
pub struct TreeReader {
    store_dir: StoreDir,
    nodes: BTreeMap<String, Node>,
    /// The store paths that are whole, as names; each with its layer.
    store_paths: BTreeMap<String, usize>,
    /// Store paths that a whiteout has taken something from, as names.
    damaged: BTreeSet<String>,
    /// Directories in store paths that are not looked into.
    store_directories: BTreeSet<String>,
    /// Whether all directories are known.
    knows_directories: bool,
    kept_texts: KeptTexts,
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
            store_paths: BTreeMap::new(),
            damaged: BTreeSet::new(),
            store_directories: BTreeSet::new(),
            knows_directories: true,
            kept_texts: KeptTexts::default(),
            added: BTreeMap::new(),
            hidden: BTreeSet::new(),
            emptied: BTreeSet::new(),
            layer_idx: 0,
        }
    }

    /// Starts with what is known of the layers below. Its store paths are not taken over.
    pub(super) fn above(below: &BaseTree, store_dir: StoreDir) -> Self {
        let usual = below.usual_directories.as_ref();
        let mut reader = Self {
            knows_directories: usual.is_some(),
            ..Self::new(store_dir)
        };
        for path in usual.iter().flat_map(|usual| usual.iter()) {
            let node = Node::Directory(DirectoryOwner::usual());
            reader.nodes.insert(path.to_owned(), node);
        }
        for (path, owner) in &below.directories {
            let node = Node::Directory(owner.clone());
            reader.nodes.insert(path.clone(), node);
        }
        for (path, target) in &below.links {
            reader
                .nodes
                .insert(path.clone(), Node::Link(target.clone()));
        }
        let database_dir = database_dir(&reader.store_dir);
        for name in &below.nix_database {
            reader.put(join(&database_dir, name), Node::Other);
        }
        let text = |text: &str| (!text.is_empty()).then(|| Node::Text(text.as_bytes().to_vec()));
        let files = match &below.accounts {
            Some(known) => [
                (PASSWD, text(&known.passwd)),
                (GROUP, text(&known.group)),
                (SHADOW, known.has_shadow.then_some(Node::Other)),
                (NSSWITCH, known.has_nsswitch.then_some(Node::Other)),
            ],
            None => [PASSWD, GROUP, SHADOW, NSSWITCH].map(|path| (path, Some(Node::Other))),
        };
        for (path, node) in files {
            let place = follow(path, false, &|path| reader.link(path)).ok();
            if let Some((place, node)) = place.zip(node) {
                reader.nodes.insert(place.place, node);
            }
        }
        reader
    }

    /// Whether the content of a file is wanted, by its name.
    #[must_use]
    pub fn wants_text(name: &[u8]) -> bool {
        wants_text(name)
    }

    /// Takes an entry of the layer that is being read. Names that no layer of ours could have are passed over.
    pub fn add(&mut self, entry: StoredEntry) {
        let name = plain_name(&entry.name).filter(|name| !name.is_empty());
        let Some(name) = name.and_then(|name| String::from_utf8(name).ok()) else {
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
        let node = match entry.kind {
            StoredEntryKind::Directory => {
                Node::Directory(DirectoryOwner::new(entry.mode, entry.uid, entry.gid))
            }
            StoredEntryKind::Symlink { target } if target.len() <= NAME_LIMIT_BYTES => {
                Node::Link(String::from_utf8_lossy(&target).into_owned())
            }
            StoredEntryKind::Text(text) if self.kept_texts.keeps(&name, &text) => Node::Text(text),
            StoredEntryKind::Symlink { .. } | StoredEntryKind::Text(_) | StoredEntryKind::Other => {
                Node::Other
            }
        };
        self.added.insert(name, node);
    }

    /// Takes a store path of the layer that is being read, without a look into it.
    pub(super) fn add_store_path(&mut self, path: &str) {
        self.added
            .insert(path.trim_matches('/').to_owned(), Node::StorePath);
    }

    /// Takes a directory in a store path that is not looked into otherwise, whether the image has that path or not.
    pub(super) fn add_store_directory(&mut self, path: &str) {
        self.store_directories
            .insert(path.trim_matches('/').to_owned());
    }

    /// Lays the layer over those below it.
    pub fn end_layer(&mut self) {
        for directory in std::mem::take(&mut self.emptied) {
            self.remove_below(&directory);
            self.note_damage(&directory);
        }
        for path in std::mem::take(&mut self.hidden) {
            self.nodes.remove(&path);
            self.remove_below(&path);
            self.note_damage(&path);
        }
        self.forget_store_paths();
        // A directory comes before what it holds.
        for (name, node) in std::mem::take(&mut self.added) {
            let Ok(followed) = follow(&name, false, &|path| self.link(path)) else {
                continue;
            };
            let store_path = self.store_path_of(&followed.place);
            self.put(followed.place, node);
            if let Some(path) = store_path
                && !self.damaged.contains(&path)
            {
                self.store_paths.entry(path).or_insert(self.layer_idx);
            }
        }
        self.forget_store_paths();
        self.layer_idx += 1;
    }

    /// Notes that a whiteout at a path has taken something from a store path, or all of it.
    fn note_damage(&mut self, path: &str) {
        let Some(store_path) = self.store_path_of(path) else {
            return;
        };
        self.store_paths.remove(&store_path);
        if store_path == path {
            self.damaged.remove(&store_path);
        } else if self.nodes.contains_key(&store_path) {
            self.damaged.insert(store_path);
        }
    }

    /// Forgets the store paths that stand no more.
    fn forget_store_paths(&mut self) {
        let nodes = &self.nodes;
        self.store_paths.retain(|path, _| nodes.contains_key(path));
        self.damaged.retain(|path| nodes.contains_key(path));
    }

    /// What was read.
    #[must_use]
    pub fn finish(self) -> BaseTree {
        let mut tree = BaseTree {
            nix_database: self.database_files(),
            accounts: BaseAccounts::read(|path| self.file_at(path)),
            ..BaseTree::default()
        };
        let mut usual = Vec::new();
        for (path, node) in &self.nodes {
            if self.store_path_of(path).is_some() {
                continue;
            }
            match node {
                Node::Directory(owner) if *owner != DirectoryOwner::usual() => {
                    tree.directories.insert(path.clone(), owner.clone());
                }
                Node::Directory(_) => usual.push(path.clone()),
                Node::Link(target) if self.may_be_directory(path) => {
                    tree.links.insert(path.clone(), target.clone());
                    self.tell_store_directory(path, &mut tree);
                }
                Node::Link(_) | Node::Text(_) | Node::Other | Node::StorePath => {}
            }
        }
        tree.usual_directories = self
            .knows_directories
            .then(|| usual.into_iter().collect::<DirectoryNames>());
        tree.store_paths = self
            .store_paths
            .into_iter()
            .map(|(path, layer_idx)| (format!("/{path}"), layer_idx))
            .collect();
        tree
    }

    /// The files of Nix's database, where it is there.
    fn database_files(&self) -> Vec<String> {
        let database = join(&database_dir(&self.store_dir), DATABASE_NAME);
        if !self.nodes.contains_key(&database) {
            return Vec::new();
        }
        let beside = self.nodes.range(database.clone()..);
        let files = beside.map_while(|(path, _)| path.strip_prefix(&database));
        files
            .filter(|rest| rest.is_empty() || rest.starts_with('-'))
            .map(|rest| format!("{DATABASE_NAME}{rest}"))
            .collect()
    }

    /// Of the directories in store paths, tells the one that a link leads to.
    fn tell_store_directory(&self, link: &str, tree: &mut BaseTree) {
        let Ok(followed) = follow(link, true, &|path| self.link(path)) else {
            return;
        };
        if let Some(Node::Directory(owner)) = self.nodes.get(&followed.place)
            && self.store_path_of(&followed.place).is_some()
        {
            tree.directories.insert(followed.place, owner.clone());
        } else if self.store_directories.contains(&followed.place) {
            let owner = DirectoryOwner::new(0o555, 0, 0);
            tree.directories.insert(followed.place, owner);
        }
    }

    /// True for a link to a directory, and for one to what could become one: `/var/lock -> /run/lock` leads nowhere
    /// before a container runs. A link whose target has no directory to stand in is a leftover.
    fn may_be_directory(&self, link: &str) -> bool {
        let Ok(followed) = follow(link, true, &|path| self.link(path)) else {
            return true;
        };
        match self.nodes.get(&followed.place) {
            Some(Node::Directory(_) | Node::StorePath | Node::Link(_)) => true,
            Some(Node::Text(_) | Node::Other) => false,
            None => self.may_become_directory(&followed.place),
        }
    }

    /// Whether a place where nothing is known to be could be a directory one day.
    fn may_become_directory(&self, place: &str) -> bool {
        if self.store_path_of(place).is_some() {
            return self.is_out_of_sight(place);
        }
        let (parent, _) = place.rsplit_once('/').unwrap_or(("", ""));
        parent.is_empty()
            || matches!(self.nodes.get(parent), Some(Node::Directory(_)))
            || !self.knows_directories
    }

    /// True in a store path that nobody has looked into; of any other, all is known.
    fn is_out_of_sight(&self, place: &str) -> bool {
        self.store_path_of(place)
            .is_some_and(|path| matches!(self.nodes.get(&path), None | Some(Node::StorePath)))
    }

    /// What is known of a file.
    fn file_at(&self, path: &str) -> BaseFile<'_> {
        let link = |path: &str| self.link(path);
        let (Ok(here), Ok(leads_to)) = (follow(path, false, &link), follow(path, true, &link))
        else {
            return BaseFile::Unread;
        };
        match self.nodes.get(&leads_to.place) {
            Some(Node::Text(text)) => BaseFile::Text(text),
            None if here == leads_to && !self.is_out_of_sight(&here.place) => BaseFile::Absent,
            _ => BaseFile::Unread,
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
        match node {
            // They keep what they hold.
            Node::Directory(_) | Node::StorePath => {}
            Node::Link(_) | Node::Text(_) | Node::Other => self.remove_below(&path),
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

#[cfg(test)]
mod tests;

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
mod tests {
    use super::*;

    #[test]
    fn names_and_targets_that_no_file_system_takes_are_passed_over() {
        let deep = "d/".repeat(3000);
        let link = format!("a -> {deep}");
        let tree = tree_of(&[&["etc/", &link]]);
        assert!(tree.is_directory("etc") && tree.links.is_empty());
        assert!(!tree_of(&[&["etc/", &deep]]).is_directory("d"));
    }

    #[test]
    fn places_do_not_grow_by_links_beyond_what_a_file_system_takes() {
        let deep = format!("{}a", "d/".repeat(2000));
        let link = format!("a -> {deep}");
        let further = format!("a/{deep}/");
        let tree = tree_of(&[&[&link, &format!("{deep}/x/")], &["a/y/", &further]]);
        assert!(tree.is_directory(&format!("{deep}/y")));
        let directories = tree.usual_directories.unwrap();
        let longest = directories.iter().map(str::len).max();
        assert_eq!(longest, Some(deep.len() + "/x".len()));
    }

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
    fn directories_and_store_paths_are_told() {
        let inside = format!("{STORE_PATH}/bin/a");
        let tree = tree_of(&[&["tmp/", "usr/"], &["nix/store/", &inside], &[&inside]]);
        let unusual: Vec<&String> = tree.directories.keys().collect();
        assert_eq!(unusual, ["tmp"]);
        assert_eq!(tree.directories["tmp"].mode, "1777");
        let usual: Vec<&str> = tree
            .usual_directories
            .iter()
            .flat_map(DirectoryNames::iter)
            .collect();
        assert_eq!(usual, ["nix", "nix/store", "usr"]);
        assert_eq!(tree.store_paths[&format!("/{STORE_PATH}")], 1);
        assert_eq!(tree.store_paths_of(1).len(), 1);
    }

    #[test]
    fn a_store_path_that_a_whiteout_has_taken_something_from_is_not_held() {
        let inside = format!("{STORE_PATH}/bin/a");
        let held = |layers: &[&[&str]]| {
            let tree = tree_of(layers);
            tree.store_paths.values().next().copied()
        };
        let gone = format!("nix/store/.wh.{}", &STORE_PATH[10..]);
        assert_eq!(held(&[&[&inside], &[&gone]]), None);
        assert_eq!(held(&[&[&inside], &[".wh.nix"]]), None);
        assert_eq!(held(&[&[&inside], &["nix/store/.wh..wh..opq"]]), None);
        assert_eq!(held(&[&[&inside], &["nix"]]), None);
        // It comes back, or is made anew in the layer that hides it.
        assert_eq!(held(&[&[&inside], &[&gone], &[&inside]]), Some(2));
        assert_eq!(held(&[&[&inside], &[&gone, &inside]]), Some(1));
        let opaque = format!("{STORE_PATH}/.wh..wh..opq");
        assert_eq!(held(&[&[&inside], &[&opaque, &inside]]), Some(1));
        assert_eq!(held(&[&[&inside], &[&opaque]]), None);
        // Without a part it is another one, whatever comes to it.
        let part = format!("{STORE_PATH}/bin/.wh.a");
        let other = format!("{STORE_PATH}/bin/b");
        assert_eq!(held(&[&[&inside, &other], &[&part], &[&other]]), None);
        assert_eq!(held(&[&[&inside], &[&part], &[&gone], &[&inside]]), Some(3));
    }

    #[test]
    fn texts_far_from_the_root_are_kept_up_to_a_sum() {
        let mut reader = TreeReader::new(StoreDir::default());
        let mut add = |name: &str, kind| {
            reader.add(StoredEntry {
                name: name.as_bytes().to_vec(),
                kind,
                mode: 0o644,
                uid: 0,
                gid: 0,
            });
        };
        let text = StoredEntryKind::Text;
        for idx in 0..10 {
            add(&format!("a/{idx}/etc/passwd"), text(vec![b'#'; 1 << 20]));
        }
        add("etc/group", text(b"root:x:0:\n".to_vec()));
        add(
            "./etc/passwd",
            text(b"root:x:0:0::/root:/bin/sh\n".to_vec()),
        );
        reader.end_layer();
        let is_text = |node: &&Node| matches!(node, Node::Text(_));
        assert_eq!(reader.nodes.values().filter(is_text).count(), 4 + 2);
        let accounts = reader.finish().accounts.unwrap();
        assert_eq!(accounts.group, "root:x:0:\n");
        assert_eq!(accounts.passwd, "root:x:0:0::/root:/bin/sh\n");
    }

    #[test]
    fn links_into_store_paths_count_where_they_lead_to_directories() {
        let bin = format!("bin -> /{STORE_PATH}/bin");
        let a = format!("a -> /{STORE_PATH}/bin/a");
        let lost = format!("lost -> /{STORE_PATH}/lib");
        let unknown = "unknown -> /nix/store/1123456789abcdfghijklmnpqrsvwxyz-b/bin";
        let inside = format!("{STORE_PATH}/bin/a");
        let tree = tree_of(&[&[&bin, &a, &lost, unknown], &[&inside]]);
        let links: Vec<&String> = tree.links.keys().collect();
        assert_eq!(links, ["bin", "unknown"]);
        assert_eq!(tree.directory_at("bin"), Some(format!("{STORE_PATH}/bin")));
        assert_eq!(tree.directory_at("unknown"), None);
    }

    #[test]
    fn the_database_of_the_store_paths_is_seen() {
        let database = "nix/var/nix/db/db.sqlite";
        assert_eq!(tree_of(&[&[database]]).nix_database, ["db.sqlite"]);
        assert!(
            tree_of(&[&[database], &["nix/var/nix/.wh.db"]])
                .nix_database
                .is_empty()
        );
        let [log, other] = [
            "nix/var/nix/db/db.sqlite-wal",
            "nix/var/nix/db/db.sqlite.old",
        ];
        let files = tree_of(&[&[database, log, other]]).nix_database;
        assert_eq!(files, ["db.sqlite", "db.sqlite-wal"]);
        assert!(tree_of(&[&[log]]).nix_database.is_empty());
    }

    #[test]
    fn what_is_known_of_the_layers_below_is_taken_over() {
        let below = tree_of(&[&[
            "tmp/",
            "usr/bin/",
            "bin -> usr/bin",
            "nix/var/nix/db/db.sqlite",
            "nix/var/nix/db/db.sqlite-wal",
        ]]);
        let above = TreeReader::above(&below, StoreDir::default());
        assert_eq!(above.finish(), below);
        let old = BaseTree {
            usual_directories: None,
            ..below
        };
        let above = TreeReader::above(&old, StoreDir::default());
        assert_eq!(above.finish(), old);
    }
}

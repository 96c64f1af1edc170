//! The tree of a layer, put together from store paths (`nix/graph.go`).

use super::{Nix2containerPath, Nix2containerPerm, Nix2containerRewrite};
use crate::error::WriteLayerError;
use crate::header::EntryKind;
use crate::placement::NAME_LIMIT_BYTES;
use crate::spec::StoreRoot;
use crate::store_tree::{MODE_SYMLINK, nar_mode, refuse_special};
use regex::bytes::Regex;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

/// Stands between the components of a name in a [`Tree`]: less than any byte of them, so that a directory is followed by
/// what it holds.
const SEPARATOR: u8 = 0;

/// The files and directories of the tar in its order. None is a directory that only leads to others.
#[derive(Debug, Default)]
pub(super) struct Tree(BTreeMap<Vec<u8>, Option<Source>>);

impl Tree {
    /// Every entry with its name in the tar.
    pub(super) fn entries(&self) -> impl Iterator<Item = (Vec<u8>, Option<&Source>)> {
        self.0.iter().map(|(key, source)| {
            let shown = |byte: &u8| if *byte == SEPARATOR { b'/' } else { *byte };
            let name: Vec<u8> = key.iter().map(shown).collect();
            // The first component of an absolute path is empty: the root.
            let name = if name.is_empty() { b"/".to_vec() } else { name };
            (name, source.as_ref())
        })
    }
}

/// Something in the store.
#[derive(Debug)]
pub(super) struct Source {
    /// Where it lies on this machine.
    pub(super) physical: PathBuf,
    pub(super) kind: Kind,
    pub(super) mode: u32,
    pub(super) owner: Owner,
}

/// What something in the store is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Directory,
    File { size_bytes: u64 },
    Symlink { target: Vec<u8> },
}

/// The owner of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) uid: u64,
    pub(super) gid: u64,
    pub(super) uname: String,
    pub(super) gname: String,
}

impl Default for Owner {
    fn default() -> Self {
        Self {
            uid: 0,
            gid: 0,
            uname: "root".to_owned(),
            gname: "root".to_owned(),
        }
    }
}

impl Kind {
    pub(super) fn entry_kind(&self) -> EntryKind<'_> {
        match self {
            Self::Directory => EntryKind::Directory,
            Self::File { size_bytes } => EntryKind::File {
                size_bytes: *size_bytes,
            },
            Self::Symlink { target } => EntryKind::Symlink { target },
        }
    }
}

/// Options whose regular expressions are compiled once.
struct Rules<'a> {
    rewrite: Option<(Regex, &'a str)>,
    perms: Vec<(Regex, Option<u32>, &'a Nix2containerPerm)>,
}

/// Puts the tree together.
pub(super) fn build(
    paths: &[Nix2containerPath],
    store: &StoreRoot,
) -> Result<Tree, WriteLayerError> {
    let mut tree = Tree::default();
    for path in paths {
        let rules = Rules::of(path)?;
        let physical = store.locate_file(Path::new(&path.path));
        if physical.symlink_metadata().is_err() {
            return Err(WriteLayerError::MissingStorePath { path: physical });
        }
        // What is still to be added: its absolute path in the store directory, and where it lies.
        let mut ahead = vec![(path.path.clone().into_bytes(), physical)];
        while let Some((name, physical)) = ahead.pop() {
            let children = add(&mut tree, path, &name, &physical, &rules)?;
            ahead.extend(children);
        }
    }
    Ok(tree)
}

/// Adds a file, or a directory; tells what the directory holds.
fn add(
    tree: &mut Tree,
    path: &Nix2containerPath,
    name: &[u8],
    physical: &Path,
    rules: &Rules<'_>,
) -> Result<Vec<(Vec<u8>, PathBuf)>, WriteLayerError> {
    let read_error = |source| WriteLayerError::Read {
        path: physical.to_owned(),
        source,
    };
    let metadata = fs::symlink_metadata(physical).map_err(read_error)?;
    let file_type = metadata.file_type();
    let kind = if file_type.is_dir() {
        Kind::Directory
    } else if file_type.is_symlink() {
        let target = fs::read_link(physical).map_err(read_error)?;
        Kind::Symlink {
            target: target.as_os_str().as_bytes().to_vec(),
        }
    } else {
        refuse_special(file_type, physical)?;
        Kind::File {
            size_bytes: metadata.len(),
        }
    };
    let children = match kind {
        Kind::Directory => fs::read_dir(physical)
            .map_err(read_error)?
            .collect::<Result<Vec<_>, _>>()
            .map_err(read_error)?,
        _ => Vec::new(),
    };
    let place = rules.place(name);
    // What a rewrite makes nothing of is left out: the store path itself, whose contents go to the root.
    if !place.is_empty() {
        // It also bounds how deep the tree is, which is up to whoever wrote `image.json`.
        let problem = if place.len() > NAME_LIMIT_BYTES {
            Some("is longer than 4096 bytes")
        } else {
            place.contains(&SEPARATOR).then_some("holds a NUL byte")
        };
        if let Some(problem) = problem {
            let path = path.path.clone();
            return Err(WriteLayerError::RewrittenName { path, problem });
        }
        let source = rules.source(name, physical.to_owned(), kind, nar_mode(&metadata));
        put(tree, &place, source)?;
    }
    let child_name = |child: &fs::DirEntry| [name, b"/", child.file_name().as_bytes()].concat();
    let children = children.iter();
    Ok(children
        .map(|child| (child_name(child), child.path()))
        .collect())
}

/// Puts something at its place, over an equal one that is there.
fn put(tree: &mut Tree, place: &[u8], source: Source) -> Result<(), WriteLayerError> {
    let parts = components(place);
    if parts.is_empty() {
        // The directory that relative names are relative to.
        return Ok(());
    }
    let key = parts.join(&SEPARATOR);
    let ends = key.iter().enumerate().filter(|(_, b)| **b == SEPARATOR);
    for (end, _) in ends {
        tree.0.entry(key[..end].to_vec()).or_default();
    }
    let there = tree.0.entry(key).or_default();
    if let Some(there) = &there {
        let same_kind = match (&there.kind, &source.kind) {
            (Kind::Symlink { .. }, Kind::Symlink { .. }) => true,
            (a, b) => a == b,
        };
        if !same_kind || there.mode != source.mode || there.owner != source.owner {
            return Err(WriteLayerError::PathsCollide {
                name: String::from_utf8_lossy(place).into_owned(),
                first: there.physical.clone(),
                second: source.physical,
            });
        }
    }
    *there = Some(source);
    Ok(())
}

/// The components of a path, as Go's `filepath.Clean` and a split at slashes give them: the first one of an absolute path is
/// empty.
fn components(path: &[u8]) -> Vec<Vec<u8>> {
    let mut parts: Vec<Vec<u8>> = Vec::new();
    if path.first() == Some(&b'/') {
        parts.push(Vec::new());
    }
    let first = parts.len();
    for part in path.split(|&byte| byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." if parts.len() > first => {
                parts.pop();
            }
            b".." if first == 1 => {}
            part => parts.push(part.to_vec()),
        }
    }
    parts
}

impl<'a> Rules<'a> {
    fn of(path: &'a Nix2containerPath) -> Result<Self, WriteLayerError> {
        let compile = |regex: &str| {
            Regex::new(regex).map_err(|source| WriteLayerError::Regex {
                path: path.path.clone(),
                regex: regex.to_owned(),
                problem: source.to_string(),
            })
        };
        let Some(options) = &path.options else {
            return Ok(Self {
                rewrite: None,
                perms: Vec::new(),
            });
        };
        let Nix2containerRewrite { regex, repl } = &options.rewrite;
        let rewrite = if regex.is_empty() {
            None
        } else {
            Some((compile(regex)?, repl.as_str()))
        };
        let mut perms = Vec::with_capacity(options.perms.len());
        for perm in &options.perms {
            let mode = match perm.mode.as_str() {
                "" => None,
                text => Some(
                    u32::from_str_radix(text, 8)
                        .ok()
                        .filter(|m| *m <= 0o7777)
                        .ok_or_else(|| WriteLayerError::PermMode {
                            path: path.path.clone(),
                            mode: text.to_owned(),
                        })?,
                ),
            };
            perms.push((compile(&perm.regex)?, mode, perm));
        }
        Ok(Self { rewrite, perms })
    }

    /// Where something of the store stands in the layer.
    fn place(&self, name: &[u8]) -> Vec<u8> {
        match &self.rewrite {
            Some((regex, repl)) => regex.replace_all(name, repl.as_bytes()).into_owned(),
            None => name.to_vec(),
        }
    }

    fn source(&self, name: &[u8], physical: PathBuf, kind: Kind, nar_mode: u32) -> Source {
        let mut mode = match kind {
            Kind::Symlink { .. } => MODE_SYMLINK,
            _ => nar_mode,
        };
        let mut owner = Owner::default();
        for (regex, new_mode, perm) in &self.perms {
            if !regex.is_match(name) {
                continue;
            }
            owner.uid = perm.uid;
            owner.gid = perm.gid;
            if !perm.uname.is_empty() {
                owner.uname.clone_from(&perm.uname);
            }
            if !perm.gname.is_empty() {
                owner.gname.clone_from(&perm.gname);
            }
            mode = new_mode.unwrap_or(mode);
        }
        Source {
            physical,
            kind,
            mode,
            owner,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned_as_go_does() {
        let shown = |path: &str| {
            let parts = components(path.as_bytes());
            let texts: Vec<_> = parts.iter().map(|p| String::from_utf8_lossy(p)).collect();
            texts.join("|")
        };
        assert_eq!(shown("/nix/store/x"), "|nix|store|x");
        assert_eq!(shown("/"), "");
        assert_eq!(shown("//bin/./a/../b/"), "|bin|b");
        assert_eq!(shown("/../a"), "|a");
        assert_eq!(shown("a/b"), "a|b");
        assert_eq!(shown("../a"), "..|a");
    }
}

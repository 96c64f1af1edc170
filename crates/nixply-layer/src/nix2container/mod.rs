//! Layers as nix2container makes them: the bytes of its `nix/tar.go` (commit 20d3395), so that an `image.json` of its
//! keeps its digests.
//!
//! nix2container stores no tar: it writes down which store paths a layer holds, under which names and with which modes and
//! owners, and the hash that the tar had. The tree of the tar is put together first, from all paths ([`tree`]), and then
//! written with Go's `archive/tar` ([`go_header`]).
//!
//! One thing is not taken over: modes come from NAR rules, not from the file system. In a store that Nix keeps they are
//! the same; a layer whose hash was taken of other modes is refused, as every layer of another hash.

mod go_header;
mod tree;

use crate::entries::{StoredEntry, StoredEntryKind, WantsText};
use crate::error::WriteLayerError;
use crate::header::{BLOCK_BYTES, Entry, EntryKind, HeaderStyle};
use crate::spec::StoreRoot;
use crate::tar_writer::{TarSink, TarWriter};
use go_header::{GoEntry, append_go_header};
use nixply_oci::DiffId;
use serde::{Deserialize, Serialize};
use std::fs::File;
use tree::{Kind, Owner, Source, build};

/// A layer of nix2container: what it is made from, and the tar that has to come out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nix2containerTar {
    /// The store paths, in the order of `image.json`.
    pub paths: Vec<Nix2containerPath>,
    /// The hash of the tar, which is checked when it is made.
    pub diff_id: DiffId,
    /// The size of the tar.
    pub size_bytes: u64,
}

impl Nix2containerTar {
    /// The first store path; empty where there is none.
    #[must_use]
    pub fn first_path(&self) -> &str {
        self.paths.first().map_or("", |path| path.path.as_str())
    }
}

/// A store path and how it stands in the layer, in the words of `image.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nix2containerPath {
    /// The absolute path.
    pub path: String,
    /// What differs from the store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub options: Option<Nix2containerOptions>,
}

/// What is made of the names, modes and owners of a store path.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nix2containerOptions {
    /// How names change; `copyToRoot` takes the store path away.
    #[serde(default)]
    pub rewrite: Nix2containerRewrite,
    /// Modes and owners; each rule that fits is applied, the last one wins.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub perms: Vec<Nix2containerPerm>,
}

/// A regular expression and what stands in place of what it finds; nothing changes where it is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nix2containerRewrite {
    /// Finds in the absolute path of each file.
    #[serde(default)]
    pub regex: String,
    /// Stands in its place; `$1` is the first group.
    #[serde(default)]
    pub repl: String,
}

/// A mode and an owner for the files whose absolute path a regular expression finds something in.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nix2containerPerm {
    /// Finds in the absolute path in the store.
    #[serde(default)]
    pub regex: String,
    /// Octal digits; as in the store where empty.
    #[serde(default)]
    pub mode: String,
    /// The owner.
    #[serde(default)]
    pub uid: u64,
    /// The group.
    #[serde(default)]
    pub gid: u64,
    /// The owner's name; `root` where empty.
    #[serde(default)]
    pub uname: String,
    /// The group's name; `root` where empty.
    #[serde(default)]
    pub gname: String,
}

/// The mode of directories that no store path brings along.
const MODE_IMPLIED_DIRECTORY: u32 = 0o755;

/// Makes the tar.
pub(crate) fn write_nix2container<S: TarSink>(
    layer: &Nix2containerTar,
    store: &StoreRoot,
    sink: &mut S,
) -> Result<(), WriteLayerError> {
    let tree = build(&layer.paths, store)?;
    // Headers come ready from here, so the writer's own style is never used.
    let style = HeaderStyle {
        absolute: true,
        mtime_secs: 1,
        uname: String::new(),
        gname: String::new(),
    };
    let mut tar = TarWriter::new(style, sink);
    for (name, source) in tree.entries() {
        write_entry(&name, source, &mut tar)?;
    }
    tar.finish(BLOCK_BYTES as u64)
}

/// Tells what the tar of these paths holds, without reading a file: each entry by its name without the first slash.
///
/// # Errors
/// [`WriteLayerError`] where the tar cannot be made of the store.
pub fn read_nix2container_entries(
    paths: &[Nix2containerPath],
    store: &StoreRoot,
    wants_text: WantsText,
    visit: &mut dyn FnMut(StoredEntry),
) -> Result<(), WriteLayerError> {
    for (name, source) in build(paths, store)?.entries() {
        let name = name.strip_prefix(b"/").unwrap_or(&name);
        if !name.is_empty() {
            visit(stored_entry(name, source, wants_text)?);
        }
    }
    Ok(())
}

fn stored_entry(
    name: &[u8],
    source: Option<&Source>,
    wants_text: WantsText,
) -> Result<StoredEntry, WriteLayerError> {
    let (kind, mode, uid, gid) = match source {
        None => (StoredEntryKind::Directory, MODE_IMPLIED_DIRECTORY, 0, 0),
        Some(source) => {
            let kind = match &source.kind {
                Kind::Directory => StoredEntryKind::Directory,
                Kind::File { size_bytes } if wants_text(name) => {
                    let physical = &source.physical;
                    File::open(physical)
                        .and_then(|mut file| StoredEntryKind::of_file(*size_bytes, &mut file))
                        .map_err(|error| WriteLayerError::Read {
                            path: physical.clone(),
                            source: error,
                        })?
                }
                Kind::File { .. } => StoredEntryKind::Other,
                Kind::Symlink { target } => StoredEntryKind::Symlink {
                    target: target.clone(),
                },
            };
            (kind, source.mode, source.owner.uid, source.owner.gid)
        }
    };
    Ok(StoredEntry {
        name: name.to_vec(),
        kind,
        mode,
        uid,
        gid,
    })
}

fn write_entry<S: TarSink>(
    path: &[u8],
    source: Option<&Source>,
    tar: &mut TarWriter<'_, S>,
) -> Result<(), WriteLayerError> {
    let root = Owner::default();
    let (kind, mode, owner) = match source {
        None => (EntryKind::Directory, MODE_IMPLIED_DIRECTORY, &root),
        Some(source) => (source.kind.entry_kind(), source.mode, &source.owner),
    };
    let mut header = Vec::new();
    append_go_header(
        &GoEntry {
            name: path,
            kind,
            mode,
            owner,
        },
        &mut header,
    );
    let announced = Entry {
        name: path.strip_prefix(b"/").unwrap_or(path),
        kind,
        mode,
        uid: owner.uid,
        gid: owner.gid,
        capabilities: None,
    };
    tar.ready_header(&announced, &header)?;
    if let (EntryKind::File { size_bytes }, Some(source)) = (kind, source) {
        let physical = &source.physical;
        let mut file = File::open(physical).map_err(|error| WriteLayerError::Read {
            path: physical.clone(),
            source: error,
        })?;
        tar.body_from_disk(size_bytes, physical, &mut file, &mut |_| {})?;
    }
    Ok(())
}

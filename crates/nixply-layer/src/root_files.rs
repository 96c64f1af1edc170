//! Root files as entries of a tar: checks, implied directories, order.

use crate::error::{RootFileProblem, WriteLayerError};
use crate::header::{Entry, EntryKind};
use crate::spec::{FileContent, RootFile, RootFileKind, StoreRoot};
use crate::store_tree::{MODE_SYMLINK, WHITEOUT_PREFIX, read_error, refuse_special};
use crate::tar_writer::{TarSink, TarWriter};
use data_encoding::HEXLOWER;
use nixply_store::StoreDir;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

/// The mode of a directory that files need and nobody listed.
const MODE_IMPLIED_DIRECTORY: u32 = 0o755;

/// All mode bits that a root file may have: permissions, setuid, setgid, sticky.
pub(crate) const MODE_BITS: u32 = 0o7777;

/// The greatest user or group ID: the one above means "leave it" to chown(2), and those above that are cut to 32 bits.
pub(crate) const MAX_ID: u64 = u32::MAX as u64 - 1;

/// The components of a path. Ordered component by component, so a directory comes right before what it holds.
type Components<'a> = Vec<&'a str>;

/// Files in the order of the tar; `None` stands for an implied directory.
type Ordered<'a> = BTreeMap<Components<'a>, Option<&'a RootFile>>;

/// Checks a set of root files by their paths, modes and link targets, without touching the file system.
///
/// Making a layer checks the same; a plan that passed here cannot fail there for these reasons.
///
/// # Errors
/// [`WriteLayerError::RootFile`] for the first file that no layer can hold, with its path and what is wrong with it.
pub fn check_root_files(files: &[RootFile], store_dir: &StoreDir) -> Result<(), WriteLayerError> {
    ordered(files, store_dir).map(drop)
}

/// Checks root files and writes them.
pub(crate) fn write_root_files<S: TarSink>(
    files: &[RootFile],
    store: &StoreRoot,
    tar: &mut TarWriter<'_, S>,
) -> Result<(), WriteLayerError> {
    for (components, file) in ordered(files, store.store_dir())? {
        let name = components.join("/");
        match file {
            None => tar.header(&Entry {
                name: name.as_bytes(),
                kind: EntryKind::Directory,
                mode: MODE_IMPLIED_DIRECTORY,
                uid: 0,
                gid: 0,
                capabilities: None,
            })?,
            Some(file) => write_root_file(file, store, tar)?,
        }
    }
    Ok(())
}

fn write_root_file<S: TarSink>(
    file: &RootFile,
    store: &StoreRoot,
    tar: &mut TarWriter<'_, S>,
) -> Result<(), WriteLayerError> {
    let entry = |kind, mode| Entry {
        name: file.path.as_bytes(),
        kind,
        mode,
        uid: file.uid,
        gid: file.gid,
        capabilities: file.capabilities,
    };
    match &file.kind {
        RootFileKind::Directory => tar.header(&entry(EntryKind::Directory, file.mode)),
        RootFileKind::Symlink { target } => {
            let target = target.as_bytes();
            tar.header(&entry(EntryKind::Symlink { target }, MODE_SYMLINK))
        }
        RootFileKind::File(content) => {
            let size_bytes = content.size_bytes();
            let entry = entry(EntryKind::File { size_bytes }, file.mode);
            match content {
                FileContent::Inline(bytes) => tar.file_from_memory(&entry, bytes),
                FileContent::Source { path, sha256, .. } => {
                    let path = store.locate_file(path);
                    write_source(&entry, &path, sha256, size_bytes, tar)
                }
            }
        }
    }
}

/// Streams a source file and checks that it is what the plan says.
fn write_source<S: TarSink>(
    entry: &Entry<'_>,
    path: &Path,
    expected_sha256: &[u8; 32],
    expected_bytes: u64,
    tar: &mut TarWriter<'_, S>,
) -> Result<(), WriteLayerError> {
    let mismatch = |expected, found| {
        Err(WriteLayerError::SourceContent {
            path: path.to_owned(),
            expected,
            found,
        })
    };
    // The source may be reached through links, for example into the store.
    let metadata = std::fs::metadata(path).map_err(read_error(path))?;
    refuse_special(metadata.file_type(), path)?;
    let mut file = File::open(path).map_err(read_error(path))?;
    let found_bytes = file.metadata().map_err(read_error(path))?.len();
    if found_bytes != expected_bytes {
        return mismatch(
            format!("{expected_bytes} bytes"),
            format!("{found_bytes} bytes"),
        );
    }
    let mut sha256 = Sha256::new();
    tar.file_from_disk(entry, path, &mut file, &mut |bytes| sha256.update(bytes))?;
    let found_sha256: [u8; 32] = sha256.finalize().into();
    if found_sha256 == *expected_sha256 {
        return Ok(());
    }
    let text = |sha256: &[u8; 32]| format!("sha256:{}", HEXLOWER.encode(sha256));
    mismatch(text(expected_sha256), text(&found_sha256))
}

/// Checks root files, adds the directories that they need, and puts all in order.
fn ordered<'a>(
    files: &'a [RootFile],
    store_dir: &StoreDir,
) -> Result<Ordered<'a>, WriteLayerError> {
    let problem = |file: &RootFile, problem| WriteLayerError::RootFile {
        path: file.path.clone(),
        problem,
    };
    let mut ordered = Ordered::new();
    for file in files {
        let components = check(file, store_dir).map_err(|found| problem(file, found))?;
        if ordered.insert(components, Some(file)).is_some() {
            return Err(problem(file, RootFileProblem::Duplicate));
        }
    }
    for file in files {
        let components: Components<'_> = file.path.split('/').collect();
        for len in 1..components.len() {
            let parent = ordered.entry(components[..len].to_vec()).or_insert(None);
            if let Some(parent) = parent.filter(|p| p.kind != RootFileKind::Directory) {
                return Err(problem(parent, RootFileProblem::ParentNotDirectory));
            }
        }
    }
    Ok(ordered)
}

/// Checks one root file by itself; returns the components of its path.
fn check<'a>(file: &'a RootFile, store_dir: &StoreDir) -> Result<Components<'a>, RootFileProblem> {
    let path = &file.path;
    if path.starts_with('/') {
        return Err(RootFileProblem::Absolute);
    }
    let components: Components<'_> = path.split('/').collect();
    for component in &components {
        match *component {
            "" => return Err(RootFileProblem::EmptyComponent),
            "." | ".." => return Err(RootFileProblem::DotComponent),
            _ if component.contains('\0') => return Err(RootFileProblem::Nul),
            _ if component.as_bytes().starts_with(WHITEOUT_PREFIX) => {
                return Err(RootFileProblem::Whiteout);
            }
            _ => {}
        }
    }
    // The store directory itself may be listed, to change its owner or mode; nothing below it.
    let store_components = store_dir.as_str().split('/').skip(1).count();
    let in_store = components.len() > store_components
        && store_dir
            .as_str()
            .split('/')
            .skip(1)
            .eq(components[..store_components].iter().copied());
    if in_store {
        return Err(RootFileProblem::InStore);
    }
    if file.mode & !MODE_BITS != 0 {
        return Err(RootFileProblem::Mode);
    }
    if let Some(id) = [file.uid, file.gid].into_iter().find(|id| *id > MAX_ID) {
        return Err(RootFileProblem::Id { id });
    }
    if file.capabilities.is_some() && !matches!(file.kind, RootFileKind::File(_)) {
        return Err(RootFileProblem::Capabilities);
    }
    if let RootFileKind::Symlink { target } = &file.kind {
        if target.is_empty() {
            return Err(RootFileProblem::EmptyTarget);
        }
        if target.contains('\0') {
            return Err(RootFileProblem::Nul);
        }
    }
    Ok(components)
}

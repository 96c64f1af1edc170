//! Store paths as entries of a tar: what is read of a tree, and in which order.

use crate::error::WriteLayerError;
use crate::header::{Entry, EntryKind};
use crate::read_ahead::ReadAhead;
use crate::root_files::MODE_BITS;
use crate::spec::{EntryPermissions, StorePathContent};
use crate::tar_writer::{TarSink, TarWriter};
use std::cmp::Ordering;
use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::{self, File, FileType, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// The modes that Nix gives to what it registers (Nix, `src/libstore/posix-fs-canonicalise.cc`); a NAR keeps no others.
const MODE_DIRECTORY: u32 = 0o555;
const MODE_FILE: u32 = 0o444;
const MODE_EXECUTABLE: u32 = 0o555;
/// The mode of a symbolic link, on every system.
pub(crate) const MODE_SYMLINK: u32 = 0o777;

/// The bit that makes a file executable in a NAR: the owner's (Nix, `src/libutil/posix-source-accessor.cc`).
const OWNER_EXECUTABLE: u32 = 0o100;

/// Nix on macOS adds this and a number to names that differ in case only; the NAR has them without
/// (Nix, `src/libutil/archive.cc`, `caseHackSuffix`).
const CASE_HACK_SUFFIX: &[u8] = b"~nix~case~hack~";

/// Names that begin so delete files in a layer (OCI image-spec v1.1.1, `layer.md`, "Whiteouts").
pub(crate) const WHITEOUT_PREFIX: &[u8] = b".wh.";

/// The order of siblings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SiblingOrder {
    /// By bytes.
    Bytes,
    /// As Python compares names that it decoded: by code point, a byte that is no UTF-8 counting as U+DC00 plus the byte
    /// (PEP 383).
    Python,
}

impl SiblingOrder {
    /// Compares two base names.
    pub(crate) fn compare(self, a: &[u8], b: &[u8]) -> Ordering {
        match self {
            Self::Bytes => a.cmp(b),
            Self::Python => python_code_points(a).cmp(python_code_points(b)),
        }
    }

    /// Compares two names by their components: a directory comes before what it holds, and all of that before its
    /// next sibling.
    pub(crate) fn compare_names(self, a: &[u8], b: &[u8]) -> Ordering {
        let mut rest_of_b = b.split(|&byte| byte == b'/');
        for part_of_a in a.split(|&byte| byte == b'/') {
            let Some(part_of_b) = rest_of_b.next() else {
                return Ordering::Greater;
            };
            match self.compare(part_of_a, part_of_b) {
                Ordering::Equal => {}
                unequal => return unequal,
            }
        }
        if rest_of_b.next().is_some() {
            Ordering::Less
        } else {
            Ordering::Equal
        }
    }
}

fn python_code_points(name: &[u8]) -> impl Iterator<Item = u32> + '_ {
    name.utf8_chunks().flat_map(|chunk| {
        let invalid = chunk.invalid().iter().map(|&b| 0xDC00 + u32::from(b));
        chunk.valid().chars().map(u32::from).chain(invalid)
    })
}

/// One entry of a directory.
pub(crate) struct Child {
    /// Its name on this machine.
    pub(crate) physical: OsString,
    pub(crate) file_type: FileType,
}

impl Child {
    /// Its name in the layer.
    fn name(&self) -> &[u8] {
        name_in_nar(self.physical.as_bytes(), cfg!(target_os = "macos"))
    }
}

/// The mode that a file or directory has in a store, by what a NAR keeps of it.
pub(crate) fn nar_mode(metadata: &Metadata) -> u32 {
    if metadata.is_dir() {
        MODE_DIRECTORY
    } else if metadata.permissions().mode() & OWNER_EXECUTABLE != 0 {
        MODE_EXECUTABLE
    } else {
        MODE_FILE
    }
}

/// Takes off the suffix that Nix adds where file systems do not tell upper from lower case.
fn name_in_nar(physical: &[u8], case_hack: bool) -> &[u8] {
    let suffix = physical
        .windows(CASE_HACK_SUFFIX.len())
        .position(|window| window == CASE_HACK_SUFFIX);
    match suffix {
        Some(start) if case_hack => &physical[..start],
        _ => physical,
    }
}

/// Writes the entries of one store path.
///
/// `content` is the store path, `physical` is where it lies, `name` what it is called in the tar, without a leading slash; `owner` is
/// the user and group ID of every entry; `ahead` hears of every file.
pub(crate) fn write_store_path<S: TarSink>(
    content: &StorePathContent,
    physical: PathBuf,
    name: Vec<u8>,
    owner: (u64, u64),
    order: SiblingOrder,
    ahead: &mut ReadAhead,
    tar: &mut TarWriter<'_, S>,
) -> Result<(), WriteLayerError> {
    let file_type = match fs::symlink_metadata(&physical) {
        Ok(metadata) => metadata.file_type(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(WriteLayerError::MissingStorePath { path: physical });
        }
        Err(error) => return Err(read_error(&physical)(error)),
    };
    let mut walk = Walk {
        physical,
        root_len: name.len(),
        name,
        owner,
        permissions: by_entry(content)?,
        order,
        open: Vec::new(),
    };
    walk.write_entry(file_type, ahead, tar)?;
    while let Some(children) = walk.open.last_mut() {
        if let Some(child) = children.next() {
            walk.physical.push(&child.physical);
            walk.name.push(b'/');
            walk.name.extend_from_slice(child.name());
            walk.write_entry(child.file_type, ahead, tar)?;
        } else {
            walk.open.pop();
            walk.leave();
        }
    }
    match walk.permissions.into_keys().min() {
        None => Ok(()),
        Some(entry) => Err(WriteLayerError::NoSuchEntry {
            path: content.path.clone(),
            entry: entry.to_owned(),
        }),
    }
}

/// The entries of a store path with an owner or a mode of their own, by their names.
fn by_entry(
    content: &StorePathContent,
) -> Result<HashMap<&str, &EntryPermissions>, WriteLayerError> {
    let mut by_entry = HashMap::new();
    for permissions in &content.permissions {
        let (path, entry) = (&content.path, &permissions.path);
        if permissions.mode & !MODE_BITS != 0 {
            return Err(WriteLayerError::EntryMode {
                path: path.clone(),
                entry: entry.clone(),
            });
        }
        if by_entry.insert(entry.as_str(), permissions).is_some() {
            return Err(WriteLayerError::NoSuchEntry {
                path: path.clone(),
                entry: entry.clone(),
            });
        }
    }
    Ok(by_entry)
}

/// A walk through a tree, depth first, without recursion: trees may be deeper than a stack.
struct Walk<'p> {
    /// Where the current entry lies.
    physical: PathBuf,
    /// What the current entry is called in the tar.
    name: Vec<u8>,
    owner: (u64, u64),
    /// How much of the name is the store path itself.
    root_len: usize,
    /// What has an owner or a mode of its own and was not written yet.
    permissions: HashMap<&'p str, &'p EntryPermissions>,
    order: SiblingOrder,
    /// What is left of each directory on the way to the current entry.
    open: Vec<std::vec::IntoIter<Child>>,
}

impl<'p> Walk<'p> {
    /// Writes the current entry; leaves it, or opens it if it is a directory.
    fn write_entry<S: TarSink>(
        &mut self,
        file_type: FileType,
        ahead: &mut ReadAhead,
        tar: &mut TarWriter<'_, S>,
    ) -> Result<(), WriteLayerError> {
        let own = self.own_permissions();
        let path = &self.physical;
        if file_type.is_dir() {
            tar.header(&self.entry(EntryKind::Directory, MODE_DIRECTORY, own))?;
            self.open.push(list(path, self.order)?.into_iter());
            return Ok(());
        }
        if file_type.is_symlink() {
            let target = fs::read_link(path).map_err(read_error(path))?;
            let target = target.as_os_str().as_bytes();
            tar.header(&self.entry(EntryKind::Symlink { target }, MODE_SYMLINK, own))?;
        } else {
            // Opening a pipe would wait for its writer, so the type is looked at before and after.
            refuse_special(file_type, path)?;
            let start = Instant::now();
            let mut file = File::open(path).map_err(read_error(path))?;
            let metadata = file.metadata().map_err(read_error(path))?;
            refuse_special(metadata.file_type(), path)?;
            let mode = nar_mode(&metadata);
            let size_bytes = metadata.len();
            let entry = self.entry(EntryKind::File { size_bytes }, mode, own);
            let opening = start.elapsed();
            let reading = tar.file_from_disk(&entry, path, &mut file, &mut |_| {})?;
            ahead.file_read(size_bytes, opening + reading);
        }
        self.leave();
        Ok(())
    }

    /// The owner and the mode that the current entry has of its own. Each is taken once.
    fn own_permissions(&mut self) -> Option<&'p EntryPermissions> {
        if self.permissions.is_empty() {
            return None;
        }
        let below = &self.name[self.root_len..];
        let entry = below.strip_prefix(b"/").unwrap_or(below);
        self.permissions.remove(std::str::from_utf8(entry).ok()?)
    }

    fn entry<'a>(
        &'a self,
        kind: EntryKind<'a>,
        mode: u32,
        own: Option<&EntryPermissions>,
    ) -> Entry<'a> {
        let mode = match (own, kind) {
            (Some(own), EntryKind::Directory | EntryKind::File { .. }) => own.mode,
            _ => mode,
        };
        let (uid, gid) = own.map_or(self.owner, |own| (own.uid, own.gid));
        Entry {
            name: &self.name,
            kind,
            mode,
            uid,
            gid,
            capabilities: None,
        }
    }

    /// Goes back to the directory that holds the current entry.
    fn leave(&mut self) {
        self.physical.pop();
        let parent_len = self.name.iter().rposition(|&byte| byte == b'/');
        self.name.truncate(parent_len.unwrap_or(0));
    }
}

/// Lists a directory in the order of names in the layer.
pub(crate) fn list(directory: &Path, order: SiblingOrder) -> Result<Vec<Child>, WriteLayerError> {
    let mut children = Vec::new();
    for found in fs::read_dir(directory).map_err(read_error(directory))? {
        let found = found.map_err(read_error(directory))?;
        let child = Child {
            file_type: found
                .file_type()
                .map_err(|source| read_error(&found.path())(source))?,
            physical: found.file_name(),
        };
        if child.name().starts_with(WHITEOUT_PREFIX) {
            return Err(WriteLayerError::Whiteout { path: found.path() });
        }
        children.push(child);
    }
    children.sort_unstable_by(|a, b| order.compare(a.name(), b.name()));
    let twins = children
        .windows(2)
        .find(|two| two[0].name() == two[1].name());
    match twins {
        Some(two) => Err(WriteLayerError::CaseHackCollision {
            path: directory.join(&two[0].physical),
        }),
        None => Ok(children),
    }
}

/// Refuses what is neither a directory, a regular file nor a symbolic link.
pub(crate) fn refuse_special(file_type: FileType, path: &Path) -> Result<(), WriteLayerError> {
    let found = if file_type.is_file() {
        return Ok(());
    } else if file_type.is_dir() {
        "directory"
    } else if file_type.is_symlink() {
        "symbolic link"
    } else if file_type.is_socket() {
        "socket"
    } else if file_type.is_fifo() {
        "named pipe"
    } else {
        "device"
    };
    Err(WriteLayerError::FileType {
        path: path.to_owned(),
        found,
    })
}

/// Puts the path into an error of the file system.
pub(crate) fn read_error(path: &Path) -> impl Fn(io::Error) -> WriteLayerError + '_ {
    move |source| WriteLayerError::Read {
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn python_sorts_bytes_that_are_no_utf8_among_the_surrogates() {
        let (invalid, late) = (&b"\xff"[..], "\u{fffd}".as_bytes());
        assert_eq!(
            SiblingOrder::Bytes.compare(invalid, late),
            Ordering::Greater
        );
        assert_eq!(SiblingOrder::Python.compare(invalid, late), Ordering::Less);
        let early = "\u{d7ff}".as_bytes();
        assert_eq!(SiblingOrder::Python.compare(early, invalid), Ordering::Less);
        assert_eq!(SiblingOrder::Python.compare(b"a", b"ab"), Ordering::Less);
    }

    #[test]
    fn names_are_compared_by_components() {
        let order = SiblingOrder::Bytes;
        assert_eq!(order.compare_names(b"a/z", b"a-b"), Ordering::Less);
        assert_eq!(order.compare_names(b"a", b"a/z"), Ordering::Less);
        assert_eq!(order.compare_names(b"a/z", b"a"), Ordering::Greater);
        assert_eq!(order.compare_names(b"a/z", b"a/z"), Ordering::Equal);
    }

    #[test]
    fn the_case_hack_is_undone_where_nix_does_it() {
        assert_eq!(name_in_nar(b"Readme~nix~case~hack~12", true), b"Readme");
        assert_eq!(
            name_in_nar(b"Readme~nix~case~hack~12", false),
            b"Readme~nix~case~hack~12"
        );
        assert_eq!(name_in_nar(b"Readme", true), b"Readme");
    }
}

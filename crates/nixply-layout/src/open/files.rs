//! The named files that an image on disk is made of, in a directory or in a tar.

use super::tar_members::{Extent, TarMembers, member_name};
use crate::LayoutError;
use crate::compression::Compression;
use serde::de::DeserializeOwned;
use std::fmt::Debug;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// The biggest file that is read as a whole, in bytes: eight times what containers/image reads of a config or a manifest
/// (`internal/iolimits`).
const WHOLE_FILE_BYTES: u64 = 32 * 1024 * 1024;

/// Where an image's files are.
pub(crate) trait ImageFiles: Debug + Send + Sync {
    /// The directory or the archive, for errors.
    fn path(&self) -> &Path;

    /// True where there is a file of this name.
    fn has(&self, name: &str) -> bool;

    /// Opens a file; an unknown name is [`LayoutError::Missing`].
    fn open(&self, name: &str) -> Result<OpenFile<'_>, LayoutError>;
}

/// A file that can be read.
pub(crate) struct OpenFile<'f> {
    pub(crate) content: Box<dyn Read + 'f>,
    pub(crate) size_bytes: u64,
}

/// Reads a small file as a whole.
pub(super) fn read_whole(files: &dyn ImageFiles, name: &str) -> Result<Vec<u8>, LayoutError> {
    let file = files.open(name)?;
    check_small(files, name, file.size_bytes)?;
    let mut bytes = Vec::new();
    file.content
        .take(WHOLE_FILE_BYTES)
        .read_to_end(&mut bytes)
        .map_err(LayoutError::file("read", files.path().join(name)))?;
    Ok(bytes)
}

/// Refuses a file that is too big to be read as a whole.
pub(super) fn check_small(
    files: &dyn ImageFiles,
    name: &str,
    size_bytes: u64,
) -> Result<(), LayoutError> {
    if size_bytes > WHOLE_FILE_BYTES {
        return Err(LayoutError::TooBig {
            path: files.path().to_owned(),
            member: name.to_owned(),
            limit_bytes: WHOLE_FILE_BYTES,
            found_bytes: size_bytes,
        });
    }
    Ok(())
}

/// Reads a small file as JSON.
pub(crate) fn read_json<T: DeserializeOwned>(
    files: &dyn ImageFiles,
    name: &str,
) -> Result<T, LayoutError> {
    parse_json(files, name, &read_whole(files, name)?)
}

/// Reads bytes as JSON; `name` is that of the file they came from.
pub(super) fn parse_json<T: DeserializeOwned>(
    files: &dyn ImageFiles,
    name: &str,
    bytes: &[u8],
) -> Result<T, LayoutError> {
    serde_json::from_slice(bytes).map_err(|source| LayoutError::Json {
        path: files.path().to_owned(),
        member: name.to_owned(),
        source,
    })
}

/// The files of a directory.
#[derive(Debug)]
pub(super) struct DirectoryFiles {
    path: PathBuf,
}

impl DirectoryFiles {
    pub(super) fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
        }
    }
}

impl ImageFiles for DirectoryFiles {
    fn path(&self) -> &Path {
        &self.path
    }

    fn has(&self, name: &str) -> bool {
        member_name(name).is_some_and(|name| self.path.join(name).is_file())
    }

    fn open(&self, name: &str) -> Result<OpenFile<'_>, LayoutError> {
        let missing = || LayoutError::Missing {
            path: self.path.clone(),
            member: name.to_owned(),
        };
        let path = self.path.join(member_name(name).ok_or_else(missing)?);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(missing()),
            Err(error) => return Err(LayoutError::file("read", path)(error)),
        };
        let metadata = file.metadata().map_err(LayoutError::file("read", path))?;
        Ok(OpenFile {
            content: Box::new(file),
            size_bytes: metadata.len(),
        })
    }
}

/// The members of a tar.
#[derive(Debug)]
pub(crate) struct TarFiles {
    path: PathBuf,
    tar: File,
    members: TarMembers,
}

impl TarFiles {
    /// Finds the members; a tar that is compressed as a whole is uncompressed into an unlinked file in `spool_dir` first.
    pub(crate) fn open(path: &Path, spool_dir: &Path) -> Result<Self, LayoutError> {
        let file = File::open(path).map_err(LayoutError::file("read", path))?;
        let mut start = [0; 4];
        let n = read_start(&file, &mut start).map_err(LayoutError::file("read", path))?;
        let tar = match Compression::sniff(&start[..n]) {
            Compression::None => file,
            compression => uncompress(file, compression, path, spool_dir)?,
        };
        Ok(Self {
            members: TarMembers::read(&tar, path)?,
            path: path.to_owned(),
            tar,
        })
    }
}

impl ImageFiles for TarFiles {
    fn path(&self) -> &Path {
        &self.path
    }

    fn has(&self, name: &str) -> bool {
        self.members.get(name).is_some()
    }

    fn open(&self, name: &str) -> Result<OpenFile<'_>, LayoutError> {
        let extent = self.members.get(name).ok_or_else(|| LayoutError::Missing {
            path: self.path.clone(),
            member: name.to_owned(),
        })?;
        Ok(OpenFile {
            content: Box::new(ExtentReader {
                tar: &self.tar,
                extent,
            }),
            size_bytes: extent.size_bytes,
        })
    }
}

/// Reads a part of a file without moving the file's own position, so that several can be read at once.
struct ExtentReader<'f> {
    tar: &'f File,
    extent: Extent,
}

impl Read for ExtentReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let want =
            usize::try_from(self.extent.size_bytes).map_or(buffer.len(), |n| n.min(buffer.len()));
        let n = self
            .tar
            .read_at(&mut buffer[..want], self.extent.offset_bytes)?;
        self.extent.offset_bytes += n as u64;
        self.extent.size_bytes -= n as u64;
        Ok(n)
    }
}

/// Fills `buffer` from the start of a file, as far as the file goes.
pub(super) fn read_start(file: &File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut n_read = 0;
    while n_read < buffer.len() {
        match file.read_at(&mut buffer[n_read..], n_read as u64)? {
            0 => break,
            n => n_read += n,
        }
    }
    Ok(n_read)
}

fn uncompress(
    compressed: File,
    compression: Compression,
    path: &Path,
    spool_dir: &Path,
) -> Result<File, LayoutError> {
    let archive_error = |source| LayoutError::Archive {
        path: path.to_owned(),
        source,
    };
    let mut out = tempfile::tempfile_in(spool_dir)
        .map_err(LayoutError::file("create a file in", spool_dir))?;
    let mut reader = compression
        .reader(io::BufReader::new(compressed))
        .map_err(archive_error)?;
    io::copy(&mut reader, &mut out).map_err(archive_error)?;
    out.rewind().map_err(LayoutError::file("read", spool_dir))?;
    Ok(out)
}

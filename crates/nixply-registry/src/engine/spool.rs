//! Where the bytes of large layers wait for registries that take a blob in a single request only.

use std::fs::File;
use std::io::{self, Seek, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A directory for unlinked temporary files, and how many bytes they may hold together.
#[derive(Debug)]
pub(crate) struct Spool {
    dir: Option<PathBuf>,
    budget_bytes: u64,
    used_bytes: Arc<AtomicU64>,
}

/// The compressed bytes of a layer in an unlinked file: gone with the process, however it ends.
#[derive(Debug)]
pub(crate) struct SpooledLayer {
    file: File,
    size_bytes: u64,
    budget_bytes: u64,
    used_bytes: Arc<AtomicU64>,
}

impl Spool {
    /// Starts empty.
    pub(crate) fn new(dir: Option<PathBuf>, budget_bytes: u64) -> Self {
        Self {
            dir,
            budget_bytes,
            used_bytes: Arc::default(),
        }
    }

    /// Starts a file; `None` if there is no place for it. A directory that cannot be used is none.
    pub(crate) fn start(&self) -> Option<SpooledLayer> {
        let dir = self.dir.as_ref()?;
        Some(SpooledLayer {
            file: tempfile::tempfile_in(dir).ok()?,
            size_bytes: 0,
            budget_bytes: self.budget_bytes,
            used_bytes: Arc::clone(&self.used_bytes),
        })
    }

    #[cfg(test)]
    pub(crate) fn used_bytes(&self) -> u64 {
        self.used_bytes.load(Ordering::Relaxed)
    }
}

impl SpooledLayer {
    /// Adds bytes; false if there is no room for them. A disk that fails is like a full one, and like a full budget: the
    /// layer can be made twice.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> bool {
        let added_bytes = bytes.len() as u64;
        let used_bytes = self.used_bytes.fetch_add(added_bytes, Ordering::Relaxed) + added_bytes;
        self.size_bytes += added_bytes;
        used_bytes <= self.budget_bytes && self.file.write_all(bytes).is_ok()
    }

    /// The file from its beginning; not to be used twice at once, for the position is shared.
    pub(crate) fn open(&self) -> io::Result<File> {
        let mut file = self.file.try_clone()?;
        file.rewind()?;
        Ok(file)
    }
}

impl Drop for SpooledLayer {
    fn drop(&mut self) {
        self.used_bytes
            .fetch_sub(self.size_bytes, Ordering::Relaxed);
    }
}

//! The files of the store: where they are, who may read them, who may replace them.
//!
//! Everybody who has the database open holds a shared lock on a file beside it. Who makes it, or sets a damaged one
//! aside, holds that lock alone: SQLite would otherwise replay the write-ahead log of the old file onto the new one.

use crate::CacheError;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The files in the directory of the store.
#[derive(Debug, Clone)]
pub(crate) struct Files {
    dir: PathBuf,
}

/// Which file a name stood for when it was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    device: u64,
    inode: u64,
}

/// A lock on the store; it ends with this value.
#[derive(Debug)]
pub(crate) struct StoreLock {
    file: File,
    path: PathBuf,
}

impl Files {
    /// Makes the directory where it is missing, for this user alone.
    pub(crate) fn in_dir(dir: &Path) -> Result<Self, CacheError> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(failed("create", dir))?;
        Ok(Self {
            dir: dir.to_owned(),
        })
    }

    /// The directory itself.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The database.
    pub(crate) fn database(&self) -> PathBuf {
        self.dir.join("records.sqlite")
    }

    /// Where a damaged database goes, in place of an older one.
    pub(crate) fn damaged(&self) -> PathBuf {
        self.dir.join("records.sqlite.damaged")
    }

    /// What SQLite keeps beside the database.
    fn companions(&self) -> [PathBuf; 2] {
        ["records.sqlite-wal", "records.sqlite-shm"].map(|name| self.dir.join(name))
    }

    /// The database and what belongs to it, in bytes; a file that is not there has none.
    pub(crate) fn size_bytes(&self) -> u64 {
        let [wal, shm] = self.companions();
        [self.database(), wal, shm, self.damaged()]
            .iter()
            .filter_map(|path| fs::metadata(path).ok())
            .map(|metadata| metadata.len())
            .sum()
    }

    /// The database's file, if it holds anything.
    pub(crate) fn identity(&self) -> Result<Option<Identity>, CacheError> {
        let path = self.database();
        match fs::metadata(&path) {
            Ok(metadata) if metadata.len() == 0 => Ok(None),
            Ok(metadata) => Ok(Some(Identity {
                device: metadata.dev(),
                inode: metadata.ino(),
            })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed("read", &path)(error)),
        }
    }

    /// Makes an empty file for this user alone, under a lock that nobody shares; SQLite gives its companions the same
    /// mode. A log that is there belongs to a file that somebody removed.
    pub(crate) fn create_database(&self) -> Result<(), CacheError> {
        self.remove_companions()?;
        private_file(&self.database()).map(drop)
    }

    /// Moves the database away, under a lock that nobody shares. Its log holds nothing that a new file may see.
    pub(crate) fn set_aside(&self) -> Result<(), CacheError> {
        self.remove_companions()?;
        let database = self.database();
        fs::rename(&database, self.damaged()).map_err(failed("set aside", &database))
    }

    fn remove_companions(&self) -> Result<(), CacheError> {
        self.companions().iter().try_for_each(|path| remove(path))
    }

    /// Removes what was set aside.
    pub(crate) fn remove_damaged(&self) -> Result<(), CacheError> {
        remove(&self.damaged())
    }

    /// The file that locks are on, not locked yet.
    pub(crate) fn lock(&self) -> Result<StoreLock, CacheError> {
        let path = self.dir.join("records.lock");
        Ok(StoreLock {
            file: private_file(&path)?,
            path,
        })
    }
}

impl StoreLock {
    /// Shares the store with others that only use it. False if somebody has it alone.
    pub(crate) fn try_share(&self) -> Result<bool, CacheError> {
        self.acquire(File::try_lock_shared)
    }

    /// Takes the store for this process alone. False if somebody else uses it.
    pub(crate) fn try_take(&self) -> Result<bool, CacheError> {
        self.acquire(File::try_lock)
    }

    fn acquire(
        &self,
        attempt: impl Fn(&File) -> Result<(), TryLockError>,
    ) -> Result<bool, CacheError> {
        // A handle that holds one kind of lock must not ask for the other.
        self.file.unlock().map_err(failed("unlock", &self.path))?;
        match attempt(&self.file) {
            Ok(()) => Ok(true),
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(error)) => Err(failed("lock", &self.path)(error)),
        }
    }
}

fn private_file(path: &Path) -> Result<File, CacheError> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(failed("open", path))
}

fn remove(path: &Path) -> Result<(), CacheError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", path)(error)),
        _ => Ok(()),
    }
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> CacheError {
    let path = path.to_owned();
    move |source| CacheError::File {
        action,
        path,
        source,
    }
}

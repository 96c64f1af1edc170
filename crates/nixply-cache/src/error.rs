//! Why there are no local records.

use std::path::PathBuf;

/// Why the local records cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CacheError {
    /// The directory or a file in it cannot be made, locked or moved: a home that is missing or read-only.
    #[error("cannot {action} `{}`", path.display())]
    File {
        /// What was tried, as in `cannot create …`.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The database refuses.
    #[error("the layer records in `{}` cannot be used", path.display())]
    Database {
        /// The database's file.
        path: PathBuf,
        /// SQLite's own words.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A newer nixply wrote the file; it is left as it is.
    #[error(
        "the layer records in `{}` have version {found}, this nixply knows versions up to {known}",
        path.display()
    )]
    NewerVersion {
        /// The database's file.
        path: PathBuf,
        /// The file's version.
        found: u32,
        /// The newest version that this crate reads.
        known: u32,
    },
    /// The file is a database of another program; it is left as it is.
    #[error("`{}` is a database of another program", path.display())]
    Foreign {
        /// The database's file.
        path: PathBuf,
    },
    /// The file has to be made or replaced, and other processes use it.
    #[error("the layer records in `{}` are in use by other processes", path.display())]
    InUse {
        /// The database's file.
        path: PathBuf,
    },
    /// An earlier failure ended the use of the records; [`LocalRecords::trouble`](crate::LocalRecords::trouble) names
    /// it.
    #[error("the layer records in `{}` are not used any more", path.display())]
    GivenUp {
        /// The database's file.
        path: PathBuf,
    },
}

//! Why there is no database.

use nixply_store::StorePath;

/// Why the database cannot be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DatabaseError {
    /// A path stands twice.
    #[error("`{path}` is to be registered twice")]
    Duplicate {
        /// The path.
        path: StorePath,
    },
    /// A path refers to one that is not in the list.
    #[error("`{path}` refers to number {position} of {count} paths")]
    NoSuchPath {
        /// The path that refers.
        path: StorePath,
        /// The position, from 0.
        position: usize,
        /// How many paths there are.
        count: usize,
    },
    /// A NAR size does not fit into a number of SQLite's.
    #[error("`{path}`: {nar_size_bytes} bytes are more than Nix's database can hold")]
    NarSize {
        /// The path.
        path: StorePath,
        /// Its NAR size.
        nar_size_bytes: u64,
    },
    /// SQLite refused; it has no memory left, perhaps.
    #[error("SQLite cannot make Nix's database")]
    Sqlite(#[from] rusqlite::Error),
}

//! Why there is no catalog.

use nixply_store::StorePath;

/// Why a catalog cannot be made or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CatalogError {
    /// A set names a path that the closure does not hold.
    #[error("package set `{set}`: `{root}` is not in the closure")]
    UnknownRoot {
        /// The set.
        set: String,
        /// The path.
        root: StorePath,
    },
    /// There is no set, or none that holds a path.
    #[error("there is no package set with a path in it")]
    NoSets,
    /// The level is too high.
    #[error("level {level} is too high: expected at most {max}")]
    Level {
        /// The level that was asked for.
        level: u32,
        /// The highest level.
        max: u32,
    },
    /// It is not JSON of a catalog's shape.
    #[error("the catalog cannot be read")]
    Json(#[source] serde_json::Error),
    /// It has another schema.
    #[error("this catalog has schema `{found}`, expected `{expected}`")]
    Schema {
        /// What was found.
        found: String,
        /// What this version reads.
        expected: &'static str,
    },
    /// The store directory or a path is not one.
    #[error("the catalog names `{text}`, which is not a store path or a store directory")]
    StorePath {
        /// What was read.
        text: String,
    },
    /// A path stands in two groups, or twice in one.
    #[error("the catalog names `{path}` twice")]
    Duplicate {
        /// The path.
        path: StorePath,
    },
    /// A group has no path, or no set, or names a set that the catalog does not list.
    #[error("the catalog has a group of no path, of no set, or of an unknown set: {group}")]
    Group {
        /// What tells the group: its first path, or its sets.
        group: String,
    },
    /// A group rides on a path that no other group holds, or in a circle.
    #[error(
        "the catalog lets the group of `{path}` ride on itself or on a path that it does not know"
    )]
    Host {
        /// A path of the group.
        path: StorePath,
    },
}

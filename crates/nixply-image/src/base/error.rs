//! Why an image cannot be built on a base.

use nixply_oci::{DiffId, Digest, MediaType, Platform};
use std::path::PathBuf;

/// Why an image cannot be built on a base.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BaseError {
    /// The lock is not JSON of a lock's shape.
    #[error("the lock of the base image cannot be read")]
    Json(#[source] serde_json::Error),
    /// The lock has another schema.
    #[error("this lock has schema `{found}`, expected `{}`", super::LOCK_SCHEMA)]
    Schema {
        /// What was found.
        found: String,
    },
    /// A document in the lock is not the one that its digest names.
    #[error("the lock's {what} is not the one that is named: expected {expected}, found {found}")]
    LockDigest {
        /// `manifest` or `config`.
        what: &'static str,
        /// The digest that names it.
        expected: Digest,
        /// The digest that it has.
        found: Digest,
    },
    /// A document in the lock cannot be read.
    #[error("the lock's {what} cannot be read")]
    LockDocument {
        /// `manifest` or `config`.
        what: &'static str,
        /// Why.
        source: serde_json::Error,
    },
    /// The lock's reference is no image by digest.
    #[error("the lock's reference `{reference}` does not name an image by digest")]
    LockReference {
        /// The reference.
        reference: String,
    },
    /// The base is for another platform.
    #[error("the base image is for {found}, expected {wanted}")]
    Platform {
        /// The platform of the base.
        found: Box<Platform>,
        /// The platform that was asked for.
        wanted: Box<Platform>,
    },
    /// The base and its manifest do not have the same number of layers.
    #[error("the base image has {layers} layers and {diff_ids} diff IDs")]
    LayerCount {
        /// The layers of its manifest.
        layers: usize,
        /// The diff IDs of its config.
        diff_ids: usize,
    },
    /// A layer is of a kind that no image can be built on.
    #[error(
        "layer {layer_idx} of the base image has the type `{media_type}`, expected a tar that is not compressed or compressed with gzip or zstd"
    )]
    MediaType {
        /// The layer, from the bottom, from 0.
        layer_idx: usize,
        /// Its media type.
        media_type: MediaType,
    },
    /// No layer is left beside those of the base.
    #[error(
        "the base image has {base_layers} layers and the image needs {own_layers} more at least, expected at most {max_layers} together"
    )]
    NoRoom {
        /// The layers of the base.
        base_layers: usize,
        /// The fewest that have to stand above them.
        own_layers: usize,
        /// The most that the image may have.
        max_layers: usize,
    },
    /// The base is a plan whose layers are written in another format.
    #[error("the base image is a plan with the layer format `{found}`, expected `{wanted}`")]
    LayerFormat {
        /// The base's.
        found: &'static str,
        /// The image's.
        wanted: &'static str,
    },
    /// The base is a plan that cannot be used.
    #[error("the base image's plan cannot be used")]
    Plan(#[source] Box<crate::PlanError>),
    /// A layer of the base's plan cannot be looked into.
    #[error("layer {layer_idx} of the base image's plan cannot be looked into")]
    LookInto {
        /// The layer, from the bottom, from 0.
        layer_idx: usize,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A plan's own layer holds a store path that a finished tar above it hides.
    #[error("the base image's plan holds `{path}`, and a finished tar above it takes it away")]
    HiddenPath {
        /// The store path.
        path: String,
    },
    /// Files or a database are to stand above a base whose files nobody knows.
    #[error(
        "nobody knows which directories and store paths the base image has, and files of the image could replace one"
    )]
    UnknownTree,
    /// The base has a database of its store paths, and the image none of its own.
    #[error(
        "the base image has a database of its store paths, which those of this image are not in"
    )]
    Database,
    /// The image is to have a database, and nobody knows what a store path of its base refers to.
    #[error(
        "the base image holds `{path}`, which the closure does not: Nix's database could not tell what it refers to"
    )]
    UnknownPath {
        /// The store path.
        path: String,
    },
    /// The way to a root file goes through links that lead nowhere it could be put.
    #[error(
        "root file `{path}` cannot stand there: `{link}` of the base image is a symbolic link {problem}"
    )]
    Link {
        /// The root file.
        path: String,
        /// The link in the base.
        link: String,
        /// Why it cannot be followed.
        problem: LinkProblem,
    },
    /// Two root files come to stand at one place once links are followed.
    #[error(
        "root files `{first}` and `{second}` are both `{place}`, since the base image has symbolic links"
    )]
    SamePlace {
        /// One of them.
        first: String,
        /// The other.
        second: String,
        /// Where both would be.
        place: String,
    },
    /// Two contents come to have different things at one place once links are followed.
    #[error(
        "`{first}` and `{second}` are both to be `{place}`, since the base image has symbolic links"
    )]
    SameContent {
        /// One of them, in the store.
        first: String,
        /// The other.
        second: String,
        /// Where both would be.
        place: String,
    },
    /// A layer tar cannot be read.
    #[error("the layer tar `{}` cannot be laid over the base image", .path.display())]
    Tar {
        /// The tar.
        path: PathBuf,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The way to a directory of a layer tar goes through links that lead nowhere it could be put.
    #[error(
        "`{path}` of the layer tar `{}` cannot stand there: `{link}` of the base image is a symbolic link {problem}",
        .tar.display()
    )]
    TarLink {
        /// The tar.
        tar: PathBuf,
        /// The directory.
        path: String,
        /// The link in the base.
        link: String,
        /// Why it cannot be followed.
        problem: LinkProblem,
    },
    /// Two entries of a layer tar come to stand at one place once links are followed.
    #[error(
        "`{first}` and `{second}` of the layer tar `{}` are both `{place}`, since the base image has symbolic links",
        .tar.display()
    )]
    TarSamePlace {
        /// The tar.
        tar: PathBuf,
        /// One of them.
        first: String,
        /// The other.
        second: String,
        /// Where both would be.
        place: String,
    },
    /// Something of ours that is no directory would replace a directory of the base.
    #[error("{what} would replace the directory `{path}` of the base image")]
    HidesDirectory {
        /// What it is, with its name.
        what: String,
        /// The directory.
        path: String,
    },
    /// A file could replace a directory, and the lock of the base does not tell.
    #[error(
        "nobody knows which directories the base image has, and files of the image could replace one"
    )]
    UnknownDirectories,
    /// What a link of a content leads to cannot be read.
    #[error(transparent)]
    Content(#[from] crate::LinkError),
    /// A directory of Nix's database is a symbolic link in the base.
    #[error("`{path}` is a symbolic link in the base image, and Nix's database would replace it")]
    DatabaseLink {
        /// The link.
        path: String,
    },
    /// The store directory, or a directory above it, is a symbolic link in the base.
    #[error("`{path}` is a symbolic link in the base image, and the store would replace it")]
    StoreLink {
        /// The link.
        path: String,
    },
    /// The bytes of a base layer are not what was planned.
    #[error(
        "a layer of the base image is not the one that was planned: expected {expected}, found {found}"
    )]
    Bytes {
        /// The digest that was planned.
        expected: Digest,
        /// The digest that was found.
        found: Digest,
    },
    /// A base layer decompresses to something else than its image says.
    #[error(
        "layer {layer_idx} of the base image is not what its config says: expected {expected}, found {found}"
    )]
    DiffId {
        /// The layer, from the bottom, from 0.
        layer_idx: usize,
        /// The diff ID of the config.
        expected: DiffId,
        /// The diff ID that was found.
        found: DiffId,
    },
    /// Nothing here can give the bytes of base layers.
    #[error("the layers of the base image are out of reach here")]
    NoSource,
}

/// Why a link cannot be followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum LinkProblem {
    /// It comes back to itself.
    Loop,
    /// It leads to a path that is longer than paths can be.
    TooLong,
    /// It leads into a store path, which must not change.
    IntoStore,
    /// What it leads to would be emptied by an opaque whiteout.
    Emptied,
}

impl std::fmt::Display for LinkProblem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Loop => "that leads back to itself",
            Self::TooLong => "that leads to a longer path than there can be",
            Self::IntoStore => "into the store, whose paths must not change",
            Self::Emptied => "to a directory that an opaque whiteout would empty",
        })
    }
}

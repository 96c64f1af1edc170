//! Base images: finished layers of another image, below ours.
//!
//! # Duty
//!
//! A [`BaseImage`] is what planning knows of a base: its layers as a plan has them, its config and history, and of its
//! files what ours could damage ([`BaseTree`]). It is made from an image that exists already ([`BaseImage::of_stored`]),
//! from a lock file ([`BaseLock`]) or from another plan ([`BaseImage::of_plan`]). Where the bytes of its layers come from is
//! somebody else's business ([`nixply_oci::LayerSource`]); nothing here reads a registry or an archive.
//!
//! # Invariants
//!
//! * A base layer that is compressed is never made again: its descriptor stands in the plan, and the same bytes stand in
//!   the image.
//! * Base layers are the lowest, and the history has exactly one entry with a layer for each of them.
//! * No directory of ours replaces a symbolic link of the base, and nothing but a directory replaces a directory of it.

mod accounts;
mod directory_names;
mod error;
mod follow;
mod from_plan;
mod from_stored;
mod give_way;
mod held;
mod in_plan;
mod layer;
mod lock;
mod over;
mod over_contents;
mod plan_tree;
mod record;
mod tars;
mod tree;
mod tree_reader;

pub use accounts::BaseAccounts;
pub use directory_names::DirectoryNames;
pub use error::{BaseError, LinkProblem};
pub(crate) use from_stored::tar_key;
pub(crate) use held::without_base;
pub(crate) use in_plan::{check_layers, put_on};
pub use layer::BaseLayer;
pub use lock::{BaseLock, LOCK_SCHEMA};
pub(crate) use over::{Below, check_store_dir, put_over};
pub(crate) use plan_tree::tree_below;
pub use record::{BaseRecord, PlannedBaseLayer};
pub(crate) use tars::put_tars_over;
pub use tree::{BaseTree, DirectoryOwner};
pub use tree_reader::TreeReader;

use crate::PlannedLayer;
use nixply_oci::{Digest, History, Platform, RuntimeConfig};

/// A base image as planning needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseImage {
    /// What it is called, for people and for the annotation of the image that is built on it.
    pub name: Option<String>,
    /// The digest of its manifest, where it has one.
    pub digest: Option<Digest>,
    /// What it runs on.
    pub platform: Platform,
    /// What a container of it runs.
    pub config: RuntimeConfig,
    /// The history of its finished layers; a plan's own layers tell theirs themselves.
    pub history: Vec<History>,
    /// Its layers, bottom first.
    pub layers: Vec<PlannedLayer>,
    /// What is with its database of its store paths.
    pub database: BaseDatabase,
    /// What of its files ours could damage; none where nobody has looked.
    pub tree: Option<BaseTree>,
}

/// Whether a base has Nix's database of its store paths, and what becomes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BaseDatabase {
    /// It has none, or nobody knows.
    None,
    /// Its plan has a layer of it, which is left out: it would not be true any more.
    LeftOut,
    /// It stands in a finished layer. It does not tell the store paths that come to it.
    InLayers,
}

impl BaseDatabase {
    fn in_layers(is_there: bool) -> Self {
        if is_there { Self::InLayers } else { Self::None }
    }
}

//! From a closure to an image: the specification, the plan, and the image that carries a plan out.
//!
//! # Duty
//!
//! Three values follow each other. An [`ImageSpec`] is what a user asks for. A [`Plan`] is what will be made: the
//! layers, bottom first, each with its key; small, printable, comparable, the output of a derivation. A
//! [`PlannedImage`] is the plan joined to a store: it implements [`nixply_oci::Image`], so any sink can take it.
//! Planning reads no file of a store path; only making a layer does. It lists directories and links of store paths that
//! are linked into the root ([`compose_root`]).
//!
//! The way back needs less: [`ImageContents`] is what a plan, or an image that exists already, says of itself without a
//! layer being read. [`compare`] sets two of them side by side; [`explain_layers`] and [`ImageGraph`] tell why one is as
//! it is.
//!
//! # Invariants
//!
//! * The same closure, options and version give the same plan, and the same plan the same bytes of every blob.
//! * A plan written as JSON and read back is the same plan (`nixply.plan/1`, a contract; see `docs/plan.md`).
//! * Nothing here prints, reads the environment or knows a concrete registry.

mod base;
mod compare;
mod config_keys;
mod contents;
mod dockertools_conf;
mod dockertools_order;
mod doubts;
mod explain;
mod finish;
mod inherit;
mod layer_format;
mod layer_tar;
mod linking;
mod nix2container_image;
mod nix_database;
mod other_layers;
mod package;
mod permissions;
mod plan;
mod planned_image;
mod planned_path;
mod planning;
mod reasons;
mod references;
mod root;
mod root_file;
mod root_layer;
mod spec;
mod tar_placement;

pub use base::{
    BaseAccounts, BaseDatabase, BaseError, BaseImage, BaseLayer, BaseLock, BaseRecord, BaseTree,
    DirectoryNames, DirectoryOwner, LOCK_SCHEMA, LinkProblem, PlannedBaseLayer, TreeReader,
};
pub use compare::{
    Change, ChangeKind, Comparison, ConfigChange, Identity, LayerComparison, LayerFate, Traffic,
    compare,
};
pub use config_keys::{ConfigKeyError, unknown_config_keys};
pub use contents::{HeldPath, ImageContents, LayerHolds, LayerOutline, SizeMeasure};
pub use dockertools_conf::{ConfError, ConfTimes, DockerToolsConf, conf_of_stream_script};
pub use dockertools_order::{DockertoolsOrderError, in_dockertools_order, wants_dockertools_order};
pub use doubts::{Doubt, doubts};
pub use explain::{
    ImageGraph, LayerExplanation, LayerWhy, MIN_HASH_DIGITS, PathQuery, Users, explain_layers,
    find_path,
};
pub use finish::{
    DEFAULT_CREATED, ManifestFormat, finish, permissions_of_history, store_paths_of_history,
};
pub use inherit::{inherit, inherit_env};
pub use layer_format::LayerFormatRecord;
pub use layer_tar::{LayerTarError, resolve_layer_tars};
pub use linking::{LeftOut, LinkError, LinkedContent, OnCollision};
pub use nix_database::{NixDatabaseSpec, NixOwner, PlannedDatabase, PlannedDatabaseError};
pub use nix2container_image::{Nix2containerError, Nix2containerImage};
pub use package::{Package, compare_versions};
pub use permissions::{PermsError, PermsRule, PlannedPermissions, entry_permissions};
pub use plan::{PackerRecord, Plan, PlanError, PlannedLayer};
pub use planned_image::PlannedImage;
pub use planned_path::PlannedPath;
pub use planning::{DEFAULT_MAX_LAYERS, PlanOptions, PlanningError, plan_image};
pub use reasons::{LayerReasonRecord, VolatilePath, VolatileReasonRecord};
pub use references::{ReferencesError, image_paths};
pub use root::{DirectorySpec, FileSpec, GroupSpec, OwnerSpec, RootSpec, RootSpecError, UserSpec};
pub use root_file::{FileOrigin, RootFileError, RootFileSpec, RootFileType};
pub use root_layer::{ComposedRoot, RootError, compose_root};
pub use spec::{BaseSpec, ImageSpec, SpecError};
pub use tar_placement::PlannedTarPlacement;

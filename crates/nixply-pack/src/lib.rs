//! Packs the store paths of a closure into a bounded number of layers.
//!
//! # Duty
//!
//! [`pack`] is a pure function: a [`Closure`](nixply_store::Closure) and [`PackOptions`] in, a [`Packing`] (ordered layers of
//! store paths, each with its reason) out. It reads no file, no environment and no clock, starts no thread, and no order
//! of a hash map reaches a result: equal input gives equal output on every machine.
//!
//! # The packers
//!
//! | name | layers | equal to |
//! |---|---|---|
//! | `solo` | the largest paths alone, small ones on a user of theirs, what changes with every version on top | |
//! | `fleet` | as `solo`, by the groups of a fleet's [`Catalog`] | |
//! | `auto-layer` | a large path with the dependencies that only it and its dependencies use | nixpkgs' `auto-layer.py` |
//! | `popularity` | the most used paths alone, the rest together | nixpkgs' `closure-graph.py` and its layer limit |
//! | `nix2container` | as `popularity`, with another count and other ties | nix2container's `closure` package |
//! | `size` | the largest paths alone, the rest together | |
//! | `per-path` | one layer per path | |
//! | `pipeline` | what the steps of a [`Pipeline`] make | nixpkgs' `flatten-references-graph` |
//!
//! `solo` and `fleet` are what nixply is for: images of a fleet that agree on their layers, and updates that move little
//! beyond what changed. `auto-layer`, `popularity` and `nix2container` are there so that a user can prove equality with the
//! tool they come from and migrate without a re-pull. `docs/packing.md` has the definitions, what each reaches and how that
//! was shown.
//!
//! # Invariants
//!
//! * Each path of the closure stands in exactly one layer (but for those that a [`Pipeline`] removes), no layer is empty,
//!   and there are at most [`Budget::available`] layers.
//! * The order in which records were given does not matter: a [`Closure`](nixply_store::Closure) stands in byte order.
//! * A packer whose result changes for any input gets a new version in its [`PackerId`].

mod anchor;
mod auto_layer;
mod catalog;
mod dag;
mod facts;
mod fill;
mod groups;
mod layered;
mod names;
mod nix2container;
mod packer;
mod packing;
mod pipeline;
mod popularity;
mod reach;
mod size;
mod volatile;
mod wide_sums;

pub use catalog::{Catalog, CatalogError, CatalogFit, CatalogGroup, LevelProposal};
pub use packer::{Packer, PackerId, UnknownPacker};
pub use packing::{
    Budget, DOCKER_MAX_LAYERS, LayerReason, PackError, PackOptions, PackedLayer, Packing, Rider,
    VolatileReason, pack,
};
pub use pipeline::{Pipeline, PipelineError};

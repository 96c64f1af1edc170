//! Store paths, NAR hashes and closures: types and readers, without I/O.
//!
//! # Duty
//!
//! This crate knows Nix's names and formats: [`StoreDir`], [`StorePath`], [`NarHash`], and the [`Closure`], a checked
//! graph of store paths. It reads every form in which Nix writes a closure from bytes that somebody else read; it never
//! touches the disk, the network, the environment or a clock.
//!
//! # Invariants
//!
//! * A [`Closure`] is closed (each reference is in it), free of cycles and self references, and holds each path once.
//! * Paths stand in byte order of their base names, so equal closures are equal values whatever form they came in.
//! * The NAR sizes of a closure can be added up in 64 bits.

mod base32;
mod closure;
mod excerpt;
mod nar_hash;
mod read;
mod store_path;

pub use closure::{Closure, ClosureError, MissingReference, PathIdx, PathInfo};
pub use nar_hash::{NarHash, NarHashError};
pub use read::{ClosureForm, OtherList, ReadError, read_attrs_graphs, read_closure};
pub use store_path::{StoreDir, StoreDirError, StorePath, StorePathError};

//! Nix's database of the store paths of an image, byte for byte the same wherever it is made.
//!
//! # Duty
//!
//! Nix believes only in store paths that its database knows (`/nix/var/nix/db/db.sqlite`). This crate writes such a file
//! for a list of store paths: schema 10, which every Nix from 1.8 to 2.34 reads and writes. It writes the file in memory
//! and touches no disk.
//!
//! # Invariants
//!
//! * The bytes follow from the store directory and the set of paths with their NAR hashes, NAR sizes and references; their
//!   order does not show, and neither does the version of SQLite in the file's header.
//! * Every path is registered at one second after 1970 began, the time of files in a store.
//! * What differs from store to store is left out: who built a path, who signed it, whether it was built here, and the
//!   content address, which some forms of a closure have and others do not. So a closure gives the same bytes in each of
//!   its forms. Nix needs none of it to use, verify and collect what is there.

mod bytes;
mod error;
mod register;

pub use error::DatabaseError;
pub use register::{RegisteredPath, write_database};

/// What stands in the file `schema` beside the database, without a newline (Nix, `src/libstore/local-store.cc`,
/// `nixSchemaVersion`).
pub const SCHEMA: &str = "10";

//! Layer records kept on this machine.
//!
//! # Duty
//!
//! A layer is known before it is made: its [`LayerKey`](nixply_oci::LayerKey) follows from what it holds. This crate
//! keeps what each key turned out to be ([`LayerRecord`](nixply_oci::LayerRecord)), which repositories hold the
//! layer, and which method of uploading a registry's host takes, from one run to the next. It knows neither Nix nor
//! any registry and reads no environment: the caller names the directory.
//!
//! # Design
//!
//! One SQLite database in the directory (`docs/decisions/0008-local-records.md` says why): any number of processes use
//! it at once, and one that is killed leaves the last whole transaction behind.
//!
//! Nothing here is needed to push an image, so nothing here may stop one. [`LocalRecords::open`] tells why there are no
//! records; afterwards a damaged file is set aside and begun anew, whatever else fails ends the use of the store for
//! this process, and [`LocalRecords::trouble`] says what happened to who asks.
//!
//! A record carries a check sum of its own: SQLite notices a broken page, not a flipped bit in a value, and a wrong diff
//! ID would go into an image that no registry refuses.
//!
//! # Sources
//!
//! SQLite's documentation: "Write-Ahead Logging", "How To Corrupt An SQLite Database File", and `PRAGMA`s
//! `application_id`, `user_version`, `synchronous`.

mod bounds;
mod database;
mod error;
mod files;
mod local_records;
mod tables;

pub use bounds::Bounds;
pub use error::CacheError;
pub use local_records::LocalRecords;
pub use tables::{FoundRecord, HeldBy, Summary};

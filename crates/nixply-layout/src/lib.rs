//! Images on disk: OCI layout directories and archives, written and read.
//!
//! # Duty
//!
//! Sinks: [`write_oci_dir`], [`write_archive`] (one tar that is an OCI layout and a docker archive),
//! [`write_docker_archive`] (the old form), and [`write_pulled_archive`] (the bytes that skopeo writes of an image in a
//! registry). Sources: [`open_image`], which tells by content what it is given, and [`is_image`], which
//! tells it fast. This crate
//! knows no network and no Nix; it sees images through the traits of [`nixply_oci`] and never learns where a layer's bytes
//! come from.
//!
//! # Invariants
//!
//! - The bytes of an archive follow from the image and its names alone: not from the number of threads, the memory
//!   budget, the clock or the user.
//! - Nothing appears half written: new files and directories get their names when they are whole.
//! - What is read is checked: every blob against the size and the digest that name it, while it streams.
//! - A name in an archive is looked up among the archive's members, never on the disk.
//!
//! # Sources
//!
//! OCI image-spec v1.1.1, `image-layout.md`; moby `image/tarexport` for the docker archive. Which tool loads what is
//! measured in `docs/decisions/0005-archive.md`.

mod archive;
mod atomic;
mod compression;
mod directory;
mod documents;
mod error;
mod layers;
mod merge;
mod names;
mod open;
mod pipeline;
mod pulled_archive;
mod report;
mod spool;
mod tar_out;
mod unfinished;

pub use archive::{write_archive, write_docker_archive};
pub use atomic::write_file_atomically;
pub use directory::write_oci_dir;
pub use error::LayoutError;
pub use merge::merge_docker_archives;
pub use names::ImageNames;
pub use open::{ImageForm, OpenOptions, OpenedImage, is_image, open_image};
pub use pulled_archive::write_pulled_archive;
pub use report::{LayerOutcome, WriteObserver, WriteReport, WrittenLayer};
pub use unfinished::discard_unfinished;

use std::path::PathBuf;

/// What writing an image may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteOptions {
    /// How many layers are made at once; 0 counts as 1.
    pub jobs: usize,
    /// How much memory finished layers may take while they wait for their turn in an archive.
    pub memory_budget_bytes: u64,
    /// Where layers wait that the memory has no room for, in files without a name.
    pub spool_dir: PathBuf,
}

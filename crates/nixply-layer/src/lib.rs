//! Deterministic layer bytes: store paths and root files to tar to compression, both hashes in one pass.
//!
//! # Duty
//!
//! A [`LayerSpec`] says what a layer holds, in which format, and how it is compressed; this crate makes the bytes, the
//! same ones each time and everywhere. It reads the store and the sources of root files, and writes to whatever it is
//! given; it does not know what an image is. `docs/format.md` is the specification of every byte.
//!
//! # Design
//!
//! * Metadata comes from rules, not from the file system: only an entry's type, its executable bit and its size are
//!   read. Owners, times, other mode bits, hard links, extended attributes and the order of a directory depend on the
//!   machine and never reach a byte.
//! * One pass. Each file is read once, straight into the buffer that is hashed and compressed; memory is bounded by
//!   the buffers, not by the size of a file or of a layer.
//! * A layer has a key ([`LayerSpec::key`]) that follows from its spec alone, so that whoever knows what a key became
//!   need not read a single file.
//! * What a layer should be can be compared with what is stored ([`compare_layer`]), down to the first entry and field
//!   that differ.
//!
//! # Invariants
//!
//! Equal specs over equal store paths give equal bytes, whatever the number of threads, the umask, the time, the
//! locale, the user, the order in which directories list their entries, or the hard links of the store.

mod capabilities;
mod compare;
mod compress;
mod compression;
mod compression_pool;
mod encoder;
mod entries;
mod error;
mod finished_tar;
mod header;
mod header_reader;
mod key;
mod listing;
mod made;
mod nix2container;
mod placed_header;
mod placed_tar;
mod placement;
mod read_ahead;
mod root_files;
mod spec;
mod store_tree;
mod stored;
mod tar_writer;
mod write;

pub use capabilities::{CapabilitiesError, FileCapabilities};
pub use compare::{CompareError, Difference, DifferenceKind, compare_layer};
pub use compress::Compressor;
pub use compression::{Compression, CompressionError};
pub use compression_pool::CompressionPool;
pub use entries::{StoredEntry, StoredEntryKind, WantsText, read_entries};
pub use error::{RootFileProblem, WriteLayerError};
pub use listing::read_store_paths;
pub use made::MadeLayer;
pub use nix2container::{
    Nix2containerOptions, Nix2containerPath, Nix2containerPerm, Nix2containerRewrite,
    Nix2containerTar, read_nix2container_entries,
};
pub use placed_tar::{hash_placed, read_placed_entries};
pub use placement::{NAME_LIMIT_BYTES, PlacedDirectory, TarPlacement, plain_name};
pub use root_files::check_root_files;
pub use spec::{
    DockerToolsHeader, EntryPermissions, FileContent, FinishedTar, LayerContents, LayerFormat,
    LayerSpec, RootFile, RootFileKind, StorePathContent, StoreRoot, tar_title,
};
pub use stored::read_diff_id;
pub use write::{write_layer, write_layer_tar};

/// The version of nixply's own layer format (`docs/format.md`). Any change of a byte of any layer raises it.
pub const FORMAT_VERSION: u32 = 1;

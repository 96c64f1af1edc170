//! Everything that can go wrong between an image and a disk.

use nixply_oci::{
    CanonicalJsonError, DiffId, Digest, ImageError, LayerDigest, LayerError, MediaType,
    ReferenceError,
};
use std::io;
use std::path::PathBuf;

/// Why an image could not be written to or read from a disk.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LayoutError {
    /// The operating system refused something about a file.
    #[error("cannot {action} `{}`", path.display())]
    File {
        /// `create`, `read`, `write` and so on.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The output that the caller gave refused bytes.
    #[error("cannot write the output")]
    Output(#[from] io::Error),
    /// No thread could be started to make layers on.
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
    /// A layer's maker failed, or could not write.
    #[error("cannot make layer {layer_idx} ({title})")]
    Layer {
        /// Counted from the bottom, from 0.
        layer_idx: usize,
        /// The layer's own words.
        title: String,
        /// What its maker said.
        source: LayerError,
    },
    /// A layer's bytes are not what they were said to be, or not what they were the first time.
    #[error(
        "layer {layer_idx} ({title}) came out differently: expected {expected} of {expected_bytes} bytes, \
         found {found} of {found_bytes} bytes"
    )]
    LayerChanged {
        /// Counted from the bottom, from 0.
        layer_idx: usize,
        /// The layer's own words.
        title: String,
        /// The digest that was known before.
        expected: LayerDigest,
        /// The size that was known before, in bytes.
        expected_bytes: u64,
        /// The digest of the bytes that came.
        found: LayerDigest,
        /// The number of the bytes that came.
        found_bytes: u64,
    },
    /// A layer has to be uncompressed for a docker archive and its compression is not known.
    #[error("layer {layer_idx} ({title}) is `{media_type}`, which cannot be uncompressed")]
    LayerCompression {
        /// Counted from the bottom, from 0.
        layer_idx: usize,
        /// The layer's own words.
        title: String,
        /// What the layer says it is.
        media_type: MediaType,
    },
    /// A layer of an image elsewhere cannot be read.
    #[error("cannot read layer {layer_idx}")]
    PulledLayer {
        /// Counted from the bottom, from 0.
        layer_idx: usize,
        /// What its place said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A layer of an image elsewhere is not what the config says.
    #[error("layer {layer_idx} is not what the config says: expected {expected}, found {found}")]
    PulledDiffId {
        /// Counted from the bottom, from 0.
        layer_idx: usize,
        /// The diff ID of the config.
        expected: DiffId,
        /// The diff ID that was found.
        found: DiffId,
    },
    /// The config or the manifest could not be made.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// An index has no canonical JSON.
    #[error("the index of `{}` cannot be written", path.display())]
    Index {
        /// The layout or archive.
        path: PathBuf,
        /// Why.
        source: CanonicalJsonError,
    },
    /// A name that an image cannot be given.
    #[error("`{name}` cannot name an image")]
    Name {
        /// The name as given.
        name: String,
        /// What is wrong with it.
        source: ReferenceError,
    },
    /// A name with a digest: an image is given tags, its digest follows from it.
    #[error("`{name}` names an image by digest: expected `NAME[:TAG]`")]
    NameWithDigest {
        /// The name as given.
        name: String,
    },
    /// The directory to write into holds something that is no OCI layout.
    #[error("`{}` is not empty and not an OCI layout", path.display())]
    DirectoryInUse {
        /// The directory.
        path: PathBuf,
    },
    /// What is there is no image in any form that is read here.
    #[error("`{}` is neither an OCI layout nor an image archive", path.display())]
    NotAnImage {
        /// The file or directory.
        path: PathBuf,
    },
    /// Two archives that shall be one have different members of one name.
    #[error("`{member}` is not the same in `{}` and in `{}`", first.display(), second.display())]
    TwoContents {
        /// The member.
        member: String,
        /// The archive that had it first.
        first: PathBuf,
        /// The archive that has it otherwise.
        second: PathBuf,
    },
    /// The tar or its compression is broken after it began well.
    #[error("the archive `{}` cannot be read to its end", path.display())]
    Archive {
        /// The archive.
        path: PathBuf,
        /// What the reader said.
        source: io::Error,
    },
    /// The archive ends inside a member.
    #[error(
        "the archive `{}` ends inside `{member}`: expected {expected_bytes} bytes, found {found_bytes} bytes",
        path.display()
    )]
    Truncated {
        /// The archive.
        path: PathBuf,
        /// The member's name.
        member: String,
        /// The size that the member's header tells, in bytes.
        expected_bytes: u64,
        /// How many of them are there.
        found_bytes: u64,
    },
    /// A file of the image is not JSON of the kind it has to be.
    #[error("`{member}` of `{}` is not what it has to be", path.display())]
    Json {
        /// The layout or archive.
        path: PathBuf,
        /// The file's name in it.
        member: String,
        /// What the parser said, with line and column.
        source: serde_json::Error,
    },
    /// A layout of another version of the specification.
    #[error("`{}` is an OCI layout of version `{found}`: expected `1.0.0`", path.display())]
    LayoutVersion {
        /// The layout or archive.
        path: PathBuf,
        /// The version that it tells.
        found: String,
    },
    /// A file that the image needs is not there.
    #[error("`{member}` is missing in `{}`", path.display())]
    Missing {
        /// The layout or archive.
        path: PathBuf,
        /// The file's name in it.
        member: String,
    },
    /// A file that is read as a whole is far bigger than such a file ever is.
    #[error(
        "`{member}` of `{}` is too big: expected at most {limit_bytes} bytes, found {found_bytes} bytes",
        path.display()
    )]
    TooBig {
        /// The layout or archive.
        path: PathBuf,
        /// The file's name in it.
        member: String,
        /// The most that is read, in bytes.
        limit_bytes: u64,
        /// The file's size, in bytes.
        found_bytes: u64,
    },
    /// A blob is longer or shorter than its descriptor says.
    #[error(
        "blob {blob} of `{}` has the wrong size: expected {expected_bytes} bytes, found {found_bytes} bytes",
        path.display()
    )]
    BlobSize {
        /// The layout or archive.
        path: PathBuf,
        /// The blob's digest.
        blob: Digest,
        /// The size that its descriptor tells, in bytes.
        expected_bytes: u64,
        /// The size it has, in bytes.
        found_bytes: u64,
    },
    /// A blob's bytes do not have its digest.
    #[error("blob of `{}` is damaged: expected {expected}, found {found}", path.display())]
    BlobDigest {
        /// The layout or archive.
        path: PathBuf,
        /// The digest that its descriptor tells.
        expected: Digest,
        /// The digest of its bytes.
        found: Digest,
    },
    /// The config has not one diff ID for each layer.
    #[error(
        "the config of `{}` does not fit its layers: expected {n_layers} diff IDs, found {n_diff_ids}",
        path.display()
    )]
    LayerCount {
        /// The layout or archive.
        path: PathBuf,
        /// The number of layers of the manifest.
        n_layers: usize,
        /// The number of diff IDs of the config.
        n_diff_ids: usize,
    },
    /// A caller asked for a layer that the image does not have.
    #[error("`{}` has no layer {layer_idx}: it has {n_layers} layers", path.display())]
    NoSuchLayer {
        /// The layout or archive.
        path: PathBuf,
        /// Counted from the bottom, from 0.
        layer_idx: usize,
        /// How many layers the image has.
        n_layers: usize,
    },
    /// An index names an index names an index, deeper than any tool makes them.
    #[error("the indexes of `{}` are nested more than {limit} deep", path.display())]
    NestedTooDeep {
        /// The layout or archive.
        path: PathBuf,
        /// How deep they may be.
        limit: usize,
    },
    /// No image there fits what was asked for.
    #[error(
        "no image of `{}` fits {wanted}; it holds {}",
        path.display(),
        list(found)
    )]
    NoSuchImage {
        /// The layout or archive.
        path: PathBuf,
        /// The reference and platform asked for.
        wanted: String,
        /// The images there.
        found: Vec<String>,
    },
    /// Several images fit what was asked for.
    #[error("`{}` holds several images: {}", path.display(), list(found))]
    Ambiguous {
        /// The layout or archive.
        path: PathBuf,
        /// Those that fit.
        found: Vec<String>,
    },
}

impl LayoutError {
    /// Wraps what the operating system said about a file.
    pub(crate) fn file(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File {
            action,
            path,
            source,
        }
    }
}

fn list(names: &[String]) -> String {
    if names.is_empty() {
        return "none".to_owned();
    }
    names
        .iter()
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>()
        .join(", ")
}

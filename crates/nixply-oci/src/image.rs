//! The two traits that join makers of images to places for them.

use crate::{
    CanonicalJsonError, Descriptor, DiffId, LayerDigest, LayerKey, MediaType, Platform,
    RepositoryName,
};
use std::io::Write;

/// What a layer turned out to be: enough to name it in a config and a manifest without its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerRecord {
    /// The digest of the uncompressed tar.
    pub diff_id: DiffId,
    /// The digest of the bytes on the wire.
    pub digest: LayerDigest,
    /// The number of bytes on the wire.
    pub size_bytes: u64,
    /// How the bytes on the wire are compressed.
    pub media_type: MediaType,
}

/// Why a layer's bytes could not be made or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LayerError {
    /// The maker failed: a file of the store is missing, cannot be read, or changed while it was read.
    #[error(transparent)]
    Make(Box<dyn std::error::Error + Send + Sync>),
    /// The sink refused the bytes; the sink knows why.
    #[error("the layer's bytes could not be written")]
    Sink(#[source] std::io::Error),
}

/// A layer that is made when a sink asks, as often as a sink asks, with the same bytes each time.
pub trait Layer: Send + Sync + std::fmt::Debug {
    /// What the layer is made from, where that has a key.
    fn key(&self) -> Option<LayerKey>;

    /// What the layer is, where that is known before its bytes are made.
    fn known(&self) -> Option<LayerRecord>;

    /// A repository that has the layer, where its bytes come from one: its registry can mount it without a byte moving.
    fn held_by(&self) -> Option<RepositoryName> {
        None
    }

    /// The compression of the bytes that [`Layer::write_blob`] writes.
    fn media_type(&self) -> MediaType;

    /// About how many bytes have to be read to make the layer; sinks start with the biggest.
    fn weight_bytes(&self) -> u64;

    /// A few words for progress and errors: a store path and how many more, for example.
    fn title(&self) -> String;

    /// Makes the layer's bytes, writes them, and tells what they were. One pass; memory does not grow with the layer.
    fn write_blob(&self, out: &mut dyn Write) -> Result<LayerRecord, LayerError>;
}

/// An image whose config and manifest follow from its layers.
pub trait Image: Send + Sync + std::fmt::Debug {
    /// The layers, bottom first.
    fn layers(&self) -> &[Box<dyn Layer>];

    /// What the image runs on.
    fn platform(&self) -> &Platform;

    /// Makes the config and the manifest. `records` tells what each layer of [`Image::layers`] is, in that order.
    fn finish(&self, records: &[LayerRecord]) -> Result<FinishedImage, ImageError>;
}

/// Why an image could not be finished.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    /// The config or the manifest has no canonical JSON.
    #[error("the image's {what} cannot be written")]
    Json {
        /// `config` or `manifest`.
        what: &'static str,
        /// Why.
        source: CanonicalJsonError,
    },
    /// A caller gave another number of records than the image has layers.
    #[error("expected {expected} layer records, found {found}")]
    RecordCount {
        /// How many layers the image has.
        expected: usize,
        /// How many records were given.
        found: usize,
    },
}

/// The last two blobs of an image, and how they are named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FinishedImage {
    /// The bytes of the config.
    pub config: Vec<u8>,
    /// Names the config.
    pub config_descriptor: Descriptor,
    /// The bytes of the manifest.
    pub manifest: Vec<u8>,
    /// Names the manifest; its digest is the image's digest.
    pub manifest_descriptor: Descriptor,
}

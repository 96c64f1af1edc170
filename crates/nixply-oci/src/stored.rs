//! Images that exist already: in a registry, a layout or an archive.

use crate::{Descriptor, ImageConfig, ImageManifest};
use std::io::Read;

/// The manifest and the config of an image that exists already, as found and as read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredImage {
    /// Names the manifest; its digest is the image's digest.
    pub manifest_descriptor: Descriptor,
    /// What the manifest says.
    pub manifest: ImageManifest,
    /// What the config says.
    pub config: ImageConfig,
}

/// A place that holds an image and can give its layers.
pub trait ImageSource: std::fmt::Debug {
    /// The image's manifest and config, whose digests the source has checked.
    fn image(&self) -> &StoredImage;

    /// Opens the bytes of a layer, as they are stored; `layer_idx` counts from the bottom, from 0. Bytes that do not
    /// have the size and digest of the layer's descriptor end in an error, at the latest at their end.
    fn open_layer(&self, layer_idx: usize) -> Result<Box<dyn Read + '_>, SourceError>;
}

/// Why a stored image cannot be read.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct SourceError(pub Box<dyn std::error::Error + Send + Sync>);

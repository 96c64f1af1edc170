//! Descriptors: how one blob names another.

use crate::{Digest, MediaType, Platform};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Names a blob by media type, digest and size (OCI image-spec v1.1.1, `descriptor.md`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Descriptor {
    /// What the blob is.
    #[serde(rename = "mediaType")]
    pub media_type: MediaType,
    /// The digest of the blob's bytes.
    pub digest: Digest,
    /// The number of the blob's bytes.
    #[serde(rename = "size")]
    pub size_bytes: u64,
    /// Notes on the blob, for example [`ANNOTATION_LAYER_KEY`](crate::ANNOTATION_LAYER_KEY).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// In an index: what the image runs on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
}

impl Descriptor {
    /// Describes a blob that is in memory.
    #[must_use]
    pub fn of(media_type: MediaType, bytes: &[u8]) -> Self {
        Self {
            media_type,
            digest: Digest::of(bytes),
            size_bytes: bytes.len() as u64,
            annotations: BTreeMap::new(),
            platform: None,
        }
    }
}

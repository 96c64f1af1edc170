//! The image manifest and the image index.

use crate::{Descriptor, MediaType};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The `schemaVersion` of every manifest and index (OCI image-spec v1.1.1, `manifest.md`).
pub const SCHEMA_VERSION: u32 = 2;

/// Names an image's config and layers, bottom layer first (OCI image-spec v1.1.1, `manifest.md`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageManifest {
    /// [`SCHEMA_VERSION`].
    #[serde(rename = "schemaVersion")]
    pub schema_version: u32,
    /// [`MediaType::OciManifest`] or [`MediaType::DockerManifest`]; absent in some manifests of other tools.
    #[serde(rename = "mediaType", default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<MediaType>,
    /// The config blob.
    pub config: Descriptor,
    /// The layers, bottom first.
    pub layers: Vec<Descriptor>,
    /// Notes on the image.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// Names several manifests, one a platform (OCI image-spec v1.1.1, `image-index.md`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageIndex {
    /// [`SCHEMA_VERSION`].
    #[serde(rename = "schemaVersion")]
    pub schema_version: u32,
    /// [`MediaType::OciIndex`] or [`MediaType::DockerManifestList`].
    #[serde(rename = "mediaType", default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<MediaType>,
    /// The manifests.
    pub manifests: Vec<Descriptor>,
    /// Notes on the index.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

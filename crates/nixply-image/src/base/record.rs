//! Base images in a plan.

use super::{BaseTree, tar_key};
use nixply_layer::Compression;
use nixply_oci::{
    Descriptor, DiffId, Digest, History, LayerKey, LayerPlace, LayerRecord, MediaType,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a plan says of its base beside the layers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BaseRecord {
    /// What it is called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The digest of its manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// Its history: an entry for each base layer of the plan, and those of steps that made none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<History>,
    /// What of its files ours could damage; for images that are built on this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tree: Option<BaseTree>,
}

/// A finished layer in a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedBaseLayer {
    /// Names the layer's bytes, where they are taken as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub descriptor: Option<Descriptor>,
    /// Where the layer is a tar that is compressed here: what it is made from, as one hash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<LayerKey>,
    /// Where the layer is a tar that is compressed here: the number of its bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<u64>,
    /// The hash of its uncompressed tar.
    pub diff_id: DiffId,
    /// Where its bytes are.
    pub source: LayerPlace,
    /// The store paths that it is known to hold, as absolute paths.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<String>,
}

impl PlannedBaseLayer {
    /// What the layer is, where its bytes are taken as they are.
    #[must_use]
    pub fn record(&self) -> Option<LayerRecord> {
        let descriptor = self.descriptor.as_ref()?;
        Some(LayerRecord {
            diff_id: self.diff_id,
            digest: descriptor.digest.into(),
            size_bytes: descriptor.size_bytes,
            media_type: descriptor.media_type.clone(),
        })
    }

    /// Compresses the layer with another compression, where it is a tar of this machine that is compressed here.
    pub(crate) fn compress(&mut self, compression: Compression) {
        let stored = self.stored();
        let is_here = matches!(self.source, LayerPlace::Disk { .. });
        if stored.media_type != MediaType::OciLayerTar || !is_here {
            return;
        }
        let is_plain = compression == Compression::None;
        self.key = (!is_plain).then(|| tar_key(self.diff_id, compression));
        self.size_bytes = (!is_plain).then_some(stored.size_bytes);
        self.descriptor = is_plain.then_some(stored);
    }

    /// Names the bytes where they are: those of the layer, or those of the tar that is compressed here.
    #[must_use]
    pub fn stored(&self) -> Descriptor {
        self.descriptor.clone().unwrap_or_else(|| Descriptor {
            media_type: MediaType::OciLayerTar,
            digest: Digest::from_bytes(*self.diff_id.as_bytes()),
            size_bytes: self.size_bytes.unwrap_or(0),
            annotations: BTreeMap::new(),
            platform: None,
        })
    }
}

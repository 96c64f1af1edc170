//! Finished layers of other images: where they are, and who gives their bytes.

use crate::{Descriptor, ImageReference, RepositoryName, SourceError};
use serde::{Deserialize, Serialize};
use std::io::Read;
use std::path::PathBuf;

/// Where a finished layer is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum LayerPlace {
    /// In a registry: `{"registry":"docker.io/library/debian@sha256:…"}`.
    Registry {
        /// The image, by digest.
        registry: String,
    },
    /// In a layout or an archive on this machine: `{"path":"/nix/store/…","image":"sha256:…","layer":0}`.
    Disk {
        /// The layout or archive, absolute.
        path: PathBuf,
        /// The image in it: the digest of its manifest, or of its config where it has no manifest.
        image: String,
        /// Which of the image's layers, from the bottom, from 0.
        layer: usize,
    },
}

impl LayerPlace {
    /// The repository that has the layer; none for a place that is no repository.
    #[must_use]
    pub fn repository(&self) -> Option<RepositoryName> {
        match self {
            Self::Registry { registry } => {
                let reference: ImageReference = registry.parse().ok()?;
                Some(RepositoryName::from(&reference))
            }
            Self::Disk { .. } => None,
        }
    }
}

/// Gives the bytes of finished layers, wherever they are.
pub trait LayerSource: Send + Sync + std::fmt::Debug {
    /// Opens a layer's bytes as they are stored and hands them to `take`. `stored` names those bytes: their digest, size
    /// and form. Bytes that are others end in an error of the reader, at the latest at their end.
    fn read_layer(
        &self,
        place: &LayerPlace,
        stored: &Descriptor,
        take: &mut dyn FnMut(&mut dyn Read),
    ) -> Result<(), SourceError>;
}

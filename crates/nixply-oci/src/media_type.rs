//! The media types that nixply writes and reads.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A media type of OCI image-spec v1.1.1 `media-types.md` or Docker's image manifest version 2, schema 2.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
#[non_exhaustive]
pub enum MediaType {
    /// An OCI image index.
    OciIndex,
    /// An OCI image manifest.
    OciManifest,
    /// An OCI image config.
    OciConfig,
    /// An uncompressed OCI layer.
    OciLayerTar,
    /// A gzip-compressed OCI layer.
    OciLayerTarGzip,
    /// A zstd-compressed OCI layer.
    OciLayerTarZstd,
    /// A Docker manifest list.
    DockerManifestList,
    /// A Docker image manifest.
    DockerManifest,
    /// A Docker image config.
    DockerConfig,
    /// An uncompressed Docker layer.
    DockerLayerTar,
    /// A gzip-compressed Docker layer.
    DockerLayerTarGzip,
    /// Any other media type, kept as it was read.
    Other(String),
}

const KNOWN: [(MediaType, &str); 11] = [
    (
        MediaType::OciIndex,
        "application/vnd.oci.image.index.v1+json",
    ),
    (
        MediaType::OciManifest,
        "application/vnd.oci.image.manifest.v1+json",
    ),
    (
        MediaType::OciConfig,
        "application/vnd.oci.image.config.v1+json",
    ),
    (
        MediaType::OciLayerTar,
        "application/vnd.oci.image.layer.v1.tar",
    ),
    (
        MediaType::OciLayerTarGzip,
        "application/vnd.oci.image.layer.v1.tar+gzip",
    ),
    (
        MediaType::OciLayerTarZstd,
        "application/vnd.oci.image.layer.v1.tar+zstd",
    ),
    (
        MediaType::DockerManifestList,
        "application/vnd.docker.distribution.manifest.list.v2+json",
    ),
    (
        MediaType::DockerManifest,
        "application/vnd.docker.distribution.manifest.v2+json",
    ),
    (
        MediaType::DockerConfig,
        "application/vnd.docker.container.image.v1+json",
    ),
    (
        MediaType::DockerLayerTar,
        "application/vnd.docker.image.rootfs.diff.tar",
    ),
    (
        MediaType::DockerLayerTarGzip,
        "application/vnd.docker.image.rootfs.diff.tar.gzip",
    ),
];

impl MediaType {
    /// The text of the media type.
    #[must_use]
    pub fn as_str(&self) -> &str {
        if let MediaType::Other(text) = self {
            return text;
        }
        KNOWN
            .iter()
            .find(|(known, _)| known == self)
            .map_or("", |(_, text)| text)
    }
}

impl fmt::Display for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl From<&str> for MediaType {
    fn from(text: &str) -> Self {
        KNOWN.iter().find(|(_, known)| *known == text).map_or_else(
            || MediaType::Other(text.to_owned()),
            |(media_type, _)| media_type.clone(),
        )
    }
}

impl From<String> for MediaType {
    fn from(text: String) -> Self {
        MediaType::from(text.as_str())
    }
}

impl From<MediaType> for String {
    fn from(media_type: MediaType) -> String {
        media_type.as_str().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_type_round_trips() {
        for (media_type, text) in KNOWN {
            assert_eq!(media_type.as_str(), text);
            assert_eq!(MediaType::from(text), media_type);
        }
        assert_eq!(MediaType::from("x/y").to_string(), "x/y");
    }
}

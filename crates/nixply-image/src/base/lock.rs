//! The lock of a base image in a registry, `nixply.base/1`: all that planning needs of it, so that planning needs no network.
//!
//! Manifest and config stand in it as texts, byte for byte, so that the digest that the reference names vouches for both
//! and for every layer. What was found in the layers rests on the word of whoever made the lock.

use super::{BaseError, BaseImage, BaseTree};
use nixply_oci::{
    Descriptor, Digest, ImageConfig, ImageManifest, ImageReference, LayerPlace, MediaType,
    Platform, StoredImage,
};
use serde::{Deserialize, Serialize};

/// The schema that this version reads and writes.
pub const LOCK_SCHEMA: &str = "nixply.base/1";

/// A base image in a registry, locked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BaseLock {
    /// [`LOCK_SCHEMA`].
    pub schema: String,
    /// The image by the digest of its manifest, `docker.io/library/debian@sha256:…`.
    pub reference: String,
    /// What was asked for when it was locked, `docker.io/library/debian:12`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What it runs on, for people; the config decides.
    pub platform: Platform,
    /// The bytes of the manifest.
    pub manifest: String,
    /// The bytes of the config.
    pub config: String,
    /// What the layers were found to hold.
    #[serde(flatten)]
    pub tree: BaseTree,
}

impl BaseLock {
    /// Locks an image whose documents were read and checked.
    #[must_use]
    pub fn new(
        reference: &ImageReference,
        name: Option<String>,
        platform: Platform,
        manifest: String,
        config: String,
        tree: BaseTree,
    ) -> Self {
        let digest = Digest::of(manifest.as_bytes());
        Self {
            schema: LOCK_SCHEMA.to_owned(),
            reference: reference.with_digest(digest).to_string(),
            name,
            platform,
            manifest,
            config,
            tree,
        }
    }

    /// True where bytes are JSON that says it is a lock, of whatever version.
    #[must_use]
    pub fn is_lock(bytes: &[u8]) -> bool {
        crate::spec::schema_of(bytes).is_some_and(|schema| schema.starts_with("nixply.base/"))
    }

    /// Reads a lock and checks its schema; [`BaseLock::image`] checks the rest.
    pub fn from_json(bytes: &[u8]) -> Result<Self, BaseError> {
        match crate::spec::schema_of(bytes) {
            Some(found) if found != LOCK_SCHEMA => Err(BaseError::Schema { found }),
            _ => serde_json::from_slice(bytes).map_err(BaseError::Json),
        }
    }

    /// Writes the lock as indented JSON with a final newline.
    pub fn to_json(&self) -> Result<String, BaseError> {
        let mut text = serde_json::to_string_pretty(self).map_err(BaseError::Json)?;
        text.push('\n');
        Ok(text)
    }

    /// The image that is locked: its documents, each checked against the digest that names it.
    pub fn stored(&self) -> Result<StoredImage, BaseError> {
        let no_reference = || BaseError::LockReference {
            reference: self.reference.clone(),
        };
        let reference: ImageReference = self.reference.parse().map_err(|_| no_reference())?;
        let expected = reference.digest().ok_or_else(no_reference)?;
        check("manifest", &self.manifest, expected)?;
        let manifest: ImageManifest = read("manifest", &self.manifest)?;
        check("config", &self.config, manifest.config.digest)?;
        let config: ImageConfig = read("config", &self.config)?;
        let media_type = manifest
            .media_type
            .clone()
            .unwrap_or(MediaType::OciManifest);
        Ok(StoredImage {
            manifest_descriptor: Descriptor::of(media_type, self.manifest.as_bytes()),
            manifest,
            config,
        })
    }

    /// The locked image as a base.
    pub fn image(&self) -> Result<BaseImage, BaseError> {
        let place = |_| LayerPlace::Registry {
            registry: self.reference.clone(),
        };
        let image = BaseImage::of_stored(&self.stored()?, Some(self.tree.clone()), None, place)?;
        Ok(BaseImage {
            name: Some(self.name.clone().unwrap_or_else(|| self.reference.clone())),
            ..image
        })
    }
}

fn check(what: &'static str, text: &str, expected: Digest) -> Result<(), BaseError> {
    let found = Digest::of(text.as_bytes());
    if found == expected {
        return Ok(());
    }
    Err(BaseError::LockDigest {
        what,
        expected,
        found,
    })
}

fn read<T: serde::de::DeserializeOwned>(what: &'static str, text: &str) -> Result<T, BaseError> {
    serde_json::from_str(text).map_err(|source| BaseError::LockDocument { what, source })
}

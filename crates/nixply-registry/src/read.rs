//! Images in a registry, read.

use crate::blob::BlobReader;
use crate::records::ARTIFACT_TYPE;
use crate::repository::{Access, Repository, StoredManifest};
use crate::{Client, RegistryError, Subject};
use bytes::Bytes;
use nixply_oci::{
    Descriptor, ImageConfig, ImageIndex, ImageManifest, ImageReference, ImageSource, Platform,
    SourceError, StoredImage,
};
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use std::io::Read;

/// The largest config that is read into memory. Those of images with the most layers have some 100 kB.
const CONFIG_MAX_BYTES: u64 = 16 << 20;

/// An image in a registry. Its layers are read when asked for, streaming.
#[derive(Debug)]
pub struct RegistryImage {
    reference: ImageReference,
    repository: Repository,
    image: StoredImage,
    manifest_bytes: Bytes,
    config_bytes: Vec<u8>,
    client: Client,
}

/// What stands under a tag or digest.
pub(crate) enum Stored {
    /// One image.
    Manifest(Descriptor, Box<ImageManifest>),
    /// Several.
    Index(ImageIndex),
}

/// Tells manifests and indexes apart. Some do not say what they are, but only an index lists manifests.
#[derive(Deserialize)]
struct Kind {
    manifests: Option<IgnoredAny>,
}

impl RegistryImage {
    /// Reads an image's manifest and config. Of an index, it reads the image for `platform`, or the only one there is.
    ///
    /// # Panics
    ///
    /// When it, or a reader that [`ImageSource::open_layer`] gave, is used inside an asynchronous task of tokio.
    pub fn open(
        client: &Client,
        reference: &ImageReference,
        platform: Option<&Platform>,
    ) -> Result<Self, RegistryError> {
        let repository = client.repository(reference, Access::Pull)?;
        let (image, manifest_bytes, config_bytes) = client.runtime().block_on(async {
            let (stored, descriptor, manifest) = match repository.stored(reference).await? {
                (stored, Stored::Manifest(descriptor, manifest)) => (stored, descriptor, manifest),
                (_, Stored::Index(index)) => {
                    let entry = entry_for(reference, &index, platform)?;
                    let reference = reference.with_digest(entry.digest);
                    match repository.stored(&reference).await? {
                        (stored, Stored::Manifest(descriptor, manifest)) => {
                            (stored, descriptor, manifest)
                        }
                        (_, Stored::Index(_)) => {
                            return Err(no_such_platform(&reference, &[], platform));
                        }
                    }
                }
            };
            if is_layer_index(&manifest) {
                return Err(RegistryError::LayerIndex {
                    reference: Box::new(reference.clone()),
                });
            }
            let (config, config_bytes) = repository.config(&manifest.config).await?;
            let image = StoredImage {
                manifest_descriptor: descriptor,
                manifest: *manifest,
                config,
            };
            Ok::<_, RegistryError>((image, stored.bytes, config_bytes))
        })?;
        Ok(Self {
            reference: reference.clone(),
            repository,
            image,
            manifest_bytes,
            config_bytes,
            client: client.clone(),
        })
    }

    /// The bytes of the manifest, as they are stored.
    #[must_use]
    pub fn manifest_bytes(&self) -> &[u8] {
        &self.manifest_bytes
    }

    /// The bytes of the config, as they are stored.
    #[must_use]
    pub fn config_bytes(&self) -> &[u8] {
        &self.config_bytes
    }

    /// Opens a layer's bytes; [`ImageSource::open_layer`] with this crate's error.
    fn open_blob(&self, layer_idx: usize) -> Result<BlobReader, RegistryError> {
        let layers = &self.image.manifest.layers;
        let descriptor = layers
            .get(layer_idx)
            .ok_or_else(|| RegistryError::NoSuchLayer {
                reference: Box::new(self.reference.clone()),
                layer_count: layers.len(),
                layer_idx,
            })?;
        let subject = Subject::Layer {
            title: format!("{} of {}", layer_idx + 1, self.reference),
            digest: Some(descriptor.digest.into()),
        };
        BlobReader::open(&self.client, &self.repository, descriptor, &subject)
    }
}

/// An index in a registry, which stands for the images of several platforms.
#[derive(Debug)]
pub struct StoredIndex {
    /// Of the bytes as they are stored.
    pub descriptor: Descriptor,
    /// What they say.
    pub index: ImageIndex,
}

/// Reads the index under a tag or digest; none where a single image stands there.
///
/// # Panics
///
/// When it is used inside an asynchronous task of tokio.
pub fn read_index(
    client: &Client,
    reference: &ImageReference,
) -> Result<Option<StoredIndex>, RegistryError> {
    let repository = client.repository(reference, Access::Pull)?;
    let stored = repository.stored(reference);
    Ok(match client.runtime().block_on(stored)? {
        (_, Stored::Manifest(..)) => None,
        (stored, Stored::Index(index)) => Some(StoredIndex {
            descriptor: Descriptor::of(stored.media_type, &stored.bytes),
            index,
        }),
    })
}

impl ImageSource for RegistryImage {
    fn image(&self) -> &StoredImage {
        &self.image
    }

    fn open_layer(&self, layer_idx: usize) -> Result<Box<dyn Read + '_>, SourceError> {
        match self.open_blob(layer_idx) {
            Ok(reader) => Ok(Box::new(reader)),
            Err(error) => Err(SourceError(Box::new(error))),
        }
    }
}

/// True for what `--layer-index` names: its one blob is no layer.
pub(crate) fn is_layer_index(manifest: &ImageManifest) -> bool {
    let blobs = &manifest.layers;
    blobs
        .iter()
        .any(|blob| blob.media_type.as_str() == ARTIFACT_TYPE)
}

/// The index's entry for a platform, or its only image where no platform is asked for.
///
/// Entries without a platform, or with the platform `unknown`, are no images: signatures and attestations.
fn entry_for<'a>(
    reference: &ImageReference,
    index: &'a ImageIndex,
    wanted: Option<&Platform>,
) -> Result<&'a Descriptor, RegistryError> {
    let images: Vec<(&Platform, &Descriptor)> = index
        .manifests
        .iter()
        .filter_map(|entry| Some((entry.platform.as_ref()?, entry)))
        .filter(|(platform, _)| platform.os != "unknown")
        .collect();
    let mut serving = images
        .iter()
        .filter(|(platform, _)| wanted.is_none_or(|wanted| platform.serves(wanted)));
    match (serving.next(), serving.next()) {
        (Some((_, entry)), None) => Ok(entry),
        _ => Err(no_such_platform(reference, &images, wanted)),
    }
}

fn no_such_platform(
    reference: &ImageReference,
    images: &[(&Platform, &Descriptor)],
    wanted: Option<&Platform>,
) -> RegistryError {
    RegistryError::NoSuchPlatform {
        reference: Box::new(reference.clone()),
        wanted: wanted.cloned(),
        platforms: images
            .iter()
            .map(|(platform, _)| (*platform).clone())
            .collect(),
    }
}

impl Repository {
    /// Reads what stands under a tag or digest: its bytes, and what they say.
    pub(crate) async fn stored(
        &self,
        image: &ImageReference,
    ) -> Result<(StoredManifest, Stored), RegistryError> {
        let subject = Subject::Image {
            reference: Box::new(image.clone()),
        };
        let name = match (image.digest(), image.tag()) {
            (Some(digest), _) => digest.to_string(),
            (None, Some(tag)) => tag.to_owned(),
            (None, None) => {
                return Err(RegistryError::NoTagOrDigest {
                    reference: Box::new(image.clone()),
                });
            }
        };
        let Some(stored) = self.manifest(&name, &subject).await? else {
            return Err(RegistryError::NotFound {
                subject: Box::new(subject),
            });
        };
        let kind: Kind = parse(&stored.bytes, "a manifest", &subject)?;
        if kind.manifests.is_some() {
            let index = parse(&stored.bytes, "an image index", &subject)?;
            return Ok((stored, Stored::Index(index)));
        }
        let manifest = parse(&stored.bytes, "an image manifest", &subject)?;
        let descriptor = Descriptor::of(stored.media_type.clone(), &stored.bytes);
        Ok((stored, Stored::Manifest(descriptor, Box::new(manifest))))
    }

    /// Reads a config: what it says, and its bytes.
    pub(crate) async fn config(
        &self,
        descriptor: &Descriptor,
    ) -> Result<(ImageConfig, Vec<u8>), RegistryError> {
        let digest = descriptor.digest;
        let subject = Subject::Config { digest };
        if descriptor.size_bytes > CONFIG_MAX_BYTES {
            return Err(RegistryError::SizeDiffers {
                subject: Box::new(subject),
                expected_bytes: CONFIG_MAX_BYTES,
                found_bytes: descriptor.size_bytes,
            });
        }
        let mut blob = self.blob(digest, descriptor.size_bytes, &subject).await?;
        let mut bytes = Vec::new();
        while let Some(segment) = blob.next().await? {
            bytes.extend_from_slice(&segment);
        }
        Ok((parse(&bytes, "an image config", &subject)?, bytes))
    }
}

fn parse<T: DeserializeOwned>(
    bytes: &[u8],
    expected: &'static str,
    subject: &Subject,
) -> Result<T, RegistryError> {
    serde_json::from_slice(bytes).map_err(|source| RegistryError::Malformed {
        subject: Box::new(subject.clone()),
        expected,
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use nixply_oci::MediaType;
    use std::collections::BTreeMap;

    fn index(platforms: &[Option<&str>]) -> ImageIndex {
        ImageIndex {
            schema_version: 2,
            media_type: None,
            manifests: platforms
                .iter()
                .map(|platform| Descriptor {
                    platform: platform.map(|text| text.parse().unwrap()),
                    ..Descriptor::of(MediaType::OciManifest, format!("{platform:?}").as_bytes())
                })
                .collect(),
            annotations: BTreeMap::new(),
        }
    }

    #[test]
    fn an_entry_is_found_by_platform_or_by_being_the_only_image() {
        let reference: ImageReference = "h.example/a:b".parse().unwrap();
        let entry = |platforms: &[Option<&str>], wanted: Option<&str>| {
            let wanted: Option<Platform> = wanted.map(|text| text.parse().unwrap());
            entry_for(&reference, &index(platforms), wanted.as_ref())
                .map(|entry| entry.platform.as_ref().unwrap().to_string())
                .map_err(|error| error.to_string())
        };
        let attested = [Some("linux/amd64"), Some("unknown/unknown"), None];
        assert_eq!(entry(&attested, None).unwrap(), "linux/amd64");
        let both = [Some("linux/amd64"), Some("linux/arm64/v8")];
        assert_eq!(entry(&both, Some("linux/arm64")).unwrap(), "linux/arm64/v8");
        let plain = [Some("linux/amd64"), Some("linux/arm64")];
        assert_eq!(
            entry(&plain, Some("linux/arm64/v8")).unwrap(),
            "linux/arm64"
        );
        assert_eq!(
            entry(&both, None).unwrap_err(),
            "h.example/a:b has 2 images (linux/amd64, linux/arm64/v8), expected one"
        );
        assert_eq!(
            entry(&both, Some("linux/riscv64")).unwrap_err(),
            "h.example/a:b has 2 images (linux/amd64, linux/arm64/v8), expected one for linux/riscv64"
        );
    }
}

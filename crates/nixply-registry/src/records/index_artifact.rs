//! The layer index in a registry: an artifact under a tag (OCI image-spec v1.1.1, `manifest.md`, "Guidelines for
//! Artifact Usage").

use super::LayerIndex;
use crate::repository::Repository;
use crate::{RegistryError, Subject};
use bytes::Bytes;
use nixply_oci::{
    Descriptor, Digest, ImageManifest, ImageReference, MediaType, SCHEMA_VERSION, canonical_json,
};
use serde::Serialize;

/// What the artifact and its one blob are.
pub(crate) const ARTIFACT_TYPE: &str = "application/vnd.nixply.layers.v1+json";

/// The config of an artifact that has none (OCI image-spec v1.1.1, `manifest.md`, "Guidance for an Empty Descriptor").
const EMPTY_CONFIG: &[u8] = b"{}";

/// That config's media type.
const EMPTY_MEDIA_TYPE: &str = "application/vnd.oci.empty.v1+json";

/// The largest document that is read: some times the largest that is written.
const DOCUMENT_MAX_BYTES: u64 = 8 << 20;

/// A layer index that was read.
#[derive(Debug, Clone, Default)]
pub(crate) struct ReadIndex {
    /// The digest of the artifact's manifest; `None` if there is none yet.
    digest: Option<Digest>,
    /// The index; empty if there is none yet.
    pub(crate) index: LayerIndex,
}

/// Reads a layer index, unless it is the one that was read before. Something else under its tag is an error, so that
/// nobody writes over it.
pub(crate) async fn read_index(
    repository: &Repository,
    reference: &ImageReference,
    before: Option<&ReadIndex>,
) -> Result<ReadIndex, RegistryError> {
    let subject = Subject::Image {
        reference: Box::new(reference.clone()),
    };
    let tag = reference.tag().unwrap_or_default();
    let Some(stored) = repository.manifest(tag, &subject).await? else {
        return Ok(ReadIndex::default());
    };
    if let Some(before) = before.filter(|before| before.digest == Some(stored.digest)) {
        return Ok(before.clone());
    }
    let malformed = |source| RegistryError::Malformed {
        subject: Box::new(subject.clone()),
        expected: "a layer index of nixply",
        source,
    };
    let manifest: ImageManifest = serde_json::from_slice(&stored.bytes).map_err(malformed)?;
    let document = match manifest.layers.as_slice() {
        [document] if document.media_type.as_str() == ARTIFACT_TYPE => document,
        _ => {
            let problem = format!("expected one blob of type {ARTIFACT_TYPE}");
            return Err(malformed(serde::de::Error::custom(problem)));
        }
    };
    if document.size_bytes > DOCUMENT_MAX_BYTES {
        return Err(RegistryError::SizeDiffers {
            subject: Box::new(subject),
            expected_bytes: DOCUMENT_MAX_BYTES,
            found_bytes: document.size_bytes,
        });
    }
    let mut blob = repository
        .blob(document.digest, document.size_bytes, &subject)
        .await?;
    let mut bytes = Vec::new();
    while let Some(segment) = blob.next().await? {
        bytes.extend_from_slice(&segment);
    }
    let index = LayerIndex::from_json(&bytes).map_err(malformed)?;
    Ok(ReadIndex {
        digest: Some(stored.digest),
        index,
    })
}

/// Writes a layer index. Whoever writes last wins.
pub(crate) async fn write_index(
    repository: &Repository,
    reference: &ImageReference,
    index: &LayerIndex,
) -> Result<(), RegistryError> {
    #[derive(Serialize)]
    struct ArtifactManifest<'a> {
        #[serde(rename = "schemaVersion")]
        schema_version: u32,
        #[serde(rename = "mediaType")]
        media_type: &'a MediaType,
        #[serde(rename = "artifactType")]
        artifact_type: &'a str,
        config: &'a Descriptor,
        layers: [&'a Descriptor; 1],
    }
    let subject = Subject::Image {
        reference: Box::new(reference.clone()),
    };
    let malformed = |source| RegistryError::Malformed {
        subject: Box::new(subject.clone()),
        expected: "a layer index of nixply",
        source,
    };
    let document = index.to_json().map_err(malformed)?;
    let config = Descriptor::of(MediaType::from(EMPTY_MEDIA_TYPE), EMPTY_CONFIG);
    let layer = Descriptor::of(MediaType::from(ARTIFACT_TYPE), &document);
    let manifest = canonical_json(&ArtifactManifest {
        schema_version: SCHEMA_VERSION,
        media_type: &MediaType::OciManifest,
        artifact_type: ARTIFACT_TYPE,
        config: &config,
        layers: [&layer],
    })
    .map_err(|error| malformed(serde::ser::Error::custom(error)))?;
    let blobs = [
        (config.digest, Bytes::from_static(EMPTY_CONFIG)),
        (layer.digest, Bytes::from(document)),
    ];
    for (digest, bytes) in blobs {
        send(repository, digest, bytes, &subject).await?;
    }
    let tag = reference.tag().unwrap_or_default();
    repository
        .put_manifest(tag, &MediaType::OciManifest, &manifest, &subject)
        .await
}

/// Sends a small blob unless the repository has it.
async fn send(
    repository: &Repository,
    digest: Digest,
    bytes: Bytes,
    subject: &Subject,
) -> Result<(), RegistryError> {
    use crate::repository::FoundBlob;
    let found = repository.find_blob(digest, bytes.len() as u64, subject);
    if found.await? == FoundBlob::Whole {
        return Ok(());
    }
    let (sent, _) = tokio::sync::mpsc::unbounded_channel();
    repository
        .upload(digest, vec![bytes], None, subject, &sent)
        .await
}

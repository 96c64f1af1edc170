//! Parts that are in another repository of the same registry: their blobs are mounted, their manifests written again.

use super::parts::FoundPart;
use crate::repository::{FoundBlob, Mount, Repository};
use crate::{RegistryError, Subject};
use futures_util::future::try_join_all;
use nixply_oci::{Descriptor, Digest, ImageManifest};
use std::collections::BTreeMap;

/// True if a repository has this manifest.
pub(super) async fn is_there(
    repository: &Repository,
    part: &FoundPart,
) -> Result<bool, RegistryError> {
    let digest = part.descriptor.digest;
    let subject = Subject::Manifest { digest };
    let stored = repository.manifest(&digest.to_string(), &subject).await?;
    Ok(stored.is_some())
}

/// Brings a part into a repository.
pub(super) async fn bring(repository: &Repository, part: &FoundPart) -> Result<(), RegistryError> {
    let digest = part.descriptor.digest;
    let subject = Subject::Manifest { digest };
    let manifest: ImageManifest =
        serde_json::from_slice(&part.bytes).map_err(|source| RegistryError::Malformed {
            subject: Box::new(subject.clone()),
            expected: "an image manifest",
            source,
        })?;
    let blobs: BTreeMap<Digest, &Descriptor> = manifest
        .layers
        .iter()
        .chain([&manifest.config])
        .map(|blob| (blob.digest, blob))
        .collect();
    try_join_all(
        blobs
            .into_values()
            .map(|blob| mount(repository, part, blob)),
    )
    .await?;
    repository
        .put_manifest(
            &digest.to_string(),
            &part.descriptor.media_type,
            &part.bytes,
            &subject,
        )
        .await
}

async fn mount(
    repository: &Repository,
    part: &FoundPart,
    blob: &Descriptor,
) -> Result<(), RegistryError> {
    let digest = blob.digest;
    let subject = Subject::Layer {
        title: format!("{}", part.from),
        digest: Some(digest.into()),
    };
    let found = repository.find_blob(digest, blob.size_bytes, &subject);
    if found.await? == FoundBlob::Whole {
        return Ok(());
    }
    match repository
        .mount(digest, part.from.repository(), &subject)
        .await?
    {
        Mount::Mounted => Ok(()),
        // An upload that was opened instead ends by itself.
        Mount::NotMounted(_) => Err(RegistryError::PartNotMounted {
            part: Box::new(part.from.clone()),
            blob: digest,
            target: repository.name().to_owned(),
        }),
    }
}

//! The end of a push: config, manifest, tags, in this order.

use crate::records::Survey;
use crate::repository::{FoundBlob, Repository};
use crate::tags::move_tags;
use crate::{PushEvent, PushObserver, RegistryError, Subject};
use bytes::Bytes;
use nixply_oci::{Digest, FinishedImage};
use std::collections::BTreeSet;
use tokio::sync::mpsc;

/// What was done for an image whose layers are in the repository.
#[derive(Debug)]
pub(crate) struct Published {
    /// False if the repository had the config already.
    pub(crate) config_uploaded: bool,
    /// The tags that name the manifest now, in the order given.
    pub(crate) tags: Vec<String>,
}

/// Brings the config, the manifest and the tags into the repository. `lost` are blobs that the registry has lost
/// although it said that it had them.
pub(crate) async fn publish(
    repository: &Repository,
    finished: &FinishedImage,
    survey: &Survey,
    lost: &BTreeSet<Digest>,
    observer: &dyn PushObserver,
) -> Result<Published, RegistryError> {
    let digest = finished.manifest_descriptor.digest;
    let media_type = &finished.manifest_descriptor.media_type;
    let mut config_uploaded = false;
    if lost.is_empty() && survey.has_manifest(digest) {
        observer.event(&PushEvent::ManifestDone { digest });
    } else {
        config_uploaded = config(repository, finished, survey, lost).await?;
        observer.event(&PushEvent::ConfigDone {
            digest: finished.config_descriptor.digest,
            uploaded: config_uploaded,
        });
        let subject = Subject::Manifest { digest };
        let name = digest.to_string();
        repository
            .put_manifest(&name, media_type, &finished.manifest, &subject)
            .await?;
        observer.event(&PushEvent::ManifestDone { digest });
    }
    let mut tags = Vec::new();
    let descriptor = &finished.manifest_descriptor;
    move_tags(
        repository,
        &survey.tags,
        descriptor,
        &finished.manifest,
        |tag, moved| {
            observer.event(&PushEvent::TagDone { tag, moved });
            tags.push(tag.to_owned());
        },
    )
    .await?;
    Ok(Published {
        config_uploaded,
        tags,
    })
}

/// Sends the config unless the repository has it.
async fn config(
    repository: &Repository,
    finished: &FinishedImage,
    survey: &Survey,
    lost: &BTreeSet<Digest>,
) -> Result<bool, RegistryError> {
    let descriptor = &finished.config_descriptor;
    let digest = descriptor.digest;
    let subject = Subject::Config { digest };
    if !lost.contains(&digest) {
        if survey.has_config(digest) {
            return Ok(false);
        }
        let found = repository.find_blob(digest, descriptor.size_bytes, &subject);
        if found.await? == FoundBlob::Whole {
            return Ok(false);
        }
    }
    let (sent, _) = mpsc::unbounded_channel();
    let config = vec![Bytes::from(finished.config.clone())];
    repository
        .upload(digest, config, None, &subject, &sent)
        .await?;
    Ok(true)
}

//! The end of a push: config, manifest, tags, in this order.

use crate::records::Survey;
use crate::repository::{FoundBlob, Repository};
use crate::{PushEvent, PushObserver, RegistryError, Subject};
use bytes::Bytes;
use nixply_oci::{Digest, FinishedImage, MediaType};
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
    for (position, state) in survey.tags.iter().enumerate() {
        let tag = &state.tag;
        let names_it = state
            .stored
            .as_ref()
            .is_some_and(|stored| stored.digest == digest);
        if !names_it {
            let subject = Subject::Tag { tag: tag.clone() };
            let moved = repository.put_manifest(tag, media_type, &finished.manifest, &subject);
            if let Err(error) = moved.await {
                // A registry that said no has not moved it. Where the answer was lost or made no sense, it may have.
                let is_certain =
                    error.is_client_error() || matches!(error, RegistryError::BlobUnknown { .. });
                let moved = if is_certain { position } else { position + 1 };
                move_back(repository, survey, moved, digest).await;
                return Err(error);
            }
        }
        observer.event(&PushEvent::TagDone {
            tag,
            moved: !names_it,
        });
        tags.push(tag.clone());
    }
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

/// Gives the first `moved` tags back to what they named; as far as possible, for the reason why one tag cannot be moved is
/// often one for the others.
async fn move_back(repository: &Repository, survey: &Survey, moved: usize, digest: Digest) {
    for state in &survey.tags[..moved] {
        let Some(stored) = &state.stored else {
            continue;
        };
        if stored.digest == digest {
            continue;
        }
        let subject = Subject::Tag {
            tag: state.tag.clone(),
        };
        let media_type = MediaType::from(stored.media_type.as_str());
        let back = repository.put_manifest(&state.tag, &media_type, &stored.bytes, &subject);
        // The error that is told is the one that led here.
        let _ = back.await;
    }
}

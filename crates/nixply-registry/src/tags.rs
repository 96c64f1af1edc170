//! Tags that are moved to what was pushed, all or none.

use crate::repository::{Repository, StoredManifest};
use crate::{RegistryError, Subject};
use nixply_oci::{Descriptor, Digest, MediaType};

/// A tag that is pushed to, as it was found.
#[derive(Debug)]
pub(crate) struct TagState {
    /// The tag.
    pub(crate) tag: String,
    /// The manifest that it named; `None` too if it could not be read.
    pub(crate) stored: Option<StoredManifest>,
}

impl TagState {
    /// True if the tag named this manifest when it was looked at.
    pub(crate) fn names(&self, digest: Digest) -> bool {
        let stored = self.stored.as_ref();
        stored.is_some_and(|stored| stored.digest == digest)
    }
}

/// Lets every tag name a manifest that the repository has, in the order given, and tells `done` of each and whether it
/// was moved. When one cannot be moved, those before it are moved back to what they named.
pub(crate) async fn move_tags(
    repository: &Repository,
    tags: &[TagState],
    descriptor: &Descriptor,
    manifest: &[u8],
    mut done: impl FnMut(&str, bool),
) -> Result<(), RegistryError> {
    let digest = descriptor.digest;
    for (position, state) in tags.iter().enumerate() {
        let tag = &state.tag;
        let names_it = state.names(digest);
        if !names_it {
            let subject = Subject::Tag { tag: tag.clone() };
            let moved = repository.put_manifest(tag, &descriptor.media_type, manifest, &subject);
            if let Err(error) = moved.await {
                // A registry that said no has not moved it. Where the answer was lost or made no sense, it may have.
                let is_certain =
                    error.is_client_error() || matches!(error, RegistryError::BlobUnknown { .. });
                let moved = if is_certain { position } else { position + 1 };
                move_back(repository, &tags[..moved], digest).await;
                return Err(error);
            }
        }
        done(tag, !names_it);
    }
    Ok(())
}

/// Gives tags back to what they named; as far as possible, for the reason why one tag cannot be moved is often one for
/// the others.
async fn move_back(repository: &Repository, moved: &[TagState], digest: Digest) {
    for state in moved {
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

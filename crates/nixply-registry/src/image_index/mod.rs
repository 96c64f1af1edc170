//! Image indexes: one name for the images of several platforms, made of what registries have already.
//!
//! An index may only name what its own repository has (distribution-spec v1.1.1, "Pushing Manifests"), so a part that is
//! in another repository of the registry is brought over first: its blobs are mounted, its manifest is written again. No
//! layer is ever read or sent here.

mod bring;
mod document;
mod parts;

use crate::push::check_targets;
use crate::repository::{Access, Repository};
use crate::tags::{TagState, move_tags};
use crate::{Client, Interrupt, RegistryError, Subject, Traffic};
use bring::{bring, is_there};
use document::Document;
use futures_util::future::{try_join, try_join_all};
use nixply_oci::{Descriptor, ImageReference, RepositoryName};
use parts::{FoundPart, read_parts};
use std::collections::BTreeMap;

/// How an index is made.
#[derive(Debug, Clone, Default)]
pub struct IndexOptions {
    /// Annotations of the index. Docker's manifest list has none, so with annotations the index is always OCI's.
    pub annotations: BTreeMap<String, String>,
    /// Find out what would be done, and do nothing.
    pub dry_run: bool,
    /// Ends the work from outside.
    pub interrupt: Interrupt,
}

/// A manifest that an index names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexPart {
    /// Where it was found, by digest.
    pub from: ImageReference,
    /// What the index says of it. Only what other tools attach to images has no platform, or `unknown`.
    pub descriptor: Descriptor,
    /// True if it was not in the index's repository and was brought there; in a dry run, if it would be.
    pub is_brought: bool,
}

/// What was made, or in a dry run would be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexReport {
    /// The index itself.
    pub descriptor: Descriptor,
    /// True if every tag named this very index before, and the repository has all parts.
    pub is_unchanged: bool,
    /// What the index names: images in the order of their platforms, then what is attached to them.
    pub parts: Vec<IndexPart>,
    /// The tags that name the index now, in the order given.
    pub tags: Vec<String>,
    /// What went over the network, from the start of the client.
    pub traffic: Traffic,
}

/// Makes an index of `parts` and lets every target name it: one repository, a tag each. A target without a tag gets the
/// index by digest alone.
///
/// A part that is an index itself stands for all that it names. Images stand in the order of their platforms, so the same
/// parts make the same index, however they are given. All parts of Docker's form, and no annotations, make a manifest list
/// of Docker's form, anything else OCI's image index. When this fails, no tag was moved, or those before the one that
/// failed were moved back.
///
/// # Panics
///
/// When it is called from inside an asynchronous task of tokio.
pub fn create_index(
    client: &Client,
    targets: &[ImageReference],
    parts: &[ImageReference],
    options: &IndexOptions,
) -> Result<IndexReport, RegistryError> {
    let first = check_targets(targets)?;
    if parts.is_empty() {
        return Err(RegistryError::NoParts);
    }
    let name = RepositoryName::from(first);
    let is_elsewhere = |part: &&ImageReference| part.host() != first.host();
    if let Some(part) = parts.iter().find(is_elsewhere) {
        return Err(RegistryError::PartElsewhere {
            part: Box::new(part.clone()),
            target: Box::new(first.without_tag_and_digest()),
        });
    }
    client.runtime().block_on(async {
        let create = create(client, &name, targets, parts, options);
        tokio::select! {
            result = create => result,
            () = options.interrupt.thrown() => Err(RegistryError::Interrupted),
        }
    })
}

async fn create(
    client: &Client,
    name: &RepositoryName,
    targets: &[ImageReference],
    parts: &[ImageReference],
    options: &IndexOptions,
) -> Result<IndexReport, RegistryError> {
    let repository = client.repository(name.reference(), Access::Push)?;
    let (parts, tags) = try_join(
        read_parts(client, name, parts),
        read_tags(&repository, targets),
    )
    .await?;
    let Document {
        descriptor,
        bytes,
        parts,
    } = Document::new(parts, &options.annotations)?;
    let digest = descriptor.digest;
    let other = |target: &&ImageReference| target.digest().is_some_and(|asked| asked != digest);
    if let Some(target) = targets.iter().find(other) {
        return Err(RegistryError::TargetDigest {
            target: Box::new(target.clone()),
            found: digest,
        });
    }
    let missing = try_join_all(parts.iter().map(async |part| {
        let is_there = part.is_in(name) || is_there(&repository, part).await?;
        Ok::<_, RegistryError>(!is_there)
    }))
    .await?;
    let is_known = has_index(&repository, &tags, &descriptor).await?;
    let is_unchanged =
        is_known && tags.iter().all(|tag| tag.names(digest)) && !missing.contains(&true);
    if !is_unchanged && !options.dry_run {
        let missing = parts.iter().zip(&missing);
        for (part, _) in missing.filter(|(_, is_missing)| **is_missing) {
            bring(&repository, part).await?;
        }
        if !is_known {
            let subject = Subject::Manifest { digest };
            let by_digest = digest.to_string();
            repository
                .put_manifest(&by_digest, &descriptor.media_type, &bytes, &subject)
                .await?;
        }
        move_tags(&repository, &tags, &descriptor, &bytes, |_, _| {}).await?;
    }
    Ok(IndexReport {
        descriptor,
        is_unchanged,
        parts: parts
            .into_iter()
            .zip(missing)
            .map(|(part, is_brought)| part.told(is_brought))
            .collect(),
        tags: tags.into_iter().map(|state| state.tag).collect(),
        traffic: client.traffic(),
    })
}

/// Reads what the tags name now. It decides whether there is anything to do, and is what they are moved back to.
async fn read_tags(
    repository: &Repository,
    targets: &[ImageReference],
) -> Result<Vec<TagState>, RegistryError> {
    let tags = targets
        .iter()
        .filter_map(|target| Some((target, target.tag()?)));
    try_join_all(tags.map(async |(target, tag)| {
        let subject = Subject::Image {
            reference: Box::new(target.clone()),
        };
        Ok(TagState {
            tag: tag.to_owned(),
            stored: repository.manifest(tag, &subject).await?,
        })
    }))
    .await
}

/// True if the repository has the index already.
async fn has_index(
    repository: &Repository,
    tags: &[TagState],
    index: &Descriptor,
) -> Result<bool, RegistryError> {
    let digest = index.digest;
    if !tags.is_empty() {
        return Ok(tags.iter().any(|tag| tag.names(digest)));
    }
    let subject = Subject::Manifest { digest };
    let stored = repository.manifest(&digest.to_string(), &subject).await?;
    Ok(stored.is_some())
}

impl FoundPart {
    fn told(self, is_brought: bool) -> IndexPart {
        IndexPart {
            from: self.from,
            descriptor: self.descriptor,
            is_brought,
        }
    }
}

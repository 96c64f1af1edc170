//! The parts of an index, read where they are. Indexes among them are taken apart.

use crate::read::{Stored, is_layer_index};
use crate::repository::Access;
use crate::{Client, RegistryError};
use bytes::Bytes;
use futures_util::future::try_join_all;
use nixply_oci::{Descriptor, ImageReference, RepositoryName};

/// How many manifests an index may have here. Official images of many platforms, with what is attached, have some 30.
const PARTS_MAX: usize = 256;

/// What the platform of a manifest says that is no image but attached to one, as Docker's buildx writes it.
const ATTACHED: &str = "unknown";

/// A manifest that is to be named.
#[derive(Debug)]
pub(super) struct FoundPart {
    /// Where it is, by digest.
    pub(super) from: ImageReference,
    /// What an index says of it.
    pub(super) descriptor: Descriptor,
    /// Its bytes.
    pub(super) bytes: Bytes,
}

impl FoundPart {
    /// False for what is attached to an image.
    pub(super) fn is_image(&self) -> bool {
        let platform = self.descriptor.platform.as_ref();
        platform.is_some_and(|platform| platform.os != ATTACHED)
    }

    /// True if it was found in this repository.
    pub(super) fn is_in(&self, repository: &RepositoryName) -> bool {
        RepositoryName::from(&self.from) == *repository
    }
}

/// What is still to be read.
struct Open {
    reference: ImageReference,
    /// What the index said that named it.
    entry: Option<Descriptor>,
}

/// What was read.
enum Read {
    Part(Box<FoundPart>),
    Index(Vec<Open>),
}

/// Reads all parts; each manifest once, however often it is named.
pub(super) async fn read_parts(
    client: &Client,
    target: &RepositoryName,
    parts: &[ImageReference],
) -> Result<Vec<FoundPart>, RegistryError> {
    let mut open: Vec<Open> = parts
        .iter()
        .map(|part| Open {
            reference: part.clone(),
            entry: None,
        })
        .collect();
    let mut found: Vec<FoundPart> = Vec::new();
    while !open.is_empty() {
        if found.len() + open.len() > PARTS_MAX {
            return Err(RegistryError::TooManyParts {
                most: PARTS_MAX,
                found: found.len() + open.len(),
            });
        }
        let read = try_join_all(open.drain(..).map(|open| read(client, target, open))).await?;
        for read in read {
            match read {
                Read::Index(entries) => open.extend(entries),
                Read::Part(part) => {
                    let digest = part.descriptor.digest;
                    if found.iter().all(|other| other.descriptor.digest != digest) {
                        found.push(*part);
                    }
                }
            }
        }
    }
    Ok(found)
}

async fn read(client: &Client, target: &RepositoryName, open: Open) -> Result<Read, RegistryError> {
    let Open { reference, entry } = open;
    // One token is enough for reading and writing.
    let access = if RepositoryName::from(&reference) == *target {
        Access::Push
    } else {
        Access::Pull
    };
    let repository = client.repository(&reference, access)?;
    let (stored, kind) = repository.stored(&reference).await?;
    let manifest = match kind {
        Stored::Index(index) => {
            let entries = index.manifests.into_iter();
            let entries = entries.map(|entry| Open {
                reference: reference.with_digest(entry.digest),
                entry: Some(entry),
            });
            return Ok(Read::Index(entries.collect()));
        }
        Stored::Manifest(_, manifest) => manifest,
    };
    if is_layer_index(&manifest) {
        return Err(RegistryError::LayerIndex {
            reference: Box::new(reference),
        });
    }
    let (platform, annotations) = match entry {
        Some(entry) => (entry.platform, entry.annotations),
        None => (None, std::collections::BTreeMap::new()),
    };
    let platform = match platform {
        Some(platform) => platform,
        None => repository.config(&manifest.config).await?.0.platform,
    };
    let mut descriptor = Descriptor::of(stored.media_type, &stored.bytes);
    descriptor.annotations = annotations;
    descriptor.platform = Some(platform);
    Ok(Read::Part(Box::new(FoundPart {
        from: reference.with_digest(descriptor.digest),
        descriptor,
        bytes: stored.bytes,
    })))
}

//! What is known of an image's layers before one of them is made.

use super::manifest::records_of;
use super::{IndexedImage, LayerIndex, ReadIndex, read_index};
use crate::options::LAYER_INDEX_TAG;
use crate::repository::{Access, Repository, StoredManifest};
use crate::tags::TagState;
use crate::{
    Client, LayerIndexPlace, PushEvent, PushObserver, PushOptions, RecordSource, RegistryError,
    Subject,
};
use futures_util::future::join_all;
use nixply_oci::{
    Digest, Image, ImageIndex, ImageManifest, ImageReference, LayerKey, LayerRecord, RepositoryName,
};
use std::collections::{BTreeMap, BTreeSet};

/// How many images of an index are looked at.
const INDEX_MAX_IMAGES: usize = 16;

/// How many images that the layer index names are asked whether they are still there. The newest image of a repository
/// usually has all layers of the next but those that changed.
const LISTING_IMAGES_MAX: usize = 3;

/// What is known of a layer before it is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownLayer {
    /// What the layer is.
    pub record: LayerRecord,
    /// Who says so.
    pub source: RecordSource,
    /// Repositories that are said to hold it.
    pub held_by: Vec<RepositoryName>,
    /// True if a manifest in the repository that is pushed to lists it: then the registry has it there.
    pub is_listed: bool,
}

/// What became of the layer index.
#[derive(Debug)]
pub(crate) enum IndexState {
    /// There is none, or what stands at its place is something else.
    Unusable,
    /// The tags tell of every layer.
    NotNeeded,
    /// It was read.
    Read(ImageReference, ReadIndex),
}

/// What the registry and this machine know of an image that is to be pushed.
#[derive(Debug)]
pub struct Survey {
    layers: Vec<Option<KnownLayer>>,
    /// The manifests that the repository was seen to have, and their configs.
    manifests: BTreeSet<Digest>,
    configs: BTreeSet<Digest>,
    pub(crate) tags: Vec<TagState>,
    pub(crate) index: IndexState,
}

impl Survey {
    /// Asks every source of records. Only a registry that cannot be reached is an error.
    ///
    /// # Panics
    ///
    /// When it is called from inside an asynchronous task of tokio.
    pub fn take(
        client: &Client,
        image: &dyn Image,
        targets: &[ImageReference],
        options: &PushOptions<'_>,
        observer: &dyn PushObserver,
    ) -> Result<Self, RegistryError> {
        let first = crate::push::check_targets(targets)?;
        client.runtime().block_on(async {
            let survey = Surveyor {
                client,
                image,
                options,
                observer,
                target: RepositoryName::from(first),
                layers: vec![None; image.layers().len()],
                manifests: BTreeSet::new(),
                configs: BTreeSet::new(),
            };
            tokio::select! {
                result = survey.run(targets) => result,
                () = options.interrupt.thrown() => Err(RegistryError::Interrupted),
            }
        })
    }

    /// What is known of a layer, counted from the bottom, from 0.
    #[must_use]
    pub fn known(&self, layer_idx: usize) -> Option<&KnownLayer> {
        self.layers.get(layer_idx)?.as_ref()
    }

    /// True if the repository was seen to have this manifest.
    pub(crate) fn has_manifest(&self, digest: Digest) -> bool {
        self.manifests.contains(&digest)
    }

    /// True if a manifest of the repository was seen that has this config.
    pub(crate) fn has_config(&self, digest: Digest) -> bool {
        self.configs.contains(&digest)
    }

    /// True if every tag names this manifest, or the repository has it and no tag is to name it.
    pub(crate) fn is_at(&self, digest: Digest) -> bool {
        self.tags.iter().all(|tag| tag.names(digest))
            && (!self.tags.is_empty() || self.has_manifest(digest))
    }
}

struct Surveyor<'a> {
    client: &'a Client,
    image: &'a dyn Image,
    options: &'a PushOptions<'a>,
    observer: &'a dyn PushObserver,
    target: RepositoryName,
    layers: Vec<Option<KnownLayer>>,
    manifests: BTreeSet<Digest>,
    configs: BTreeSet<Digest>,
}

impl Surveyor<'_> {
    async fn run(mut self, targets: &[ImageReference]) -> Result<Survey, RegistryError> {
        self.ask_image();
        self.ask_machine();
        let repository = self
            .client
            .repository(self.target.reference(), Access::Push)?;
        let tags = self.ask_tags(&repository, targets).await?;
        if self.has_unlisted() {
            self.ask_named_images().await;
        }
        let index = self.ask_index(&repository).await;
        Ok(Survey {
            layers: self.layers,
            manifests: self.manifests,
            configs: self.configs,
            tags,
            index,
        })
    }

    fn ask_image(&mut self) {
        for (known, layer) in self.layers.iter_mut().zip(self.image.layers()) {
            *known = layer.known().map(|record| KnownLayer {
                record,
                source: RecordSource::Image,
                held_by: layer.held_by().into_iter().collect(),
                is_listed: false,
            });
        }
    }

    fn ask_machine(&mut self) {
        let Some(store) = self.options.records else {
            return;
        };
        let (layer_idxs, keys): (Vec<usize>, Vec<LayerKey>) = self
            .image
            .layers()
            .iter()
            .enumerate()
            .filter_map(|(layer_idx, layer)| Some((layer_idx, layer.key()?)))
            .unzip();
        let mut count = 0;
        for (layer_idx, found) in layer_idxs.into_iter().zip(store.find(&keys)) {
            let Some(found) = found else { continue };
            for repository in found.held_by {
                count += usize::from(self.learn(
                    layer_idx,
                    &found.record,
                    &RecordSource::Local,
                    Some(repository),
                    false,
                ));
            }
            let learnt = self.learn(layer_idx, &found.record, &RecordSource::Local, None, false);
            count += usize::from(learnt);
        }
        self.tell_found(&RecordSource::Local, count);
    }

    /// Reads what the tags name now.
    async fn ask_tags(
        &mut self,
        repository: &Repository,
        targets: &[ImageReference],
    ) -> Result<Vec<TagState>, RegistryError> {
        let tagged: Vec<(&ImageReference, &str)> = targets
            .iter()
            .filter_map(|target| Some((target, target.tag()?)))
            .collect();
        // Where several tags are moved, what they name is needed for moving them back, too.
        if !self.options.read_tags && tagged.len() < 2 {
            return Ok(tagged
                .into_iter()
                .map(|(_, tag)| TagState {
                    tag: tag.to_owned(),
                    stored: None,
                })
                .collect());
        }
        let answers = join_all(tagged.into_iter().map(async |(target, tag)| {
            let answer = self.images_at(repository, target, tag).await;
            (target, tag, answer)
        }))
        .await;
        let mut tags = Vec::new();
        for (target, tag, answer) in answers {
            let source = RecordSource::Manifest(target.clone());
            let stored = match answer {
                Ok(None) => None,
                Ok(Some((stored, _))) if !self.options.read_tags => Some(stored),
                Ok(Some((stored, manifests))) => {
                    self.see_manifests(&stored, &manifests);
                    let target = self.target.clone();
                    self.learn_manifests(&manifests, &source, &target, true);
                    Some(stored)
                }
                // Nothing would come of going on: the push needs the same registry, and the same right.
                Err(error) if error.is_unreachable_or_unauthorized() => return Err(error),
                Err(error) => {
                    self.tell_failed(&source, &error);
                    None
                }
            };
            tags.push(TagState {
                tag: tag.to_owned(),
                stored,
            });
        }
        Ok(tags)
    }

    /// Reads the images that the user names.
    async fn ask_named_images(&mut self) {
        let answers = join_all(self.options.reuse_from.iter().map(async |image| {
            let answer = async {
                let repository = self.client.repository(image, Access::Pull)?;
                let name = match (image.digest(), image.tag()) {
                    (Some(digest), _) => digest.to_string(),
                    (None, tag) => tag.unwrap_or("latest").to_owned(),
                };
                self.images_at(&repository, image, &name).await
            };
            (image, answer.await)
        }))
        .await;
        for (image, answer) in answers {
            let source = RecordSource::Manifest(image.clone());
            match answer {
                Ok(Some((_, manifests))) => {
                    let repository = RepositoryName::from(image);
                    let is_listed = repository == self.target;
                    self.learn_manifests(&manifests, &source, &repository, is_listed);
                }
                Ok(None) => self.tell_found(&source, 0),
                Err(error) => self.tell_failed(&source, &error),
            }
        }
    }

    async fn ask_index(&mut self, repository: &Repository) -> IndexState {
        let Some(reference) = self.index_reference() else {
            return IndexState::Unusable;
        };
        if !self.has_unlisted() {
            return IndexState::NotNeeded;
        }
        let source = RecordSource::Index(reference.clone());
        let answer = async {
            let repository = self.client.repository(&reference, Access::Push)?;
            read_index(&repository, &reference, None).await
        };
        match answer.await {
            Ok(read) => {
                self.learn_index(&read.index, &source);
                self.ask_indexed_images(repository, &read.index).await;
                IndexState::Read(reference, read)
            }
            Err(error) => {
                self.tell_failed(&source, &error);
                IndexState::Unusable
            }
        }
    }

    fn index_reference(&self) -> Option<ImageReference> {
        let place = match &self.options.layer_index {
            LayerIndexPlace::Off => return None,
            LayerIndexPlace::SameRepository => self.target.reference(),
            LayerIndexPlace::At(reference) => reference,
        };
        match place.tag() {
            Some(_) => Some(place.clone()),
            None => place.with_tag(LAYER_INDEX_TAG).ok(),
        }
    }

    fn learn_index(&mut self, index: &LayerIndex, source: &RecordSource) {
        let mut count = 0;
        for (layer_idx, layer) in self.image.layers().iter().enumerate() {
            let Some((record, images)) = layer.key().and_then(|key| index.find(key)) else {
                continue;
            };
            count += usize::from(self.learn(layer_idx, record, source, None, false));
            for image in images {
                let repository = Some(image.repository.clone());
                self.learn(layer_idx, record, source, repository, false);
            }
        }
        self.tell_found(source, count);
    }

    /// Looks whether images of the target's repository that the index names are still there: one answer instead of a
    /// question about each layer.
    async fn ask_indexed_images(&mut self, repository: &Repository, index: &LayerIndex) {
        let mut layers_of: BTreeMap<Digest, usize> = BTreeMap::new();
        for (known, layer) in self.layers.iter().zip(self.image.layers()) {
            if known.as_ref().is_some_and(|known| known.is_listed) {
                continue;
            }
            let images = layer.key().and_then(|key| index.find(key));
            let images = images.map(|(_, images)| images).unwrap_or_default();
            for IndexedImage { digest, .. } in images
                .iter()
                .filter(|image| image.repository == self.target)
            {
                *layers_of.entry(*digest).or_default() += 1;
            }
        }
        let mut digests: Vec<(usize, Digest)> = layers_of
            .into_iter()
            .map(|(digest, n)| (n, digest))
            .collect();
        digests.sort_unstable_by(|a, b| b.cmp(a));
        digests.truncate(LISTING_IMAGES_MAX);
        let answers = join_all(digests.iter().map(async |(_, digest)| {
            let image = self.target.reference().with_digest(*digest);
            let answer = self
                .images_at(repository, &image, &digest.to_string())
                .await;
            (image, answer)
        }))
        .await;
        for (image, answer) in answers {
            let source = RecordSource::Manifest(image);
            match answer {
                Ok(Some((stored, manifests))) => {
                    self.see_manifests(&stored, &manifests);
                    let target = self.target.clone();
                    self.learn_manifests(&manifests, &source, &target, true);
                }
                Ok(None) => {}
                Err(error) => self.tell_failed(&source, &error),
            }
        }
    }

    /// What stands under a tag or digest, and the manifests of the images that it is.
    async fn images_at(
        &self,
        repository: &Repository,
        image: &ImageReference,
        name: &str,
    ) -> Result<Option<(StoredManifest, Vec<ImageManifest>)>, RegistryError> {
        let subject = Subject::Image {
            reference: Box::new(image.clone()),
        };
        let Some(stored) = repository.manifest(name, &subject).await? else {
            return Ok(None);
        };
        if let Ok(manifest) = serde_json::from_slice::<ImageManifest>(&stored.bytes) {
            return Ok(Some((stored, vec![manifest])));
        }
        let index: ImageIndex =
            serde_json::from_slice(&stored.bytes).map_err(|source| RegistryError::Malformed {
                subject: Box::new(subject),
                expected: "an image manifest or an image index",
                source,
            })?;
        let answers = join_all(
            index
                .manifests
                .iter()
                .take(INDEX_MAX_IMAGES)
                .map(async |entry| {
                    let subject = Subject::Manifest {
                        digest: entry.digest,
                    };
                    let name = entry.digest.to_string();
                    repository.manifest(&name, &subject).await
                }),
        )
        .await;
        let mut manifests = Vec::new();
        for answer in answers {
            // Signatures and attestations of other shapes stand among the images.
            let bytes = answer?.map(|stored| stored.bytes).unwrap_or_default();
            manifests.extend(serde_json::from_slice::<ImageManifest>(&bytes));
        }
        Ok(Some((stored, manifests)))
    }

    /// Notes that the target's repository has these.
    fn see_manifests(&mut self, stored: &StoredManifest, manifests: &[ImageManifest]) {
        self.manifests.insert(stored.digest);
        let configs = manifests.iter().map(|manifest| manifest.config.digest);
        self.configs.extend(configs);
    }

    fn learn_manifests(
        &mut self,
        manifests: &[ImageManifest],
        source: &RecordSource,
        repository: &RepositoryName,
        is_listed: bool,
    ) {
        let records: BTreeMap<LayerKey, LayerRecord> = manifests
            .iter()
            .flat_map(|manifest| records_of(&manifest.layers))
            .collect();
        let mut count = 0;
        for (layer_idx, layer) in self.image.layers().iter().enumerate() {
            if let Some(record) = layer.key().and_then(|key| records.get(&key)) {
                let repository = Some(repository.clone());
                let learnt = self.learn(layer_idx, record, source, repository, is_listed);
                count += usize::from(learnt);
            }
        }
        self.tell_found(source, count);
    }

    /// Adds to what is known of a layer; what was known before is not replaced. True if nothing was known.
    fn learn(
        &mut self,
        layer_idx: usize,
        record: &LayerRecord,
        source: &RecordSource,
        held_by: Option<RepositoryName>,
        is_listed: bool,
    ) -> bool {
        // What somebody compressed in another way under this key is not what would be made.
        if record.media_type != self.image.layers()[layer_idx].media_type() {
            return false;
        }
        match &mut self.layers[layer_idx] {
            Some(known) => {
                if known.record == *record {
                    known.is_listed |= is_listed;
                    known
                        .held_by
                        .extend(held_by.filter(|repository| !known.held_by.contains(repository)));
                }
                false
            }
            unknown => {
                *unknown = Some(KnownLayer {
                    record: record.clone(),
                    source: source.clone(),
                    held_by: held_by.into_iter().collect(),
                    is_listed,
                });
                true
            }
        }
    }

    fn has_unlisted(&self) -> bool {
        let is_listed =
            |layer: &Option<KnownLayer>| layer.as_ref().is_some_and(|known| known.is_listed);
        !self.layers.iter().all(is_listed)
    }

    fn tell_found(&self, source: &RecordSource, layers: usize) {
        self.observer
            .event(&PushEvent::RecordsFound { source, layers });
    }

    fn tell_failed(&self, source: &RecordSource, error: &RegistryError) {
        self.observer
            .event(&PushEvent::RecordsFailed { source, error });
    }
}

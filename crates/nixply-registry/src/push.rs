//! The push: what is known, the layers, the config, the manifest, the tags, the layer index, in this order.

use crate::engine::{Engine, Group, Made, Makers, Purpose, Settled, Spool, publish};
use crate::records::{IndexState, IndexedImage, ReadIndex, Survey, read_index, write_index};
use crate::repository::{Access, Repository};
use crate::{
    Client, KnownLayer, LayerOutcome, PushEvent, PushObserver, PushOptions, PushReport,
    PushedLayer, RecordSource, RegistryError, Subject,
};
use futures_util::TryStreamExt;
use futures_util::stream::FuturesUnordered;
use nixply_oci::{
    Digest, FinishedImage, Image, ImageReference, LayerDigest, LayerKey, LayerRecord,
    RepositoryName,
};
use std::collections::BTreeSet;
use std::thread;

/// How often the layers are gone through again because the registry does not have what it said it had.
const ROUNDS_MAX: usize = 3;

/// Pushes an image to every target: one repository, a tag each. A target without a tag gets the image by digest alone.
///
/// Layers that the repository has are neither made nor sent, those that another repository of the registry has are
/// mounted; the rest is made by [`PushOptions::jobs`] threads, biggest first, and sent meanwhile. When this fails, no tag
/// was moved, unless moving a tag is what failed: then the tags before it in `targets` were moved back, as far as they
/// named an image before.
///
/// # Panics
///
/// When it is called from inside an asynchronous task of tokio, or when a layer panics while it is made.
pub fn push(
    client: &Client,
    image: &dyn Image,
    targets: &[ImageReference],
    options: &PushOptions<'_>,
    observer: &dyn PushObserver,
) -> Result<PushReport, RegistryError> {
    let survey = Survey::take(client, image, targets, options, observer)?;
    push_surveyed(client, image, targets, &survey, options, observer)
}

/// [`push`], with what is known of the image at hand: [`Survey::take`] with the same arguments gave it.
///
/// # Panics
///
/// As [`push`] does.
pub fn push_surveyed(
    client: &Client,
    image: &dyn Image,
    targets: &[ImageReference],
    survey: &Survey,
    options: &PushOptions<'_>,
    observer: &dyn PushObserver,
) -> Result<PushReport, RegistryError> {
    let first = check_targets(targets)?;
    let spool = Spool::new(options.spool_dir.clone(), options.spool_budget_bytes);
    let makers = Makers::new(image, options, observer, spool);
    let groups = Group::of_image(image);
    let jobs = options.jobs.max(1).min(groups.len());
    thread::scope(|scope| {
        // Also when this thread panics, or nobody would ever send the others home.
        let _end = EndOnDrop(&makers);
        for _ in 0..jobs {
            scope.spawn(|| makers.work());
        }
        client.runtime().block_on(async {
            let push = async {
                let name = RepositoryName::from(first);
                let repository = client.repository(first, Access::Push)?;
                let remembered = options
                    .records
                    .and_then(|records| records.upload_method(name.host()));
                repository.use_upload_method(remembered.as_deref());
                let push = Push {
                    client,
                    image,
                    targets,
                    survey,
                    options,
                    observer,
                    groups: &groups,
                    repository: &repository,
                    name: name.clone(),
                    engine: Engine::new(image, options, observer, &repository, name, &makers),
                };
                push.run(&makers).await
            };
            tokio::select! {
                result = push => result,
                () = options.interrupt.thrown() => Err(RegistryError::Interrupted),
            }
        })
    })
}

/// The first of the targets, which all are in one repository.
pub(crate) fn check_targets(targets: &[ImageReference]) -> Result<&ImageReference, RegistryError> {
    let (first, rest) = targets.split_first().ok_or(RegistryError::NoTarget)?;
    let place = |target: &ImageReference| RepositoryName::from(target);
    match rest.iter().find(|target| place(target) != place(first)) {
        Some(other) => Err(RegistryError::TargetsDiffer {
            first: Box::new(first.clone()),
            other: Box::new(other.clone()),
        }),
        None => Ok(first),
    }
}

struct EndOnDrop<'a>(&'a Makers<'a>);

impl Drop for EndOnDrop<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}

struct Push<'a> {
    client: &'a Client,
    image: &'a dyn Image,
    targets: &'a [ImageReference],
    survey: &'a Survey,
    options: &'a PushOptions<'a>,
    observer: &'a dyn PushObserver,
    groups: &'a [Group],
    repository: &'a Repository,
    name: RepositoryName,
    engine: Engine<'a>,
}

impl Push<'_> {
    async fn run(&self, makers: &Makers<'_>) -> Result<PushReport, RegistryError> {
        if self.options.verify_records {
            self.verify_records(makers).await?;
        }
        if let Some(report) = self.unchanged().await? {
            return Ok(report);
        }
        if self.options.dry_run {
            let settled = self.settle(Vec::new(), &BTreeSet::new()).await?;
            return self.dry_report(&settled);
        }
        let mut lost = BTreeSet::new();
        let mut settled: Vec<Option<Settled>> = Vec::new();
        let mut round = 0;
        loop {
            round += 1;
            settled = self.settle(settled, &lost).await?;
            let finished = self.finish(&self.records(&settled))?;
            let published = publish(
                self.repository,
                &finished,
                self.survey,
                &lost,
                self.observer,
            )
            .await;
            match published {
                Ok(published) => {
                    let layers = self.layers(&settled);
                    self.after(&finished, &layers).await;
                    return Ok(PushReport {
                        manifest_digest: Some(finished.manifest_descriptor.digest),
                        is_unchanged: false,
                        config_uploaded: published.config_uploaded,
                        layers,
                        tags: published.tags,
                        traffic: self.client.traffic(),
                    });
                }
                Err(RegistryError::BlobUnknown { digests, .. }) if round < ROUNDS_MAX => {
                    lost = Self::lost(&digests, &finished, &settled);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Makes every layer that a record tells of and compares.
    async fn verify_records(&self, makers: &Makers<'_>) -> Result<(), RegistryError> {
        let checks: FuturesUnordered<_> = self
            .groups
            .iter()
            .filter_map(|group| Some((group, self.survey.known(group.first())?)))
            .map(async |(group, known)| {
                match makers.make(group.first(), Purpose::Learn, None).await? {
                    Made::Learnt(found) if found != known.record => {
                        Err(RegistryError::LayerDiffers {
                            title: self.image.layers()[group.first()].title(),
                            told_by: Box::new(known.source.clone()),
                            expected: Box::new(known.record.clone()),
                            found: Box::new(found),
                        })
                    }
                    _ => Ok(()),
                }
            })
            .collect();
        checks.try_collect().await
    }

    /// How often a layer was made only to compare it with its record.
    fn times_checked(&self, layer_idx: usize) -> u32 {
        let is_checked = self.options.verify_records
            && self.survey.known(layer_idx).is_some()
            && self.groups.iter().any(|group| group.first() == layer_idx);
        is_checked.into()
    }

    /// The report on a push that is over before it begins: every tag names this very image, or it is there and no tag is to
    /// name it.
    async fn unchanged(&self) -> Result<Option<PushReport>, RegistryError> {
        let known: Option<Vec<&KnownLayer>> = (0..self.image.layers().len())
            .map(|layer_idx| self.survey.known(layer_idx))
            .collect();
        let Some(known) = known else {
            return Ok(None);
        };
        let records: Vec<LayerRecord> = known.iter().map(|known| known.record.clone()).collect();
        let digest = self.finish(&records)?.manifest_descriptor.digest;
        let is_there = self.survey.is_at(digest)
            || self.survey.tags.is_empty() && self.has_manifest(digest).await?;
        if !is_there {
            return Ok(None);
        }
        let layers = known.iter().zip(self.image.layers()).enumerate();
        Ok(Some(PushReport {
            manifest_digest: Some(digest),
            is_unchanged: true,
            config_uploaded: false,
            layers: layers
                .map(|(layer_idx, (known, layer))| PushedLayer {
                    title: layer.title(),
                    weight_bytes: layer.weight_bytes(),
                    times_made: self.times_checked(layer_idx),
                    record: Some(known.record.clone()),
                    outcome: LayerOutcome::Present,
                    source: known.source.clone(),
                })
                .collect(),
            tags: self.tags(),
            traffic: self.client.traffic(),
        }))
    }

    /// Asks for a manifest that no tag and none of the images that were looked at led to.
    async fn has_manifest(&self, digest: Digest) -> Result<bool, RegistryError> {
        let (name, subject) = (digest.to_string(), Subject::Manifest { digest });
        Ok(self.repository.manifest(&name, &subject).await?.is_some())
    }

    /// Brings every group into the repository that is not there, by what was settled before or by what was lost since.
    async fn settle(
        &self,
        before: Vec<Option<Settled>>,
        lost: &BTreeSet<Digest>,
    ) -> Result<Vec<Option<Settled>>, RegistryError> {
        let lost: BTreeSet<LayerDigest> = lost.iter().copied().map(LayerDigest::from).collect();
        self.engine.forget_blobs(&lost);
        let is_lost = |settled: &Settled| {
            let record = settled.record.as_ref();
            record.is_none_or(|record| lost.contains(&record.digest))
        };
        let mut settled = before;
        settled.resize(self.groups.len(), None);
        let open: FuturesUnordered<_> = self
            .groups
            .iter()
            .enumerate()
            .filter(|(number, _)| settled[*number].as_ref().is_none_or(is_lost))
            .map(async |(number, group)| {
                let known = self.survey.known(group.first()).cloned();
                let result = self.engine.settle(group, known, &lost).await?;
                Ok::<_, RegistryError>((number, result))
            })
            .collect();
        let done: Vec<(usize, Settled)> = open.try_collect().await?;
        for (number, mut result) in done {
            if let Some(before) = &settled[number] {
                result.times_made += before.times_made;
            }
            settled[number] = Some(result);
        }
        Ok(settled)
    }

    /// Which blobs the registry has lost. One that names none is believed to have lost all that were not sent just now.
    fn lost(
        named: &[Digest],
        finished: &FinishedImage,
        settled: &[Option<Settled>],
    ) -> BTreeSet<Digest> {
        if !named.is_empty() {
            return named.iter().copied().collect();
        }
        let not_sent = settled.iter().flatten().filter_map(|settled| {
            let record = settled.record.as_ref()?;
            let is_sent = matches!(settled.outcome, LayerOutcome::Uploaded { .. });
            (!is_sent).then_some(record.digest.into())
        });
        not_sent
            .chain([finished.config_descriptor.digest])
            .collect()
    }

    fn records(&self, settled: &[Option<Settled>]) -> Vec<LayerRecord> {
        let mut records: Vec<Option<&LayerRecord>> = vec![None; self.image.layers().len()];
        for (group, settled) in self.groups.iter().zip(settled) {
            for &layer_idx in &group.layers {
                records[layer_idx] = settled.as_ref().and_then(|settled| settled.record.as_ref());
            }
        }
        records.into_iter().flatten().cloned().collect()
    }

    fn layers(&self, settled: &[Option<Settled>]) -> Vec<PushedLayer> {
        let mut layers: Vec<Option<PushedLayer>> = vec![None; self.image.layers().len()];
        for (group, settled) in self.groups.iter().zip(settled) {
            let Some(settled) = settled else { continue };
            for (position, &layer_idx) in group.layers.iter().enumerate() {
                let layer = &self.image.layers()[layer_idx];
                layers[layer_idx] = Some(PushedLayer {
                    title: layer.title(),
                    weight_bytes: layer.weight_bytes(),
                    times_made: self.times_checked(layer_idx)
                        + if position == 0 { settled.times_made } else { 0 },
                    record: settled.record.clone(),
                    outcome: settled.outcome_at(position).clone(),
                    source: settled.source.clone(),
                });
            }
        }
        layers.into_iter().flatten().collect()
    }

    fn finish(&self, records: &[LayerRecord]) -> Result<FinishedImage, RegistryError> {
        let finished = self.image.finish(records)?;
        let digest = finished.manifest_descriptor.digest;
        let other = |target: &&ImageReference| target.digest().is_some_and(|asked| asked != digest);
        match self.targets.iter().find(other) {
            Some(target) => Err(RegistryError::TargetDigest {
                target: Box::new(target.clone()),
                found: digest,
            }),
            None => Ok(finished),
        }
    }

    fn dry_report(&self, settled: &[Option<Settled>]) -> Result<PushReport, RegistryError> {
        let records = self.records(settled);
        let is_known = records.len() == self.image.layers().len();
        let manifest_digest = if is_known {
            Some(self.finish(&records)?.manifest_descriptor.digest)
        } else {
            None
        };
        Ok(PushReport {
            manifest_digest,
            is_unchanged: false,
            config_uploaded: false,
            layers: self.layers(settled),
            tags: self.tags(),
            traffic: self.client.traffic(),
        })
    }

    fn tags(&self) -> Vec<String> {
        let tags = self.targets.iter().filter_map(ImageReference::tag);
        tags.map(str::to_owned).collect()
    }

    /// Tells this machine and the layer index what the repository has now. Nothing of it can fail the push.
    async fn after(&self, finished: &FinishedImage, layers: &[PushedLayer]) {
        let is_own =
            |layer: &PushedLayer| matches!(layer.source, RecordSource::Made | RecordSource::Local);
        if let Some(records) = self.options.records {
            // What others say stays where they said it: taken over, it would be believed of every other repository.
            let own = layers.iter().filter(|layer| is_own(layer));
            let digests: Vec<LayerDigest> = own
                .filter_map(|layer| Some(layer.record.as_ref()?.digest))
                .collect();
            records.remember_held(&digests, &self.name);
        }
        let image = IndexedImage {
            repository: self.name.clone(),
            digest: finished.manifest_descriptor.digest,
        };
        let IndexState::Read(reference, before) = &self.survey.index else {
            return;
        };
        // For the same reason an index of several repositories is told only what was made here, or what it says itself.
        let is_elsewhere = RepositoryName::from(reference) != self.name;
        let keyed: Vec<(LayerKey, LayerRecord)> = self
            .image
            .layers()
            .iter()
            .zip(layers)
            .filter_map(|(layer, pushed)| {
                let (key, record) = (layer.key()?, pushed.record.clone()?);
                let says_so = || {
                    before
                        .index
                        .find(key)
                        .is_some_and(|(said, _)| *said == record)
                };
                (!is_elsewhere || is_own(pushed) || says_so()).then_some((key, record))
            })
            .collect();
        if !before.index.clone().note(&image, &keyed) {
            return;
        }
        match self.update_index(reference, before, &image, &keyed).await {
            Ok(()) => self
                .observer
                .event(&PushEvent::LayerIndexDone { index: reference }),
            Err(error) => self.observer.event(&PushEvent::RecordsFailed {
                source: &RecordSource::Index(reference.clone()),
                error: &error,
            }),
        }
    }

    /// Reads the index anew, for others may have written it meanwhile, and writes it with what this push knows.
    async fn update_index(
        &self,
        reference: &ImageReference,
        before: &ReadIndex,
        image: &IndexedImage,
        keyed: &[(LayerKey, LayerRecord)],
    ) -> Result<(), RegistryError> {
        let repository = self.client.repository(reference, Access::Push)?;
        let ReadIndex { mut index, .. } = read_index(&repository, reference, Some(before)).await?;
        if index.note(image, keyed) {
            write_index(&repository, reference, &index).await?;
        }
        Ok(())
    }
}

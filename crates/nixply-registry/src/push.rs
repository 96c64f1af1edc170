//! The push: layers, config, manifest, tags, in this order.

use crate::buffer::{LayerSink, Written};
use crate::outgoing::SentBytes;
use crate::report::PushReport;
use crate::repository::{Access, FoundBlob, Repository};
use crate::schedule::{Done, Group, NetworkWork, Schedule};
use crate::stream_upload::StreamFailure;
use crate::{
    Client, LayerOutcome, PushEvent, PushObserver, PushOptions, PushedLayer, RegistryError, Subject,
};
use bytes::Bytes;
use nixply_oci::{FinishedImage, Image, ImageReference, LayerRecord};
use std::thread;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

/// Pushes an image to every target: one repository, a tag each. A target without a tag gets the image by digest alone.
///
/// Layers that the registry has are not sent, and those whose record is known are not even made. The rest is made by
/// [`PushOptions::jobs`] threads, biggest first, and sent meanwhile. When this fails, no tag was moved, unless moving a
/// tag is what failed: then the tags before it in `targets` are moved.
///
/// # Panics
///
/// When it is called from inside an asynchronous task of tokio, or when a layer panics while it is made.
pub fn push(
    client: &Client,
    image: &dyn Image,
    targets: &[ImageReference],
    options: &PushOptions,
    observer: &dyn PushObserver,
) -> Result<PushReport, RegistryError> {
    let first = check_targets(targets)?;
    let repository = client.repository(first, Access::Push)?;
    let runtime = client.runtime();
    let push = Push {
        image,
        options,
        observer,
        runtime,
        repository: &repository,
    };
    let layers = push.layers()?;
    let records: Vec<LayerRecord> = layers.iter().map(|layer| layer.record.clone()).collect();
    let finished = image.finish(&records)?;
    runtime.block_on(push.finish(&finished, targets, layers))
}

fn check_targets(targets: &[ImageReference]) -> Result<&ImageReference, RegistryError> {
    let (first, rest) = targets.split_first().ok_or(RegistryError::NoTarget)?;
    let place =
        |target: &ImageReference| (target.host().to_owned(), target.repository().to_owned());
    match rest.iter().find(|target| place(target) != place(first)) {
        Some(other) => Err(RegistryError::TargetsDiffer {
            first: Box::new(first.clone()),
            other: Box::new(other.clone()),
        }),
        None => Ok(first),
    }
}

struct Push<'a> {
    image: &'a dyn Image,
    options: &'a PushOptions,
    observer: &'a dyn PushObserver,
    runtime: &'a Runtime,
    repository: &'a Repository,
}

impl Push<'_> {
    /// Brings every layer into the registry.
    fn layers(&self) -> Result<Vec<PushedLayer>, RegistryError> {
        let groups = Group::of_image(self.image);
        let jobs = self.options.jobs.max(1);
        let schedule = Schedule::new(&groups, 2 * jobs);
        thread::scope(|scope| {
            for _ in 0..jobs.min(groups.len()) {
                scope.spawn(|| {
                    let _guard = EndOnPanic(&schedule);
                    while let Some(group) = schedule.next_to_make() {
                        self.make(&schedule, &groups, group);
                    }
                });
            }
            for _ in 0..self.options.connections.max(1).min(groups.len()) {
                scope.spawn(|| {
                    let _guard = EndOnPanic(&schedule);
                    while let Some(work) = schedule.next_for_network() {
                        self.send(&schedule, &groups, work);
                    }
                });
            }
        });
        let mut layers: Vec<Option<PushedLayer>> = vec![None; self.image.layers().len()];
        for done in schedule.into_result()? {
            for (i, &layer_idx) in groups[done.group].layers.iter().enumerate() {
                layers[layer_idx] = Some(PushedLayer {
                    title: self.image.layers()[layer_idx].title(),
                    record: done.record.clone(),
                    outcome: outcome(&done, i),
                });
            }
        }
        Ok(layers.into_iter().flatten().collect())
    }

    /// Makes a group's layer and hands its bytes on.
    fn make(&self, schedule: &Schedule, groups: &[Group], group: usize) {
        let layer_idx = groups[group].first();
        let layer = &self.image.layers()[layer_idx];
        let title = layer.title();
        self.observer.event(&PushEvent::LayerStarted {
            layer_idx,
            title: &title,
            weight_bytes: layer.weight_bytes(),
        });
        let start_stream = |layer| schedule.streamed(group, layer);
        let is_over = || schedule.is_over();
        let mut sink = LayerSink::new(
            self.options.layer_memory_budget_bytes,
            &start_stream,
            &is_over,
        );
        let made = layer.write_blob(&mut sink);
        let record = match made {
            Ok(record) => record,
            // What the sink refuses has its reason elsewhere, and whoever has the reason tells it.
            Err(_) if sink.has_refused() => return,
            Err(source) => return schedule.fail(RegistryError::Layer { title, source }),
        };
        let Ok(written) = sink.finish() else {
            return;
        };
        if let Some(expected) = &groups[group].known
            && *expected != record
            && !schedule.is_doubted(group)
        {
            return schedule.fail(RegistryError::LayerDiffers {
                title,
                expected: Box::new(expected.clone()),
                found: Box::new(record),
            });
        }
        match written {
            Written::InMemory(segments) => {
                self.tell(groups, &schedule.made(group, record, segments));
            }
            // The receiver is gone only if its upload has failed and tells why.
            Written::Streamed(sender) => drop(sender.send(record)),
        }
    }

    /// Does a piece of network work.
    fn send(&self, schedule: &Schedule, groups: &[Group], work: NetworkWork) {
        let (NetworkWork::Check(group, _)
        | NetworkWork::Send(group, ..)
        | NetworkWork::Stream(group, _)) = &work;
        let layer_idx = groups[*group].first();
        // Nobody makes a layer with a record before the registry was asked for it.
        let was_asked = groups[*group].known.is_some() && !schedule.is_doubted(*group);
        // Layers that a record alone holds together may differ once the record is wrong: then that is an error.
        let may_doubt = groups[*group].layers.len() == 1;
        let mut subject = Subject::Layer {
            title: self.image.layers()[layer_idx].title(),
            digest: None,
        };
        let result = self.runtime.block_on(async {
            let (sent, mut told) = mpsc::unbounded_channel();
            let tell = |bytes| {
                self.observer
                    .event(&PushEvent::BytesSent { layer_idx, bytes });
            };
            let work = do_network_work(
                self.repository,
                schedule,
                work,
                Before {
                    was_asked,
                    may_doubt,
                },
                &mut subject,
                &sent,
            );
            tokio::pin!(work);
            let result = loop {
                tokio::select! {
                    biased;
                    Some(bytes) = told.recv() => tell(bytes),
                    result = &mut work => break result,
                    () = schedule.over() => break Ok(Vec::new()),
                }
            };
            while let Ok(bytes) = told.try_recv() {
                tell(bytes);
            }
            result
        });
        match result {
            Ok(done) => self.tell(groups, &done),
            Err(error) => schedule.fail(error),
        }
    }

    fn tell(&self, groups: &[Group], all_done: &[Done]) {
        for done in all_done {
            let record = &done.record;
            for (i, &layer_idx) in groups[done.group].layers.iter().enumerate() {
                let title = &self.image.layers()[layer_idx].title();
                self.observer.event(&match outcome(done, i) {
                    LayerOutcome::AlreadyThere => PushEvent::LayerAlreadyThere {
                        layer_idx,
                        title,
                        record,
                    },
                    LayerOutcome::Uploaded { .. } => PushEvent::LayerUploaded {
                        layer_idx,
                        title,
                        record,
                    },
                });
            }
        }
    }

    /// Brings the config, the manifest and the tags into the registry.
    async fn finish(
        &self,
        finished: &FinishedImage,
        targets: &[ImageReference],
        layers: Vec<PushedLayer>,
    ) -> Result<PushReport, RegistryError> {
        let digest = finished.manifest_descriptor.digest;
        if let Some(target) = targets
            .iter()
            .find(|target| target.digest().is_some_and(|asked| asked != digest))
        {
            return Err(RegistryError::TargetDigest {
                target: Box::new(target.clone()),
                found: digest,
            });
        }

        let config_digest = finished.config_descriptor.digest;
        let config_uploaded = self.config(finished).await?;
        self.observer.event(&PushEvent::ConfigDone {
            digest: config_digest,
            uploaded: config_uploaded,
        });

        let media_type = &finished.manifest_descriptor.media_type;
        let put = async |name: &str, subject: &Subject| {
            self.repository
                .put_manifest(name, media_type, &finished.manifest, subject)
                .await
        };
        put(&digest.to_string(), &Subject::Manifest { digest }).await?;
        self.observer.event(&PushEvent::ManifestDone { digest });
        let mut tags = Vec::new();
        for tag in targets.iter().filter_map(ImageReference::tag) {
            let tag_name = tag.to_owned();
            put(tag, &Subject::Tag { tag: tag_name }).await?;
            self.observer.event(&PushEvent::TagDone { tag });
            tags.push(tag.to_owned());
        }
        Ok(PushReport {
            manifest_digest: digest,
            manifest_size_bytes: finished.manifest_descriptor.size_bytes,
            config_digest,
            config_size_bytes: finished.config_descriptor.size_bytes,
            config_uploaded,
            layers,
            tags,
        })
    }

    /// Sends the config unless the registry has it.
    async fn config(&self, finished: &FinishedImage) -> Result<bool, RegistryError> {
        let digest = finished.config_descriptor.digest;
        let subject = Subject::Config { digest };
        let size_bytes = finished.config_descriptor.size_bytes;
        let found = self.repository.find_blob(digest, size_bytes, &subject);
        if found.await? == FoundBlob::Whole {
            return Ok(false);
        }
        let (sent, _) = mpsc::unbounded_channel();
        let config = vec![Bytes::from(finished.config.clone())];
        self.repository
            .upload(digest, config, None, &subject, &sent)
            .await?;
        Ok(true)
    }
}

/// What is known of a group before network work is done for it.
#[derive(Debug, Clone, Copy)]
struct Before {
    /// The registry said that it has not got the group's blob.
    was_asked: bool,
    /// The group can be made without its record.
    may_doubt: bool,
}

async fn do_network_work(
    repository: &Repository,
    schedule: &Schedule,
    work: NetworkWork,
    before: Before,
    subject: &mut Subject,
    sent: &SentBytes,
) -> Result<Vec<Done>, RegistryError> {
    if let Subject::Layer { digest, .. } = subject
        && let NetworkWork::Check(_, record) | NetworkWork::Send(_, record, _) = &work
    {
        *digest = Some(record.digest);
    }
    match work {
        NetworkWork::Check(group, record) => {
            let (digest, size_bytes) = (record.digest.into(), record.size_bytes);
            match repository.find_blob(digest, size_bytes, subject).await? {
                FoundBlob::Whole => return Ok(schedule.present(group, record)),
                FoundBlob::OtherSize if before.may_doubt => schedule.doubted(group),
                FoundBlob::OtherSize | FoundBlob::Nothing => schedule.absent(group),
            }
            Ok(Vec::new())
        }
        NetworkWork::Send(group, record, segments) => {
            let (digest, size_bytes) = (record.digest.into(), record.size_bytes);
            if !before.was_asked
                && repository.find_blob(digest, size_bytes, subject).await? == FoundBlob::Whole
            {
                return Ok(schedule.sent(group, record, None));
            }
            repository
                .upload(digest, segments, None, subject, sent)
                .await?;
            Ok(schedule.sent(group, record, Some(size_bytes)))
        }
        NetworkWork::Stream(group, layer) => {
            let record = repository.upload_stream(layer, None, subject, sent).await;
            let record = record.map_err(|failure| match failure {
                StreamFailure::Interrupted { error, .. }
                | StreamFailure::MethodRefused { error }
                | StreamFailure::Fatal(error) => error,
            })?;
            let size_bytes = record.size_bytes;
            Ok(schedule.sent(group, record, Some(size_bytes)))
        }
    }
}

/// The outcome of the layer at a position of a group that is done: only the first one's bytes went over the wire.
fn outcome(done: &Done, position: usize) -> LayerOutcome {
    match done.sent_bytes {
        Some(bytes) if position == 0 => LayerOutcome::Uploaded { bytes },
        _ => LayerOutcome::AlreadyThere,
    }
}

/// Ends the push when a thread of it panics, so that the others do not wait for it for ever.
struct EndOnPanic<'a>(&'a Schedule);

impl Drop for EndOnPanic<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.fail(RegistryError::Client(
                "a thread of the push panicked".into(),
            ));
        }
    }
}

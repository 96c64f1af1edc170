//! One layer's way into the repository.
//!
//! ```text
//! listed by a manifest of the repository ───────────────────────────────────────────> present
//! known ──> HEAD ─┬─ there ─────────────────────────────────────────────────────────> present
//!                 └─ not there ──> mount from a repository that holds it ─┬─ done ──> mounted
//!                                                                         └─ no ──┐
//! not known ──────────────────────────────────────────────────────────────────────┴─> make, send ──> uploaded
//! ```

use super::{Group, Makers, Settled};
use crate::outgoing::SentBytes;
use crate::repository::{FoundBlob, Mount, Repository};
use crate::upload::UploadSession;
use crate::{
    KnownLayer, LayerOutcome, PushEvent, PushObserver, PushOptions, RecordSource, RegistryError,
    Subject,
};
use nixply_oci::{Image, LayerDigest, LayerRecord, RepositoryName};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{Mutex as AsyncMutex, Semaphore, mpsc};

/// How many repositories are asked for a mount. The first one that is known to hold a layer usually gives it; a second
/// try helps where the first has lost it, more cost more than they find.
const MOUNT_TRIES: usize = 2;

/// What the futures of one push share.
pub(crate) struct Engine<'a> {
    pub(super) image: &'a dyn Image,
    pub(super) options: &'a PushOptions<'a>,
    pub(super) observer: &'a dyn PushObserver,
    pub(super) repository: &'a Repository,
    pub(super) name: RepositoryName,
    pub(super) makers: &'a Makers<'a>,
    /// One permit for every layer that may have bytes in memory.
    pub(super) in_memory: Semaphore,
    /// A lock for every blob, true once the repository has it.
    pub(super) blobs: Mutex<BTreeMap<LayerDigest, Arc<AsyncMutex<bool>>>>,
}

/// What is done for one group.
pub(super) struct Work<'e> {
    pub(super) engine: &'e Engine<'e>,
    pub(super) group: &'e Group,
    pub(super) subject: Subject,
    pub(super) sent: SentBytes,
    pub(super) times_made: u32,
    /// Digests that the repository was asked for, and does not have.
    pub(super) absent: BTreeSet<LayerDigest>,
    /// The registry has lost the layer although it said that it had it.
    pub(super) is_lost: bool,
}

impl<'a> Engine<'a> {
    pub(crate) fn new(
        image: &'a dyn Image,
        options: &'a PushOptions<'a>,
        observer: &'a dyn PushObserver,
        repository: &'a Repository,
        name: RepositoryName,
        makers: &'a Makers<'a>,
    ) -> Self {
        Self {
            image,
            options,
            observer,
            repository,
            name,
            makers,
            in_memory: Semaphore::new(2 * options.jobs.max(1)),
            blobs: Mutex::default(),
        }
    }

    /// Brings a group into the repository. `lost` are blobs that the registry has lost although it said that it had them.
    pub(crate) async fn settle(
        &self,
        group: &Group,
        known: Option<KnownLayer>,
        lost: &BTreeSet<LayerDigest>,
    ) -> Result<Settled, RegistryError> {
        let layer_idx = group.first();
        let (sent, mut told) = mpsc::unbounded_channel();
        let mut work = Work {
            engine: self,
            group,
            subject: Subject::Layer {
                title: self.image.layers()[layer_idx].title(),
                digest: None,
            },
            sent,
            times_made: 0,
            absent: lost.clone(),
            is_lost: known
                .as_ref()
                .is_some_and(|known| lost.contains(&known.record.digest)),
        };
        let mut sent_bytes = 0;
        let mut tell = |bytes| {
            sent_bytes += bytes;
            let event = PushEvent::BytesSent { layer_idx, bytes };
            self.observer.event(&event);
        };
        let result = {
            let settling = work.run(known);
            tokio::pin!(settling);
            loop {
                tokio::select! {
                    biased;
                    Some(bytes) = told.recv() => tell(bytes),
                    result = &mut settling => break result,
                }
            }
        };
        while let Ok(bytes) = told.try_recv() {
            tell(bytes);
        }
        let mut settled = result?;
        if let LayerOutcome::Uploaded { bytes } = &mut settled.outcome
            && !self.options.dry_run
        {
            *bytes = sent_bytes;
        }
        self.tell_done(group, &settled);
        Ok(settled)
    }

    fn tell_done(&self, group: &Group, settled: &Settled) {
        let Some(record) = &settled.record else {
            return;
        };
        if self.options.dry_run {
            return;
        }
        for (position, &layer_idx) in group.layers.iter().enumerate() {
            self.observer.event(&PushEvent::LayerDone {
                layer_idx,
                title: &self.image.layers()[layer_idx].title(),
                record,
                outcome: settled.outcome_at(position),
                source: &settled.source,
            });
        }
    }

    /// The registry does not have these, whatever it said before.
    pub(crate) fn forget_blobs(&self, lost: &BTreeSet<LayerDigest>) {
        let mut blobs = self.blobs.lock().unwrap_or_else(PoisonError::into_inner);
        blobs.retain(|digest, _| !lost.contains(digest));
    }

    pub(super) fn blob(&self, digest: LayerDigest) -> Arc<AsyncMutex<bool>> {
        let mut blobs = self.blobs.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(blobs.entry(digest).or_default())
    }
}

impl Work<'_> {
    async fn run(&mut self, known: Option<KnownLayer>) -> Result<Settled, RegistryError> {
        let Some(known) = known else {
            if self.engine.options.dry_run {
                return Ok(self.settled(
                    None,
                    LayerOutcome::Uploaded { bytes: 0 },
                    RecordSource::Made,
                ));
            }
            return self.make_and_send(None, None).await;
        };
        self.name_digest(&known.record);
        let done = |work: &Self, outcome| {
            Ok(work.settled(Some(known.record.clone()), outcome, known.source.clone()))
        };
        if known.is_listed && !self.absent.contains(&known.record.digest) {
            return done(self, LayerOutcome::Present);
        }
        let blob = self.engine.blob(known.record.digest);
        let mut is_there = blob.lock().await;
        if *is_there {
            return done(self, LayerOutcome::Present);
        }
        match self.look_for(&known.record).await? {
            FoundBlob::Whole => {
                *is_there = true;
                return done(self, LayerOutcome::Present);
            }
            FoundBlob::OtherSize => {
                // What is there cannot be what the record is about, so the record is no guide.
                drop(is_there);
                self.record_is_wrong(&known.source);
                return self.make_and_send(None, None).await;
            }
            FoundBlob::Nothing => {}
        }
        if self.engine.options.dry_run {
            let mut elsewhere = self.elsewhere(&known);
            let outcome = match elsewhere.next() {
                Some(from) => LayerOutcome::Mounted { from: from.clone() },
                None => LayerOutcome::Uploaded {
                    bytes: known.record.size_bytes,
                },
            };
            return done(self, outcome);
        }
        // What was mounted and then lost would be mounted and lost again.
        let mounted = if self.is_lost {
            Mounted::Not(None)
        } else {
            self.mount(&known).await?
        };
        match mounted {
            Mounted::From(from) => {
                *is_there = true;
                done(self, LayerOutcome::Mounted { from })
            }
            Mounted::Not(session) => {
                drop(is_there);
                self.make_and_send(Some(&known), session).await
            }
        }
    }

    /// Asks whether the repository has a blob, once.
    pub(super) async fn look_for(
        &mut self,
        record: &LayerRecord,
    ) -> Result<FoundBlob, RegistryError> {
        if self.absent.contains(&record.digest) {
            return Ok(FoundBlob::Nothing);
        }
        let (digest, size_bytes) = (record.digest.into(), record.size_bytes);
        let repository = self.engine.repository;
        let found = repository
            .find_blob(digest, size_bytes, &self.subject)
            .await?;
        if found == FoundBlob::Nothing {
            self.absent.insert(record.digest);
            let records = self.engine.options.records;
            if let Some(records) = records.filter(|_| !self.engine.options.dry_run) {
                records.forget_held(record.digest, &self.engine.name);
            }
        }
        Ok(found)
    }

    /// Other repositories of the same registry that are said to hold a layer.
    fn elsewhere<'k>(
        &self,
        known: &'k KnownLayer,
    ) -> impl Iterator<Item = &'k RepositoryName> + use<'k> {
        let name = self.engine.name.clone();
        known
            .held_by
            .iter()
            .filter(move |other| other.host() == name.host() && **other != name)
    }

    /// Has the registry take a layer from another repository.
    async fn mount(&mut self, known: &KnownLayer) -> Result<Mounted, RegistryError> {
        let repository = self.engine.repository;
        let (digest, size_bytes) = (known.record.digest.into(), known.record.size_bytes);
        let mut session = None;
        for from in self.elsewhere(known).take(MOUNT_TRIES) {
            let mount = repository.mount(digest, from.repository(), &self.subject);
            // A mount only spares work: where it fails, the upload will do, or say what is wrong.
            let Ok(mount) = mount.await else { continue };
            match mount {
                Mount::Mounted => {
                    // A mount tells no size; a manifest with another one than the blob's could not be pulled.
                    let found = repository.find_blob(digest, size_bytes, &self.subject);
                    if found.await? == FoundBlob::Whole {
                        return Ok(Mounted::From(from.clone()));
                    }
                    return Ok(Mounted::Not(None));
                }
                Mount::NotMounted(started) => {
                    if let Some(records) = self.engine.options.records {
                        records.forget_held(known.record.digest, from);
                    }
                    session = started.or(session);
                }
            }
        }
        Ok(Mounted::Not(session))
    }

    /// Tells if a record is not what was made.
    pub(super) fn check_record(&self, known: Option<&KnownLayer>, made: &LayerRecord) {
        if let Some(known) = known.filter(|known| known.record != *made) {
            self.record_is_wrong(&known.source);
            // Its maker had kept it, and it was forgotten with the wrong one.
            let layer = &self.engine.image.layers()[self.group.first()];
            if let (Some(records), Some(key)) = (self.engine.options.records, layer.key()) {
                records.remember(&[(key, made.clone())]);
            }
        }
    }

    pub(super) fn record_is_wrong(&self, source: &RecordSource) {
        let layer_idx = self.group.first();
        let layer = &self.engine.image.layers()[layer_idx];
        if let (Some(records), Some(key)) = (self.engine.options.records, layer.key()) {
            records.forget(key);
        }
        self.engine.observer.event(&PushEvent::RecordWrong {
            layer_idx,
            title: &layer.title(),
            source,
        });
    }

    pub(super) fn name_digest(&mut self, record: &LayerRecord) {
        if let Subject::Layer { digest, .. } = &mut self.subject {
            *digest = Some(record.digest);
        }
    }

    pub(super) fn settled(
        &self,
        record: Option<LayerRecord>,
        outcome: LayerOutcome,
        source: RecordSource,
    ) -> Settled {
        Settled {
            record,
            outcome,
            source,
            times_made: self.times_made,
        }
    }
}

/// What came of trying to mount a layer.
enum Mounted {
    From(RepositoryName),
    Not(Option<UploadSession>),
}

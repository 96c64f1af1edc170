//! One layer's way into the repository.
//!
//! ```text
//! listed by a manifest of the repository ───────────────────────────────────────────> present
//! known ──> HEAD ─┬─ there ─────────────────────────────────────────────────────────> present
//!                 └─ not there ──> mount from a repository that holds it ─┬─ done ──> mounted
//!                                                                         └─ no ──┐
//! not known ──────────────────────────────────────────────────────────────────────┴─> make, send ──> uploaded
//! ```

use super::{Made, Makers, Purpose};
use crate::buffer::StreamedLayer;
use crate::host::UploadMethod;
use crate::outgoing::SentBytes;
use crate::repository::{FoundBlob, Mount, Repository};
use crate::stream_upload::{Resume, StreamFailure};
use crate::upload::UploadSession;
use crate::{
    KnownLayer, LayerOutcome, PushEvent, PushObserver, PushOptions, RecordSource, RegistryError,
    Subject,
};
use bytes::Bytes;
use nixply_oci::{Image, LayerDigest, LayerKey, LayerRecord, MediaType, RepositoryName};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{Mutex as AsyncMutex, Semaphore, mpsc};

/// How many repositories are asked for a mount. The first one that is known to hold a layer usually gives it; a second
/// try helps where the first has lost it, more cost more than they find.
const MOUNT_TRIES: usize = 2;

/// How often a layer that is sent while it is made is begun or gone on with. Every attempt that fails has used the
/// client's own attempts up, or was cut off in the middle of a body.
const STREAM_ATTEMPTS: u32 = 8;

/// Layers of an image that have the same key: made once, sent once.
#[derive(Debug)]
pub(crate) struct Group {
    /// The layers, by index; never empty.
    pub(crate) layers: Vec<usize>,
    weight_bytes: u64,
}

impl Group {
    /// The layer that is made for all of them.
    pub(crate) fn first(&self) -> usize {
        self.layers[0]
    }

    /// Groups an image's layers, biggest first, and by index where sizes are the same.
    pub(crate) fn of_image(image: &dyn Image) -> Vec<Self> {
        #[derive(PartialEq, Eq, PartialOrd, Ord)]
        enum Same {
            Key(LayerKey, MediaType),
            Nothing(usize),
        }
        let mut groups: BTreeMap<Same, Self> = BTreeMap::new();
        for (layer_idx, layer) in image.layers().iter().enumerate() {
            let same = match layer.key() {
                Some(key) => Same::Key(key, layer.media_type()),
                None => Same::Nothing(layer_idx),
            };
            let group = groups.entry(same).or_insert_with(|| Self {
                layers: Vec::new(),
                weight_bytes: layer.weight_bytes(),
            });
            group.layers.push(layer_idx);
        }
        let mut groups: Vec<Self> = groups.into_values().collect();
        groups.sort_by_key(|group| (Reverse(group.weight_bytes), group.first()));
        groups
    }
}

/// What became of a group.
#[derive(Debug, Clone)]
pub(crate) struct Settled {
    /// What its layers are; `None` only in a dry run.
    pub(crate) record: Option<LayerRecord>,
    pub(crate) outcome: LayerOutcome,
    pub(crate) source: RecordSource,
    pub(crate) times_made: u32,
}

/// What the futures of one push share.
pub(crate) struct Engine<'a> {
    image: &'a dyn Image,
    options: &'a PushOptions<'a>,
    observer: &'a dyn PushObserver,
    repository: &'a Repository,
    name: RepositoryName,
    makers: &'a Makers<'a>,
    /// One permit for every layer that may have bytes in memory.
    in_memory: Semaphore,
    /// A lock for every blob, true once the repository has it.
    blobs: Mutex<BTreeMap<LayerDigest, Arc<AsyncMutex<bool>>>>,
}

/// What is done for one group.
struct Work<'e> {
    engine: &'e Engine<'e>,
    group: &'e Group,
    subject: Subject,
    sent: SentBytes,
    times_made: u32,
    /// Digests that the repository was asked for, and does not have.
    absent: BTreeSet<LayerDigest>,
    /// The registry has lost the layer although it said that it had it.
    is_lost: bool,
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

    fn blob(&self, digest: LayerDigest) -> Arc<AsyncMutex<bool>> {
        let mut blobs = self.blobs.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(blobs.entry(digest).or_default())
    }
}

impl Settled {
    /// The outcome of the layer at a position of the group: only the first one's bytes went over the wire.
    pub(crate) fn outcome_at(&self, position: usize) -> &LayerOutcome {
        match (position, &self.outcome) {
            (1.., LayerOutcome::Uploaded { .. }) => &LayerOutcome::Present,
            (_, outcome) => outcome,
        }
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
    async fn look_for(&mut self, record: &LayerRecord) -> Result<FoundBlob, RegistryError> {
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
            if let Some(records) = self.engine.options.records {
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
            match mount.await? {
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

    /// Makes the layer and sends it, as often as it takes.
    async fn make_and_send(
        &mut self,
        known: Option<&KnownLayer>,
        mut session: Option<UploadSession>,
    ) -> Result<Settled, RegistryError> {
        let engine = self.engine;
        let layer_idx = self.group.first();
        // Never closed.
        let _permit = engine.in_memory.acquire().await;
        let mut expected = known.map(|known| known.record.clone());
        let mut resume = None;
        let mut attempt = 0;
        loop {
            attempt += 1;
            let method = engine.repository.upload_method();
            let purpose = match (&expected, method) {
                (None, UploadMethod::Whole) => Purpose::Keep,
                _ => Purpose::Send {
                    skip_bytes: resume
                        .as_ref()
                        .map_or(0, |resume: &Resume| resume.offset_bytes()),
                },
            };
            self.times_made += 1;
            match engine
                .makers
                .make(layer_idx, purpose, expected.clone())
                .await?
            {
                Made::InMemory(record, segments) => {
                    self.check_record(known, &record);
                    return self.send_segments(record, segments, session).await;
                }
                Made::Spooled(record, file) => {
                    return self.send_file(record, &file).await;
                }
                Made::Learnt(record) => {
                    // No room for its bytes, but now its digest is known: the second time they are sent on.
                    expected = Some(record);
                }
                Made::Streaming(stream) => {
                    let failure = match self
                        .send_stream(stream, expected.as_ref(), session.take(), resume.take())
                        .await
                    {
                        Ok(settled) => return Ok(settled),
                        Err(failure) => failure,
                    };
                    if let Some(error) = engine.makers.take_failure() {
                        return Err(error);
                    }
                    if engine.makers.take_surprise(layer_idx).is_some() {
                        if let Some(known) = known {
                            self.record_is_wrong(&known.source);
                        }
                        expected = None;
                        continue;
                    }
                    let error = match failure {
                        StreamFailure::Fatal(error) => return Err(error),
                        StreamFailure::MethodRefused { error } => {
                            if let Some(records) = engine.options.records {
                                let method = engine.repository.upload_method().text();
                                records.remember_upload_method(engine.name.host(), method);
                            }
                            error
                        }
                        StreamFailure::Interrupted { resume: at, error } => {
                            resume = Some(at);
                            error
                        }
                    };
                    if attempt >= STREAM_ATTEMPTS {
                        return Err(error);
                    }
                    engine.observer.event(&PushEvent::LayerRestarted {
                        layer_idx,
                        title: &engine.image.layers()[layer_idx].title(),
                        resumed_at_bytes: resume.as_ref().map_or(0, Resume::offset_bytes),
                        error: &error,
                    });
                }
            }
        }
    }

    async fn send_segments(
        &mut self,
        record: LayerRecord,
        segments: Vec<Bytes>,
        session: Option<UploadSession>,
    ) -> Result<Settled, RegistryError> {
        self.name_digest(&record);
        let blob = self.engine.blob(record.digest);
        let mut is_there = blob.lock().await;
        if *is_there || self.look_for(&record).await? == FoundBlob::Whole {
            *is_there = true;
            return Ok(self.settled(Some(record), LayerOutcome::Present, RecordSource::Made));
        }
        let digest = record.digest.into();
        let repository = self.engine.repository;
        repository
            .upload(digest, segments, session, &self.subject, &self.sent)
            .await?;
        *is_there = true;
        Ok(self.settled(
            Some(record),
            LayerOutcome::Uploaded { bytes: 0 },
            RecordSource::Made,
        ))
    }

    async fn send_file(
        &mut self,
        record: LayerRecord,
        file: &super::SpooledLayer,
    ) -> Result<Settled, RegistryError> {
        self.name_digest(&record);
        let blob = self.engine.blob(record.digest);
        let mut is_there = blob.lock().await;
        if *is_there || self.look_for(&record).await? == FoundBlob::Whole {
            *is_there = true;
            return Ok(self.settled(Some(record), LayerOutcome::Present, RecordSource::Made));
        }
        let digest = record.digest.into();
        let open = file.open().map_err(RegistryError::Spool)?;
        self.engine
            .repository
            .upload_file(digest, record.size_bytes, open, &self.subject, &self.sent)
            .await?;
        *is_there = true;
        Ok(self.settled(
            Some(record),
            LayerOutcome::Uploaded { bytes: 0 },
            RecordSource::Made,
        ))
    }

    async fn send_stream(
        &mut self,
        stream: StreamedLayer,
        expected: Option<&LayerRecord>,
        session: Option<UploadSession>,
        resume: Option<Resume>,
    ) -> Result<Settled, StreamFailure> {
        let repository = self.engine.repository;
        let record = match expected {
            // With digest and size at hand, one request with a length does, which every registry takes.
            Some(record) => {
                repository
                    .upload_known(record, stream, session, resume, &self.subject, &self.sent)
                    .await?;
                record.clone()
            }
            None => {
                repository
                    .upload_stream(stream, resume, &self.subject, &self.sent)
                    .await?
            }
        };
        self.name_digest(&record);
        *self.engine.blob(record.digest).lock().await = true;
        Ok(self.settled(
            Some(record),
            LayerOutcome::Uploaded { bytes: 0 },
            RecordSource::Made,
        ))
    }

    /// Tells if a record is not what was made.
    fn check_record(&self, known: Option<&KnownLayer>, made: &LayerRecord) {
        if let Some(known) = known.filter(|known| known.record != *made) {
            self.record_is_wrong(&known.source);
        }
    }

    fn record_is_wrong(&self, source: &RecordSource) {
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

    fn name_digest(&mut self, record: &LayerRecord) {
        if let Subject::Layer { digest, .. } = &mut self.subject {
            *digest = Some(record.digest);
        }
    }

    fn settled(
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

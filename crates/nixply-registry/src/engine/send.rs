//! A layer that has to be made: into memory, through the network, or into a file first.

use super::settle::Work;
use super::{Made, Purpose, Settled, SpooledLayer};
use crate::buffer::StreamedLayer;
use crate::host::UploadMethod;
use crate::repository::FoundBlob;
use crate::stream_upload::{Resume, StreamFailure};
use crate::upload::UploadSession;
use crate::{KnownLayer, LayerOutcome, PushEvent, RecordSource, RegistryError};
use bytes::Bytes;
use nixply_oci::LayerRecord;

/// How often a layer that is sent while it is made is begun or gone on with. Every attempt that fails has used the
/// client's own attempts up, or was cut off in the middle of a body.
const STREAM_ATTEMPTS: u32 = 8;

impl Work<'_> {
    /// Makes the layer and sends it, as often as it takes.
    pub(super) async fn make_and_send(
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
        file: &SpooledLayer,
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
}

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

/// The bytes of a layer that was made to its end.
enum WholeLayer<'a> {
    /// With the upload that is open for them already, where there is one.
    InMemory(Vec<Bytes>, Option<UploadSession>),
    InFile(&'a SpooledLayer),
}

impl Work<'_> {
    /// Makes the layer and sends it, as often as it takes.
    pub(super) async fn make_and_send(
        &mut self,
        mut known: Option<&KnownLayer>,
        mut session: Option<UploadSession>,
    ) -> Result<Settled, RegistryError> {
        let engine = self.engine;
        let layer_idx = self.group.first();
        // Never closed.
        let _permit = engine.in_memory.acquire().await;
        let mut expected = known.map(|known| known.record.clone());
        let mut is_doubted = false;
        let mut goes_in_parts = false;
        let mut resume: Option<Resume> = None;
        let mut attempt = 0;
        loop {
            attempt += 1;
            let skip_bytes = resume.as_ref().map_or(0, Resume::offset_bytes);
            let purpose = match (&expected, engine.repository.upload_method()) {
                (None, UploadMethod::Whole) => Purpose::Keep,
                _ => Purpose::Send { skip_bytes },
            };
            self.times_made += 1;
            let stream = match engine
                .makers
                .make(layer_idx, purpose, expected.clone())
                .await?
            {
                Made::InMemory(record, segments) => {
                    self.check_record(known.take(), &record);
                    if !goes_in_parts {
                        let whole = WholeLayer::InMemory(segments.clone(), session.take());
                        match self.send_whole(record.clone(), whole).await {
                            Err(error) if self.may_go_in_parts(&error) => {}
                            result => return result,
                        }
                        goes_in_parts = true;
                        expected = None;
                    }
                    StreamedLayer::whole(record, segments)
                }
                Made::Spooled(record, file) => {
                    self.check_record(known.take(), &record);
                    return self.send_whole(record, WholeLayer::InFile(&file)).await;
                }
                Made::Learnt(record) => {
                    self.check_record(known.take(), &record);
                    // No room for its bytes, but now its digest is known: the second time they are sent on.
                    expected = Some(record);
                    continue;
                }
                Made::Streaming(stream) => stream,
            };
            let failure = match self
                .send_stream(stream, expected.as_ref(), session.take(), resume.take())
                .await
            {
                Ok(settled) => {
                    if let Some(record) = &settled.record {
                        self.check_record(known, record);
                    }
                    return Ok(settled);
                }
                Err(failure) => failure,
            };
            if let Some(error) = engine.makers.take_failure() {
                return Err(error);
            }
            if engine.makers.take_surprise(layer_idx).is_some() && attempt < STREAM_ATTEMPTS {
                if let Some(known) = known.take() {
                    self.record_is_wrong(&known.source);
                }
                expected = None;
                continue;
            }
            let error = match failure {
                // One PUT with the length and the digest of a record: the registry found that the layer has others, or
                // takes none of this size at once.
                StreamFailure::Fatal(error)
                    if expected.is_some()
                        && !is_doubted
                        && (error.is_status(400) || self.may_go_in_parts(&error)) =>
                {
                    is_doubted = true;
                    expected = None;
                    error
                }
                StreamFailure::Fatal(error) => return Err(error),
                StreamFailure::MethodRefused { error } => {
                    let method = self.remember_method();
                    if goes_in_parts && method == UploadMethod::Whole {
                        return Err(error);
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
            self.tell_restarted(resume.as_ref(), &error);
        }
    }

    /// Keeps which method the registry takes, as far as it is known now.
    fn remember_method(&self) -> UploadMethod {
        let engine = self.engine;
        let method = engine.repository.upload_method();
        if let Some(records) = engine.options.records {
            records.remember_upload_method(engine.name.host(), method.text());
        }
        method
    }

    fn tell_restarted(&self, resume: Option<&Resume>, error: &RegistryError) {
        let layer_idx = self.group.first();
        self.engine.observer.event(&PushEvent::LayerRestarted {
            layer_idx,
            title: &self.engine.image.layers()[layer_idx].title(),
            resumed_at_bytes: resume.map_or(0, Resume::offset_bytes),
            error,
        });
    }

    /// True if a request was refused for its size, and this registry may take less at a time: what stands before it
    /// has a limit.
    fn may_go_in_parts(&self, error: &RegistryError) -> bool {
        error.is_status(413) && self.engine.repository.upload_method() != UploadMethod::Whole
    }

    /// Sends a layer of which all bytes are here, unless the repository has it.
    async fn send_whole(
        &mut self,
        record: LayerRecord,
        bytes: WholeLayer<'_>,
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
        match bytes {
            WholeLayer::InMemory(segments, session) => {
                repository
                    .upload(digest, segments, session, &self.subject, &self.sent)
                    .await?;
            }
            WholeLayer::InFile(file) => {
                let file = file.open().map_err(RegistryError::Spool)?;
                repository
                    .upload_file(digest, record.size_bytes, file, &self.subject, &self.sent)
                    .await?;
            }
        }
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

//! Uploads of layers that are still being made: their digest comes last.
//!
//! Three ways, see [`UploadMethod`]; a registry that refuses one is sent the next from then on. An upload that breaks off
//! is looked after: the registry is asked how far it got (distribution-spec v1.1.1, "Pushing a blob in chunks"), and the
//! layer, which is made again, goes on there. What is in memory is sent again from here; for what is not, the caller is
//! told where to go on.

mod chunks;

use crate::buffer::{Part, StreamedLayer};
use crate::host::UploadMethod;
use crate::outgoing::{Meter, Outgoing, Progress, SentBytes};
use crate::payload::Payload;
use crate::repository::{FoundBlob, Repository};
use crate::request::Ask;
use crate::retry::{Again, Failure};
use crate::upload::{UploadSession, blob_headers};
use crate::{RegistryError, Subject};
use bytes::Bytes;
use futures_util::{Stream, stream};
use nixply_oci::LayerRecord;
use reqwest::header::{HeaderMap, RANGE};
use reqwest::{Body, Method, Request, Response, StatusCode};
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::{mpsc, oneshot};

/// How often in a row a layer's session may be unknown to the registry that opened it before another method is tried.
const UNKNOWN_SESSIONS_MAX: u32 = 1;

/// Where an interrupted upload goes on.
#[derive(Debug)]
pub(crate) struct Resume {
    session: Option<UploadSession>,
    offset_bytes: u64,
    failures: u32,
    /// How many bytes were told already, which may be more.
    told_bytes: u64,
}

impl Resume {
    /// How many bytes of the layer the registry has. The next call is given those that follow.
    pub(crate) fn offset_bytes(&self) -> u64 {
        self.offset_bytes
    }
}

/// Why a layer that was being made is not in the registry.
#[derive(Debug)]
pub(crate) enum StreamFailure {
    /// It broke off, and is worth another try: the layer has to be made again.
    Interrupted {
        /// Where to go on.
        resume: Resume,
        /// What happened.
        error: RegistryError,
    },
    /// The registry takes no uploads of this kind. [`Repository::upload_method`] says which it may take: the layer has to
    /// be made again.
    MethodRefused {
        /// What the registry said.
        error: RegistryError,
    },
    /// It would fail again. May be the mere consequence of a maker that gave up, which then has said why already.
    Fatal(RegistryError),
}

impl From<RegistryError> for StreamFailure {
    fn from(error: RegistryError) -> Self {
        Self::Fatal(error)
    }
}

/// What an upload is about, and how often it has failed in a row without getting further.
pub(crate) struct Streaming<'a> {
    repository: &'a Repository,
    subject: &'a Subject,
    meter: Arc<Meter>,
    /// Where the bytes begin that are given.
    from_bytes: u64,
    failures: u32,
}

impl Repository {
    /// Sends a layer while it is made, and returns what it turned out to be.
    ///
    /// With `from`, the stream gives only the bytes from that offset on.
    pub(crate) async fn upload_stream(
        &self,
        stream: StreamedLayer,
        from: Option<Resume>,
        subject: &Subject,
        sent: &SentBytes,
    ) -> Result<LayerRecord, StreamFailure> {
        let streaming = Streaming::new(self, from.as_ref(), subject, sent);
        let session = match from.and_then(|from| from.session) {
            Some(session) => session,
            None => self.start_upload(subject).await?,
        };
        let (mut layer, record) = Layer::of(stream);
        let session = match self.upload_method() {
            UploadMethod::Streamed => streaming.in_one_patch(session, layer).await?,
            UploadMethod::Chunked => streaming.in_chunks(session, &mut layer).await?,
            UploadMethod::Whole => {
                let ask = Ask::new(Method::PATCH, session.location, subject);
                let error = ask
                    .named()
                    .protocol("expected a registry that takes layers in parts".to_owned());
                return Err(StreamFailure::MethodRefused { error });
            }
        };
        let record = record
            .await
            .map_err(|_| streaming.maker_gave_up(&session))?;
        streaming.finish(session, &record).await?;
        Ok(record)
    }
}

/// A layer's bytes, from its maker.
struct Layer {
    first: VecDeque<Bytes>,
    parts: mpsc::Receiver<Part>,
}

impl Layer {
    /// Takes a layer's bytes, and what its maker will say of them, apart.
    fn of(stream: StreamedLayer) -> (Self, oneshot::Receiver<LayerRecord>) {
        let layer = Self {
            first: stream.first.into(),
            parts: stream.parts,
        };
        (layer, stream.record)
    }

    /// The next bytes; `None` at the layer's end, an error if its maker goes away before.
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        let part = match self.first.pop_front() {
            Some(segment) => Some(Part::Bytes(segment)),
            None => self.parts.recv().await,
        };
        match part {
            Some(Part::Bytes(segment)) => Ok(Some(segment)),
            Some(Part::End) => Ok(None),
            None => Err(io::Error::other("the layer's maker gave up")),
        }
    }

    /// The bytes as the body of a request, which breaks if the maker gives up.
    fn into_body(self, gave_up: &Arc<AtomicBool>) -> impl Stream<Item = io::Result<Bytes>> + use<> {
        let gave_up = Arc::clone(gave_up);
        Box::pin(stream::try_unfold(self, move |mut layer| {
            let gave_up = Arc::clone(&gave_up);
            async move {
                let next = layer.next().await;
                gave_up.store(next.is_err(), Ordering::Relaxed);
                Ok(next?.map(|segment| (segment, layer)))
            }
        }))
    }
}

impl<'a> Streaming<'a> {
    /// Begins, or goes on where a try before ended.
    pub(crate) fn new(
        repository: &'a Repository,
        from: Option<&Resume>,
        subject: &'a Subject,
        sent: &SentBytes,
    ) -> Self {
        let from_bytes = from.map_or(0, |from| from.offset_bytes);
        Self {
            repository,
            subject,
            meter: Meter::new(sent, from.map_or(0, |from| from.told_bytes)),
            from_bytes,
            failures: from.map_or(0, |from| from.failures),
        }
    }

    /// Sends one request whose body is a layer, from its maker. An error for good if that is the maker's.
    pub(crate) async fn exchange_layer(
        &self,
        ask: &Ask<'_>,
        headers: HeaderMap,
        stream: StreamedLayer,
    ) -> Result<Result<Response, Failure>, StreamFailure> {
        let (layer, _) = Layer::of(stream);
        self.exchange_parts(ask, headers, layer).await
    }

    async fn exchange_parts(
        &self,
        ask: &Ask<'_>,
        headers: HeaderMap,
        layer: Layer,
    ) -> Result<Result<Response, Failure>, StreamFailure> {
        let repository = self.repository;
        let scopes = repository.scopes();
        let turn = repository.turn().await;
        let authorization = repository.authorization_for(&ask.url, scopes).await?;
        let progress = Progress::new();
        let gave_up = Arc::new(AtomicBool::new(false));
        let body = Outgoing::new(
            layer.into_body(&gave_up),
            self.from_bytes,
            Some(Arc::clone(&self.meter)),
            &progress,
            &repository.shared,
        );
        let mut request = Request::new(ask.method.clone(), ask.url.clone());
        *request.headers_mut() = headers;
        *request.body_mut() = Some(Body::wrap_stream(body));
        let answer = repository
            .exchange_request(ask, request, &progress, authorization.as_ref())
            .await;
        drop(turn);
        match answer {
            Err(failure) if gave_up.load(Ordering::Relaxed) => {
                Err(StreamFailure::Fatal(failure.error))
            }
            Ok(answer) if answer.status() == StatusCode::UNAUTHORIZED => {
                let refused = authorization.as_ref();
                // Makes the next request say something else.
                repository
                    .challenged(answer.headers(), scopes, refused)
                    .await?;
                Ok(Ok(answer))
            }
            answer => Ok(answer),
        }
    }

    /// One PATCH of unknown length without `Content-Range`.
    ///
    /// The specification does not describe it, but distribution's client (`blob_writer.go`, `ReadFrom`), which is Docker's,
    /// and go-containerregistry (`remote/write.go`, `streamBlob`) send every layer so.
    async fn in_one_patch(
        &self,
        session: UploadSession,
        layer: Layer,
    ) -> Result<UploadSession, StreamFailure> {
        let repository = self.repository;
        let location = session.location.clone();
        let ask = Ask::new(Method::PATCH, location, self.subject).waits_for_storage();
        let answer = self.exchange_parts(&ask, blob_headers(), layer).await?;
        let failure = match answer {
            Ok(answer) if answer.status() == StatusCode::ACCEPTED => {
                return Ok(UploadSession::of(&repository.host, &ask.named(), &answer)?);
            }
            Ok(answer) if answer.status().is_success() => {
                return Err(ask.named().unexpected(202, &answer).into());
            }
            Ok(answer) => {
                let redirected = matches!(answer.status().as_u16(), 307 | 308);
                let elsewhere =
                    redirected.then(|| UploadSession::of(&repository.host, &ask.named(), &answer));
                match repository.accepted(ask.named(), answer).await {
                    Ok(_) => return Ok(session),
                    Err(failure) => match elsewhere {
                        Some(elsewhere) => {
                            return Err(self
                                .goes_on(elsewhere?, Failure::passing(failure.error))
                                .await);
                        }
                        None => failure,
                    },
                }
            }
            Err(failure) => failure,
        };
        match failure.status() {
            // It has taken such a request before, so it is the place that it does not like.
            Some(400 | 416) if self.from_bytes > 0 => {
                Err(self.lost(Failure::passing(failure.error)).await)
            }
            Some(400 | 405 | 411 | 413 | 415 | 416 | 501) => {
                Err(self.method_refused(UploadMethod::Streamed, failure.error))
            }
            Some(401) => Err(self
                .interrupted(session, Failure::passing(failure.error))
                .await),
            Some(404 | 409) => Err(self.unknown(UploadMethod::Streamed, failure).await),
            _ => Err(self.interrupted(session, failure).await),
        }
    }

    /// Names the digest of a layer of which the registry has all bytes.
    async fn finish(
        &self,
        session: UploadSession,
        record: &LayerRecord,
    ) -> Result<(), StreamFailure> {
        let repository = self.repository;
        let digest = record.digest.into();
        let mut tries = repository.tries_after(self.failures);
        loop {
            let committed = repository
                .commit(session.clone(), digest, &Payload::Empty, self.subject)
                .await;
            let Err(failure) = committed else {
                return Ok(());
            };
            let is_gone = matches!(failure.status(), Some(404 | 409 | 416));
            // A layer that went on where another try had ended may not fit together.
            let is_mixed = failure.status() == Some(400) && self.from_bytes > 0;
            let again = if is_mixed {
                Again::Backoff
            } else {
                failure.again
            };
            let error = tries.again(Failure { again, ..failure }).await?;
            // Perhaps only the answer was lost.
            let found = repository
                .find_blob(digest, record.size_bytes, self.subject)
                .await?;
            if found == FoundBlob::Whole {
                return Ok(());
            }
            if is_gone || is_mixed {
                return Err(self.again_from_start(error));
            }
        }
    }

    /// Asks how far a session got: where it goes on, and at which byte. `None` if it is gone, or holds nothing of use.
    async fn status(
        &self,
        session: &UploadSession,
    ) -> Result<Option<(UploadSession, u64)>, RegistryError> {
        let ask = Ask::new(Method::GET, session.location.clone(), self.subject);
        let answer = match self.repository.ask(&ask).await {
            Ok(answer) => answer,
            Err(RegistryError::Refused(_)) => return Ok(None),
            Err(error) => return Err(error),
        };
        let now = UploadSession::of(&self.repository.host, &ask.named(), &answer);
        // The specification asks for a `Location` here, and not every registry gives one.
        let now = now.unwrap_or_else(|_| session.clone());
        // `0-0` means one byte to some registries and none to others.
        Ok(end_of_range(answer.headers())
            .filter(|end| *end > 1)
            .map(|end| (now, end)))
    }

    /// An upload broke off: after a wait, finds out where it goes on.
    async fn interrupted(&self, session: UploadSession, failure: Failure) -> StreamFailure {
        let mut tries = self.repository.tries_after(self.failures);
        let error = match tries.again(failure).await {
            Ok(error) => error,
            Err(error) => return StreamFailure::Fatal(error),
        };
        match self.status(&session).await {
            Ok(Some((session, offset_bytes))) => {
                let is_further = offset_bytes > self.from_bytes;
                let failures = if is_further { 0 } else { self.failures + 1 };
                self.goes_on_at(Some(session), offset_bytes, failures, error)
            }
            Ok(None) => self.again_from_start(error),
            Err(error) => StreamFailure::Fatal(error),
        }
    }

    /// A session is gone: after a wait, another one.
    pub(crate) async fn lost(&self, failure: Failure) -> StreamFailure {
        let mut tries = self.repository.tries_after(self.failures);
        match tries.again(failure).await {
            Ok(error) => self.again_from_start(error),
            Err(error) => StreamFailure::Fatal(error),
        }
    }

    /// The registry does not know a session that it opened: after a wait, another one. Again and again, and from the
    /// first byte on, it means that it knows no uploads in parts.
    async fn unknown(&self, method: UploadMethod, failure: Failure) -> StreamFailure {
        if self.from_bytes == 0 && self.failures > UNKNOWN_SESSIONS_MAX {
            return self.method_refused(method, failure.error);
        }
        self.lost(Failure::passing(failure.error)).await
    }

    /// An upload is sent elsewhere, from where it began here.
    async fn goes_on(&self, session: UploadSession, failure: Failure) -> StreamFailure {
        let mut tries = self.repository.tries_after(self.failures);
        match tries.again(failure).await {
            Ok(error) => self.goes_on_at(Some(session), self.from_bytes, self.failures + 1, error),
            Err(error) => StreamFailure::Fatal(error),
        }
    }

    fn again_from_start(&self, error: RegistryError) -> StreamFailure {
        self.goes_on_at(None, 0, self.failures + 1, error)
    }

    fn goes_on_at(
        &self,
        session: Option<UploadSession>,
        offset_bytes: u64,
        failures: u32,
        error: RegistryError,
    ) -> StreamFailure {
        let resume = Resume {
            session,
            offset_bytes,
            failures,
            told_bytes: self.meter.told_bytes(),
        };
        StreamFailure::Interrupted { resume, error }
    }

    fn method_refused(&self, method: UploadMethod, error: RegistryError) -> StreamFailure {
        self.repository.host.refuses_method(method);
        StreamFailure::MethodRefused { error }
    }

    fn maker_gave_up(&self, session: &UploadSession) -> StreamFailure {
        let ask = Ask::new(Method::PATCH, session.location.clone(), self.subject);
        let error = io::Error::other("the layer's maker gave up");
        StreamFailure::Fatal(ask.named().transport(error.into()))
    }
}

/// The offset behind what a registry has of an upload: 1 more than the end in `Range: 0-END`.
fn end_of_range(headers: &HeaderMap) -> Option<u64> {
    let range = headers.get(RANGE)?.to_str().ok()?;
    let range = range.strip_prefix("bytes=").unwrap_or(range);
    let (start, end) = range.split_once('-')?;
    let end: u64 = end.trim().parse().ok()?;
    (start.trim() == "0").then(|| end.saturating_add(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_says_how_far_an_upload_got() {
        for (range, expected) in [
            ("0-0", Some(1)),
            ("0-1023", Some(1024)),
            ("bytes=0-9", Some(10)),
            ("5-9", None),
            ("0-", None),
            ("", None),
            ("0-18446744073709551615", Some(u64::MAX)),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(RANGE, range.parse().unwrap());
            assert_eq!(end_of_range(&headers), expected, "{range}");
        }
        assert_eq!(end_of_range(&HeaderMap::new()), None);
    }
}

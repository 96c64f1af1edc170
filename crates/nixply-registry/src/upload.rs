//! Uploads of blobs whose digest is known: POST and one PUT with its length (distribution-spec v1.1.1, "POST then PUT").

use crate::host::Host;
use crate::outgoing::{Meter, SentBytes};
use crate::payload::Payload;
use crate::redact::clean_url;
use crate::repository::{FoundBlob, Repository, check_digest};
use crate::request::{Ask, Named};
use crate::retry::{Again, Failure};
use crate::{RegistryError, Subject};
use bytes::Bytes;
use nixply_oci::Digest;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION};
use reqwest::{Method, Response, StatusCode, Url};
use std::fmt;
use std::fs::File;
use std::sync::Arc;

/// What blobs are sent as.
const OCTET_STREAM: HeaderValue = HeaderValue::from_static("application/octet-stream");

/// The header in which a registry says how small a chunk may be that is not the last one.
const CHUNK_MIN_LENGTH: HeaderName = HeaderName::from_static("oci-chunk-min-length");

/// An upload that a registry has opened.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct UploadSession {
    /// Where it goes on.
    pub(crate) location: Url,
    /// How small a chunk may be that is not the last one.
    pub(crate) chunk_min_bytes: u64,
}

impl UploadSession {
    /// The session that an answer opens or goes on with.
    pub(crate) fn of(
        host: &Host,
        named: &Named<'_>,
        answer: &Response,
    ) -> Result<Self, RegistryError> {
        let chunk_min = answer.headers().get(CHUNK_MIN_LENGTH);
        let chunk_min = chunk_min.and_then(|length| length.to_str().ok()?.parse().ok());
        Ok(Self {
            location: location_of(host, named, answer)?,
            chunk_min_bytes: chunk_min.unwrap_or(0),
        })
    }
}

impl fmt::Debug for UploadSession {
    /// Without the query: it may be signed, and whoever has it may write.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UploadSession")
            .field("location", &clean_url(&self.location))
            .finish_non_exhaustive()
    }
}

/// The headers of a request with a blob in it.
pub(crate) fn blob_headers() -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, OCTET_STREAM);
    headers
}

impl Repository {
    /// Sends a blob that is in memory, into a session that is open already where there is one.
    pub(crate) async fn upload(
        &self,
        digest: Digest,
        segments: Vec<Bytes>,
        session: Option<UploadSession>,
        subject: &Subject,
        sent: &SentBytes,
    ) -> Result<(), RegistryError> {
        let payload = Payload::Segments(0, segments, Meter::new(sent, 0));
        self.upload_payload(digest, payload, session, subject).await
    }

    /// Sends a blob that is in a file, from the file's beginning.
    pub(crate) async fn upload_file(
        &self,
        digest: Digest,
        size_bytes: u64,
        file: File,
        subject: &Subject,
        sent: &SentBytes,
    ) -> Result<(), RegistryError> {
        let payload = Payload::File(Arc::new(file), size_bytes, Meter::new(sent, 0));
        self.upload_payload(digest, payload, None, subject).await
    }

    async fn upload_payload(
        &self,
        digest: Digest,
        payload: Payload,
        mut session: Option<UploadSession>,
        subject: &Subject,
    ) -> Result<(), RegistryError> {
        let size_bytes = payload.size_bytes();
        let mut tries = self.tries();
        loop {
            let open = match session.take() {
                Some(session) => session,
                None => self.start_upload(subject).await?,
            };
            let Err(failure) = self.commit(open, digest, &payload, subject).await else {
                return Ok(());
            };
            tries.again(failure).await?;
            // Perhaps only the answer was lost.
            if self.find_blob(digest, size_bytes, subject).await? == FoundBlob::Whole {
                return Ok(());
            }
        }
    }

    /// Opens an upload session.
    pub(crate) async fn start_upload(
        &self,
        subject: &Subject,
    ) -> Result<UploadSession, RegistryError> {
        let ask = Ask::new(Method::POST, self.url("blobs/uploads/")?, subject);
        let answer = self.ask(&ask).await?;
        if answer.status() != StatusCode::ACCEPTED {
            return Err(ask.named().unexpected(202, &answer));
        }
        UploadSession::of(&self.host, &ask.named(), &answer)
    }

    /// Ends an upload session with what is left to send. A session that is gone or in disorder is worth another one.
    pub(crate) async fn commit(
        &self,
        session: UploadSession,
        digest: Digest,
        payload: &Payload,
        subject: &Subject,
    ) -> Result<(), Failure> {
        let mut location = session.location;
        location
            .query_pairs_mut()
            .append_pair("digest", &digest.to_string());
        let ask = Ask::new(Method::PUT, location, subject)
            .headers(blob_headers())
            .payload(payload.clone())
            .waits_for_storage();
        let answer = match self.send(&ask).await {
            Ok(answer) => answer,
            Err(failure) => {
                let again = match failure.status() {
                    Some(404 | 409 | 416) => Again::Backoff,
                    _ => failure.again,
                };
                return Err(Failure { again, ..failure });
            }
        };
        if answer.status() != StatusCode::CREATED {
            return Err(ask.named().unexpected(201, &answer).into());
        }
        Ok(check_digest(&answer, digest, subject)?)
    }
}

/// Where an upload goes on, as an answer says.
fn location_of(host: &Host, named: &Named<'_>, answer: &Response) -> Result<Url, RegistryError> {
    let location = answer.headers().get(LOCATION);
    let Some(location) = location.and_then(|location| location.to_str().ok()) else {
        return Err(named.protocol("expected a Location header".to_owned()));
    };
    let url = answer
        .url()
        .join(location)
        .map_err(|error| named.protocol(format!("expected a URL as location: {error}")))?;
    // Behind a proxy that ends TLS, many registries think that they speak plain HTTP.
    Ok(host.corrected(url))
}

//! Uploads: the part of the protocol that oci-client is not used for.
//!
//! Two ways, those of distribution-spec v1.1.1, "Pushing blobs". A blob whose digest is known goes by POST and one PUT
//! with its length. A layer that is still being made goes by POST, one PATCH of unknown length, and a PUT that names
//! the digest, as Docker sends every layer.

use crate::buffer::{Part, StreamedLayer};
use crate::connection::{Repository, join, request};
use crate::redact::clean_url;
use crate::transport::{ANSWER_TIMEOUT, UPLOAD_ANSWER_TIMEOUT};
use crate::{RegistryError, Subject};
use bytes::Bytes;
use futures_util::stream;
use nixply_oci::{Digest, LayerRecord, MediaType};
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, LOCATION};
use reqwest::{Body, Method, Response, StatusCode, Url};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::time::Duration;
use tokio::sync::mpsc::{self, UnboundedSender};
use tokio::sync::oneshot;

/// Where the numbers of bytes go that the network has taken.
pub(crate) type SentBytes = UnboundedSender<u64>;

/// Lives as long as the body of an upload is not with the network.
type GoingOut = oneshot::Sender<()>;

/// Resolves when the body's [`GoingOut`] is dropped.
type GoneOut = oneshot::Receiver<()>;

/// What blobs are sent as.
const OCTET_STREAM: &str = "application/octet-stream";

/// The header in which a registry says what it stored.
const DOCKER_CONTENT_DIGEST: &str = "Docker-Content-Digest";

impl Repository {
    /// Sends a blob that is in memory.
    pub(crate) async fn upload(
        &self,
        digest: Digest,
        segments: Vec<Bytes>,
        subject: &Subject,
        sent: &SentBytes,
    ) -> Result<(), RegistryError> {
        let location = self.start_upload(subject).await?;
        let size_bytes = segments.iter().map(|segment| segment.len() as u64).sum();
        let sent = sent.clone();
        let (going_out, gone_out) = oneshot::channel();
        let body = Body::wrap_stream(stream::iter(segments.into_iter().map(move |segment| {
            let _held = &going_out;
            tell(&sent, &segment);
            Ok::<_, Infallible>(segment)
        })));
        self.commit(location, digest, subject, size_bytes, body, gone_out)
            .await
    }

    /// Sends a layer while it is made, and returns what it turned out to be.
    ///
    /// An error may be the mere consequence of a maker that gave up, which then has said why already.
    pub(crate) async fn upload_stream(
        &self,
        layer: StreamedLayer,
        subject: &Subject,
        sent: &SentBytes,
    ) -> Result<LayerRecord, RegistryError> {
        let location = self.start_upload(subject).await?;
        let (going_out, gone_out) = oneshot::channel();
        let body = stream_body(layer.first.into(), layer.parts, sent.clone(), going_out);
        let answer = self.send(Method::PATCH, location.clone(), subject, |request| {
            request.header(CONTENT_TYPE, OCTET_STREAM).body(body)
        });
        let silent = || request(subject, "PATCH", &location).silent(UPLOAD_ANSWER_TIMEOUT);
        let answer = in_time(answer, gone_out, UPLOAD_ANSWER_TIMEOUT, silent).await?;
        let protocol = |problem: String| RegistryError::Protocol {
            subject: Box::new(subject.clone()),
            method: "PATCH",
            url: clean_url(&location),
            problem,
        };
        if answer.status() != StatusCode::ACCEPTED {
            return Err(protocol(unexpected(202, &answer)));
        }
        let next = location_of(&answer, "PATCH", subject)?;
        let record = layer.record.await.map_err(|_| {
            protocol("expected the answer after all of the layer was sent".to_owned())
        })?;
        let (_, gone_out) = oneshot::channel();
        let (digest, body) = (record.digest.into(), Body::from(""));
        self.commit(next, digest, subject, 0, body, gone_out)
            .await?;
        Ok(record)
    }

    /// Stores a manifest under its digest or a tag. The registry says what it stored, if it says anything.
    pub(crate) async fn put_manifest(
        &self,
        name: &str,
        media_type: &MediaType,
        manifest: &[u8],
        subject: &Subject,
    ) -> Result<(), RegistryError> {
        let url = self.url(&format!("manifests/{name}"), subject)?;
        let answer = self
            .send(Method::PUT, url.clone(), subject, |request| {
                request
                    .header(CONTENT_TYPE, media_type.as_str())
                    .timeout(ANSWER_TIMEOUT)
                    .body(manifest.to_vec())
            })
            .await?;
        let expected = Digest::of(manifest).to_string();
        match answer.headers().get(DOCKER_CONTENT_DIGEST) {
            Some(found) if found.as_bytes() != expected.as_bytes() => {
                Err(RegistryError::Protocol {
                    subject: Box::new(subject.clone()),
                    method: "PUT",
                    url: clean_url(&url),
                    problem: format!(
                        "expected {DOCKER_CONTENT_DIGEST} {expected}, found {}",
                        String::from_utf8_lossy(found.as_bytes())
                    ),
                })
            }
            _ => Ok(()),
        }
    }

    /// Opens an upload session and returns where it is.
    async fn start_upload(&self, subject: &Subject) -> Result<Url, RegistryError> {
        let url = self.url("blobs/uploads/", subject)?;
        let answer = self
            .send(Method::POST, url.clone(), subject, |request| {
                // The specification does not ask for this header, some registries do.
                request.header(CONTENT_LENGTH, 0).timeout(ANSWER_TIMEOUT)
            })
            .await?;
        if answer.status() != StatusCode::ACCEPTED {
            return Err(RegistryError::Protocol {
                subject: Box::new(subject.clone()),
                method: "POST",
                url: clean_url(&url),
                problem: unexpected(202, &answer),
            });
        }
        location_of(&answer, "POST", subject)
    }

    /// Ends an upload session. `gone_out` resolves when all of `body` is with the network.
    async fn commit(
        &self,
        mut location: Url,
        digest: Digest,
        subject: &Subject,
        size_bytes: u64,
        body: Body,
        gone_out: GoneOut,
    ) -> Result<(), RegistryError> {
        location
            .query_pairs_mut()
            .append_pair("digest", &digest.to_string());
        let answer = self.send(Method::PUT, location.clone(), subject, |request| {
            request
                .header(CONTENT_TYPE, OCTET_STREAM)
                .header(CONTENT_LENGTH, size_bytes)
                .body(body)
        });
        let silent = || request(subject, "PUT", &location).silent(UPLOAD_ANSWER_TIMEOUT);
        let answer = in_time(answer, gone_out, UPLOAD_ANSWER_TIMEOUT, silent).await?;
        if answer.status() == StatusCode::CREATED {
            return Ok(());
        }
        Err(RegistryError::Protocol {
            subject: Box::new(subject.clone()),
            method: "PUT",
            url: clean_url(&location),
            problem: unexpected(201, &answer),
        })
    }
}

/// Waits for the answer to an upload, but no longer than `limit` from when its body has gone out.
async fn in_time<T>(
    answer: impl Future<Output = Result<T, RegistryError>>,
    gone_out: GoneOut,
    limit: Duration,
    silent: impl FnOnce() -> RegistryError,
) -> Result<T, RegistryError> {
    let expired = async {
        // Nothing is ever sent: the other end goes with the body.
        let _ = gone_out.await;
        tokio::time::sleep(limit).await;
    };
    tokio::select! {
        biased;
        answer = answer => answer,
        () = expired => Err(silent()),
    }
}

/// Where an upload goes on.
fn location_of(
    answer: &Response,
    method: &'static str,
    subject: &Subject,
) -> Result<Url, RegistryError> {
    let Some(location) = answer
        .headers()
        .get(LOCATION)
        .and_then(|location| location.to_str().ok())
    else {
        return Err(RegistryError::Protocol {
            subject: Box::new(subject.clone()),
            method,
            url: clean_url(answer.url()),
            problem: "expected a Location header".to_owned(),
        });
    };
    join(answer.url(), location, method, subject)
}

fn unexpected(expected_status: u16, answer: &Response) -> String {
    format!(
        "expected status {expected_status}, found {}",
        answer.status().as_u16()
    )
}

fn tell(sent: &SentBytes, segment: &Bytes) {
    // Nobody listens any more when the push has ended.
    let _ = sent.send(segment.len() as u64);
}

/// The body of an upload that ends when its layer's maker says so, and breaks when its maker goes away.
fn stream_body(
    first: VecDeque<Bytes>,
    parts: mpsc::Receiver<Part>,
    sent: SentBytes,
    going_out: GoingOut,
) -> Body {
    let rest = Some((first, parts, sent, going_out));
    Body::wrap_stream(stream::unfold(rest, async |rest| {
        let (mut first, mut parts, sent, going_out) = rest?;
        let part = match first.pop_front() {
            Some(segment) => Some(Part::Bytes(segment)),
            None => parts.recv().await,
        };
        match part {
            Some(Part::Bytes(segment)) => {
                tell(&sent, &segment);
                Some((Ok(segment), Some((first, parts, sent, going_out))))
            }
            Some(Part::End) => None,
            None => Some((Err(io::Error::other("the layer's maker gave up")), None)),
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::pending;

    #[tokio::test]
    async fn a_silent_registry_is_given_up_only_after_the_body_has_gone_out() {
        let silent = || RegistryError::NoTarget;
        let limit = Duration::from_millis(1);

        let (going_out, gone_out) = oneshot::channel();
        drop(going_out);
        let answer = pending::<Result<(), _>>();
        let error = in_time(answer, gone_out, limit, silent).await.unwrap_err();
        assert!(matches!(error, RegistryError::NoTarget));

        let (_going_out, gone_out) = oneshot::channel();
        let slow = async {
            tokio::time::sleep(20 * limit).await;
            Ok(7)
        };
        assert_eq!(in_time(slow, gone_out, limit, silent).await.unwrap(), 7);
    }
}

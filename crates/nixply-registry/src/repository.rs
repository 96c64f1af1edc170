//! One repository of one registry: what it has, and what it is given that is no upload.
//!
//! All requests are tried again by themselves where that may help, within the client's budget.

use crate::authenticate::Scopes;
use crate::client::Shared;
use crate::host::{Host, UploadMethod};
use crate::payload::Payload;
use crate::request::Ask;
use crate::retry::Failure;
use crate::upload::UploadSession;
use crate::{RegistryError, Subject};
use bytes::{Bytes, BytesMut};
use nixply_oci::{Digest, ImageReference, MediaType};
use reqwest::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Response, StatusCode, Url};
use serde::Deserialize;
use std::fmt;
use std::sync::Arc;

/// The header in which a registry says what it has or has stored (distribution-spec v1.1.1, "Determining Support").
pub(crate) const DOCKER_CONTENT_DIGEST: HeaderName =
    HeaderName::from_static("docker-content-digest");

/// The largest manifest that is read: what registries take at most (distribution-spec v1.1.1, "Pushing Manifests").
const MANIFEST_MAX_BYTES: u64 = 4 << 20;

/// What is asked for under a tag.
const MANIFEST_MEDIA_TYPES: [MediaType; 4] = [
    MediaType::OciIndex,
    MediaType::OciManifest,
    MediaType::DockerManifestList,
    MediaType::DockerManifest,
];

/// What is to be done in a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Reading.
    Pull,
    /// Reading and writing.
    Push,
}

impl Access {
    fn actions(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Push => "pull,push",
        }
    }
}

/// What a repository has under a blob's digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FoundBlob {
    /// Nothing.
    Nothing,
    /// The blob, as far as the registry tells.
    Whole,
    /// Something of another size than was expected: it is damaged, or the expectation is wrong.
    OtherSize,
}

/// What became of the wish to have a blob from another repository.
#[derive(Debug)]
pub(crate) enum Mount {
    /// It is here now.
    Mounted,
    /// It has to be sent; into the session, where the registry has opened one.
    NotMounted(Option<UploadSession>),
}

/// A manifest or an index in a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredManifest {
    /// The digest of its bytes.
    pub(crate) digest: Digest,
    /// What it says that it is, else what the registry says.
    pub(crate) media_type: MediaType,
    /// Its bytes.
    pub(crate) bytes: Bytes,
}

/// A repository that one of [`ImageReference`]s is in. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Repository {
    pub(crate) shared: Arc<Shared>,
    pub(crate) host: Arc<Host>,
    name: String,
    scopes: Scopes,
}

impl fmt::Debug for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Repository")
            .field("host", &self.host.name())
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Repository {
    pub(crate) fn new(
        shared: Arc<Shared>,
        host: Arc<Host>,
        reference: &ImageReference,
        access: Access,
    ) -> Self {
        Self {
            shared,
            host,
            name: reference.repository().to_owned(),
            scopes: Scopes::new(reference.repository(), access.actions()),
        }
    }

    /// The repository's name, without the host.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// What a token has to be good for.
    pub(crate) fn scopes(&self) -> &Scopes {
        &self.scopes
    }

    /// The URL of something in the repository.
    pub(crate) fn url(&self, path: &str) -> Result<Url, RegistryError> {
        self.host.url(&format!("v2/{}/{path}", self.name))
    }

    /// How this registry takes layers whose digest is not known yet.
    pub(crate) fn upload_method(&self) -> UploadMethod {
        self.host.upload_method()
    }

    /// Begins with the method that an earlier push ended with.
    pub(crate) fn use_upload_method(&self, text: Option<&str>) {
        match text.and_then(UploadMethod::from_text) {
            Some(UploadMethod::Chunked) => self.host.refuses_method(UploadMethod::Streamed),
            Some(UploadMethod::Whole) => self.host.refuses_method(UploadMethod::Chunked),
            Some(UploadMethod::Streamed) | None => {}
        }
    }

    /// Asks whether the repository has a blob of this size.
    pub(crate) async fn find_blob(
        &self,
        digest: Digest,
        size_bytes: u64,
        subject: &Subject,
    ) -> Result<FoundBlob, RegistryError> {
        let url = self.url(&format!("blobs/{digest}"))?;
        let answer = match self.ask(&Ask::new(Method::HEAD, url, subject)).await {
            Ok(answer) => answer,
            Err(error) if error.is_status(404) => return Ok(FoundBlob::Nothing),
            // distribution 2.8 answers so for ever where it was killed while it noted the blob; an upload mends that.
            Err(error) if error.is_status(500) => return Ok(FoundBlob::Nothing),
            Err(error) => return Err(error),
        };
        check_digest(&answer, digest, subject)?;
        let length = answer.headers().get(CONTENT_LENGTH);
        let found: Option<u64> = length.and_then(|length| length.to_str().ok()?.parse().ok());
        Ok(match found {
            // No blob here is empty: this is how servers that do not know answer a `HEAD`.
            None | Some(0) => FoundBlob::Whole,
            Some(found) if found == size_bytes => FoundBlob::Whole,
            Some(_) => FoundBlob::OtherSize,
        })
    }

    /// Asks for a blob from another repository of the same registry (distribution-spec v1.1.1, "Mounting a blob from
    /// another repository").
    ///
    /// The request needs a token for both repositories. Where that cannot be got, nothing is mounted, and what follows
    /// goes on with the usual one.
    pub(crate) async fn mount(
        &self,
        digest: Digest,
        from: &str,
        subject: &Subject,
    ) -> Result<Mount, RegistryError> {
        if self.host.is_mount_refused(&self.name, from) {
            return Ok(Mount::NotMounted(None));
        }
        let mut url = self.url("blobs/uploads/")?;
        url.query_pairs_mut()
            .append_pair("mount", &digest.to_string())
            .append_pair("from", from);
        let scopes = self.scopes.clone().and(from, Access::Pull.actions());
        let ask = Ask::new(Method::POST, url, subject).scopes(scopes);
        let answer = match self.ask(&ask).await {
            Ok(answer) => answer,
            Err(error) => {
                let is_lasting = [401, 403, 405, 501]
                    .iter()
                    .any(|status| error.is_status(*status));
                if is_lasting || matches!(error, RegistryError::Authentication { .. }) {
                    self.host.refuses_mounts(&self.name, from);
                    return Ok(Mount::NotMounted(None));
                }
                return if error.is_client_error() {
                    Ok(Mount::NotMounted(None))
                } else {
                    Err(error)
                };
            }
        };
        match answer.status() {
            StatusCode::CREATED => {
                check_digest(&answer, digest, subject)?;
                Ok(Mount::Mounted)
            }
            StatusCode::ACCEPTED => {
                let session = UploadSession::of(&self.host, &ask.named(), &answer)?;
                Ok(Mount::NotMounted(Some(session)))
            }
            _ => Ok(Mount::NotMounted(None)),
        }
    }

    /// Reads a manifest or an index by tag or digest; `None` if there is none. Its bytes have the digest that names
    /// them, or that the registry says.
    pub(crate) async fn manifest(
        &self,
        name: &str,
        subject: &Subject,
    ) -> Result<Option<StoredManifest>, RegistryError> {
        let media_types: Vec<&str> = MANIFEST_MEDIA_TYPES.iter().map(MediaType::as_str).collect();
        let mut headers = HeaderMap::new();
        if let Ok(accept) = HeaderValue::from_str(&media_types.join(", ")) {
            headers.insert(ACCEPT, accept);
        }
        let url = self.url(&format!("manifests/{name}"))?;
        let ask = Ask::new(Method::GET, url, subject).headers(headers);
        let mut tries = self.tries();
        loop {
            let failure = match self.send(&ask).await {
                Ok(answer) => match self.read_manifest(&ask, answer, name).await {
                    Ok(manifest) => return Ok(Some(manifest)),
                    Err(failure) => failure,
                },
                Err(failure) if failure.error.is_absent() => return Ok(None),
                Err(failure) => failure,
            };
            tries.again(failure).await?;
        }
    }

    async fn read_manifest(
        &self,
        ask: &Ask<'_>,
        mut answer: Response,
        name: &str,
    ) -> Result<StoredManifest, Failure> {
        let too_long = |found_bytes| {
            Failure::lasting(RegistryError::SizeDiffers {
                subject: Box::new(ask.subject.clone()),
                expected_bytes: MANIFEST_MAX_BYTES,
                found_bytes,
            })
        };
        let claimed_bytes = answer.content_length().unwrap_or_default();
        if claimed_bytes > MANIFEST_MAX_BYTES {
            return Err(too_long(claimed_bytes));
        }
        let headers = answer.headers().clone();
        let mut bytes = BytesMut::new();
        loop {
            match self.next_segment(&mut answer).await {
                Ok(Some(segment)) => bytes.extend_from_slice(&segment),
                Ok(None) => break,
                Err(error) => return Err(Failure::passing(ask.named().broken(error))),
            }
            if bytes.len() as u64 > MANIFEST_MAX_BYTES {
                return Err(too_long(bytes.len() as u64));
            }
        }
        let digest = Digest::of(&bytes);
        let claimed = headers.get(DOCKER_CONTENT_DIGEST);
        let claimed = claimed.map(|claimed| String::from_utf8_lossy(claimed.as_bytes()));
        let expected = match name.parse::<Digest>() {
            Ok(expected) => Some(expected.to_string().into()),
            // Another algorithm than ours says nothing about these bytes.
            Err(_) => claimed.filter(|claimed| claimed.starts_with("sha256:")),
        };
        if let Some(expected) = expected.filter(|expected| *expected != digest.to_string()) {
            // Cut short without a length, perhaps.
            return Err(Failure::passing(RegistryError::ContentDiffers {
                subject: Box::new(ask.subject.clone()),
                expected: expected.into_owned(),
                found: digest.to_string(),
            }));
        }
        let bytes = bytes.freeze();
        Ok(StoredManifest {
            digest,
            media_type: media_type_of(&bytes, &headers),
            bytes,
        })
    }

    /// Stores a manifest under its digest or a tag. The registry says what it stored, if it says anything.
    pub(crate) async fn put_manifest(
        &self,
        name: &str,
        media_type: &MediaType,
        manifest: &[u8],
        subject: &Subject,
    ) -> Result<(), RegistryError> {
        let url = self.url(&format!("manifests/{name}"))?;
        let mut headers = HeaderMap::new();
        if let Ok(media_type) = HeaderValue::from_str(media_type.as_str()) {
            headers.insert(CONTENT_TYPE, media_type);
        }
        let ask = Ask::new(Method::PUT, url, subject)
            .headers(headers)
            .payload(Payload::Bytes(Bytes::copy_from_slice(manifest)));
        match self.ask(&ask).await {
            Ok(answer) => {
                check_digest(&answer, Digest::of(manifest), subject)?;
                // Other good statuses come from registries and from whatever stands before them; only the former name
                // what they stored.
                let is_stored = answer.status() == StatusCode::CREATED
                    || answer.headers().contains_key(DOCKER_CONTENT_DIGEST);
                if is_stored {
                    return Ok(());
                }
                Err(ask.named().unexpected(201, &answer))
            }
            Err(RegistryError::Refused(refusal)) if refusal.misses_blobs() => {
                Err(RegistryError::BlobUnknown {
                    digests: refusal.digests.clone(),
                    refusal,
                })
            }
            Err(error) => Err(error),
        }
    }
}

/// What a manifest is.
fn media_type_of(bytes: &[u8], headers: &HeaderMap) -> MediaType {
    #[derive(Deserialize)]
    struct Kind {
        #[serde(rename = "mediaType")]
        media_type: Option<MediaType>,
    }
    let own = serde_json::from_slice::<Kind>(bytes).ok();
    let told = headers
        .get(CONTENT_TYPE)
        .and_then(|told| told.to_str().ok());
    let told = told.and_then(|told| told.split(';').next());
    own.and_then(|kind| kind.media_type)
        .or_else(|| Some(MediaType::from(told?.trim())))
        .unwrap_or(MediaType::OciManifest)
}

/// An error if a registry says that it has, or has stored, something else.
pub(crate) fn check_digest(
    answer: &Response,
    expected: Digest,
    subject: &Subject,
) -> Result<(), RegistryError> {
    let expected = expected.to_string();
    match answer.headers().get(DOCKER_CONTENT_DIGEST) {
        Some(found) if found.as_bytes() != expected.as_bytes() => {
            Err(RegistryError::DigestDiffers {
                subject: Box::new(subject.clone()),
                expected,
                found: String::from_utf8_lossy(found.as_bytes()).into_owned(),
            })
        }
        _ => Ok(()),
    }
}

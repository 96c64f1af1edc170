//! Blobs, read and held against what they should be.

use crate::repository::{Access, Repository};
use crate::request::Ask;
use crate::retry::Failure;
use crate::{Client, RegistryError, Subject};
use bytes::{Buf, Bytes};
use nixply_oci::{BlobHasher, Descriptor, Digest, ImageReference};
use reqwest::header::{CONTENT_RANGE, HeaderMap, HeaderValue, RANGE};
use reqwest::{Method, Response, StatusCode};
use std::io::{self, Read};

/// The bytes of a blob as they come, held against its descriptor. What breaks off goes on where it broke off.
#[derive(Debug)]
pub(crate) struct Blob {
    repository: Repository,
    digest: Digest,
    size_bytes: u64,
    subject: Subject,
    read_bytes: u64,
    hasher: BlobHasher,
    /// What is being read; `None` after it broke off.
    answer: Option<Response>,
    /// How many bytes at its start were read before.
    skip_bytes: u64,
    /// How often in a row nothing came.
    failures: u32,
    is_checked: bool,
}

impl Repository {
    /// Opens a blob.
    pub(crate) async fn blob(
        &self,
        digest: Digest,
        size_bytes: u64,
        subject: &Subject,
    ) -> Result<Blob, RegistryError> {
        let mut blob = Blob {
            repository: self.clone(),
            digest,
            size_bytes,
            subject: subject.clone(),
            read_bytes: 0,
            hasher: BlobHasher::new(),
            answer: None,
            skip_bytes: 0,
            failures: 0,
            is_checked: false,
        };
        blob.open().await?;
        Ok(blob)
    }
}

impl Blob {
    /// The next bytes; `None` at the end of a blob that is what its descriptor says.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, RegistryError> {
        while !self.is_checked {
            let Some(answer) = &mut self.answer else {
                self.open().await?;
                continue;
            };
            let is_delimited = answer.content_length().is_some();
            match self.repository.next_segment(answer).await {
                Ok(Some(segment)) => {
                    if let Some(segment) = self.take(segment)? {
                        return Ok(Some(segment));
                    }
                }
                Ok(None) if self.read_bytes == self.size_bytes => self.check_digest()?,
                // The registry takes this for all of the blob.
                Ok(None) if is_delimited => return Err(self.wrong_size()),
                Ok(None) => {
                    let eof = io::Error::from(io::ErrorKind::UnexpectedEof);
                    self.broke_off(eof.into()).await?;
                }
                Err(error) => self.broke_off(error).await?,
            }
        }
        Ok(None)
    }

    /// The part of a segment that was not read before.
    fn take(&mut self, mut segment: Bytes) -> Result<Option<Bytes>, RegistryError> {
        let skipped = usize::try_from(self.skip_bytes).unwrap_or(usize::MAX);
        let skipped = skipped.min(segment.len());
        segment.advance(skipped);
        self.skip_bytes -= skipped as u64;
        if segment.is_empty() {
            return Ok(None);
        }
        self.failures = 0;
        self.read_bytes += segment.len() as u64;
        if self.read_bytes > self.size_bytes {
            return Err(self.wrong_size());
        }
        self.hasher.update(&segment);
        Ok(Some(segment))
    }

    /// Asks for what was not read yet.
    async fn open(&mut self) -> Result<(), RegistryError> {
        let url = self.repository.url(&format!("blobs/{}", self.digest))?;
        let mut ask = Ask::new(Method::GET, url, &self.subject);
        if self.read_bytes > 0 {
            let mut headers = HeaderMap::new();
            let range = format!("bytes={}-", self.read_bytes);
            if let Ok(range) = HeaderValue::from_str(&range) {
                headers.insert(RANGE, range);
            }
            ask = ask.headers(headers);
        }
        let answer = self.repository.ask(&ask).await?;
        self.skip_bytes = if answer.status() == StatusCode::PARTIAL_CONTENT {
            let expected = format!("bytes {}-", self.read_bytes);
            let range = answer.headers().get(CONTENT_RANGE);
            let range = range
                .and_then(|range| range.to_str().ok())
                .unwrap_or("none");
            if !range.starts_with(&expected) {
                let problem = format!("expected Content-Range `{expected}…`, found `{range}`");
                return Err(ask.named().protocol(problem));
            }
            0
        } else {
            self.read_bytes
        };
        self.answer = Some(answer);
        Ok(())
    }

    async fn broke_off(
        &mut self,
        source: Box<dyn std::error::Error + Send + Sync>,
    ) -> Result<(), RegistryError> {
        self.answer = None;
        let error = RegistryError::Broken {
            subject: Box::new(self.subject.clone()),
            source,
            tries: 1,
        };
        let mut tries = self.repository.tries_after(self.failures);
        tries.again(Failure::passing(error)).await?;
        self.failures += 1;
        Ok(())
    }

    fn check_digest(&mut self) -> Result<(), RegistryError> {
        let (hash, _) = std::mem::take(&mut self.hasher).finish();
        let found = Digest::from_bytes(hash);
        if found == self.digest {
            self.is_checked = true;
            return Ok(());
        }
        Err(RegistryError::ContentDiffers {
            subject: Box::new(self.subject.clone()),
            expected: self.digest.to_string(),
            found: found.to_string(),
        })
    }

    fn wrong_size(&self) -> RegistryError {
        RegistryError::SizeDiffers {
            subject: Box::new(self.subject.clone()),
            expected_bytes: self.size_bytes,
            found_bytes: self.read_bytes,
        }
    }
}

/// A [`Blob`] for code that blocks.
pub(crate) struct BlobReader {
    client: Client,
    blob: Blob,
    segment: Bytes,
}

impl BlobReader {
    /// Opens a blob of a repository, to be read on the client's runtime.
    pub(crate) fn open(
        client: &Client,
        repository: &Repository,
        descriptor: &Descriptor,
        subject: &Subject,
    ) -> Result<Self, RegistryError> {
        let opened = repository.blob(descriptor.digest, descriptor.size_bytes, subject);
        Ok(Self {
            blob: client.runtime().block_on(opened)?,
            client: client.clone(),
            segment: Bytes::new(),
        })
    }
}

/// Opens the bytes of a layer that a repository has, without asking for an image that lists it. Bytes that do not have the
/// descriptor's size and digest end in an error that carries a [`RegistryError`].
///
/// # Panics
///
/// When it, or the reader, is used inside an asynchronous task of tokio.
pub fn open_layer(
    client: &Client,
    image: &ImageReference,
    layer: &Descriptor,
) -> Result<impl Read + use<>, RegistryError> {
    let repository = client.repository(image, Access::Pull)?;
    let subject = Subject::Layer {
        title: format!("of {image}"),
        digest: Some(layer.digest.into()),
    };
    BlobReader::open(client, &repository, layer, &subject)
}

impl Read for BlobReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.segment.is_empty() {
            match self.client.runtime().block_on(self.blob.next()) {
                Ok(Some(segment)) => self.segment = segment,
                Ok(None) => return Ok(0),
                Err(error) => return Err(io::Error::other(error)),
            }
        }
        let taken = out.len().min(self.segment.len());
        self.segment.copy_to_slice(&mut out[..taken]);
        Ok(taken)
    }
}

//! Blobs, read and held against what they should be.

use crate::{RegistryError, Subject};
use bytes::{Buf, Bytes};
use futures_util::StreamExt;
use oci_client::client::SizedStream;
use oci_client::errors::DigestError;
use std::io::{self, Read};
use tokio::runtime::Runtime;

/// The bytes of a blob as they come, held against its descriptor. oci-client holds them against the digest.
pub(crate) struct Blob {
    stream: SizedStream,
    subject: Subject,
    size_bytes: u64,
    read_bytes: u64,
}

impl Blob {
    /// Starts with nothing read.
    pub(crate) fn new(stream: SizedStream, size_bytes: u64, subject: Subject) -> Self {
        Self {
            stream,
            subject,
            size_bytes,
            read_bytes: 0,
        }
    }

    /// The next bytes; `None` at the end of a blob that is what its descriptor says.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, RegistryError> {
        let segment = match self.stream.stream.next().await {
            Some(Ok(segment)) => segment,
            Some(Err(error)) => return Err(self.failed(error)),
            None if self.read_bytes == self.size_bytes => return Ok(None),
            None => return Err(self.wrong_size()),
        };
        self.read_bytes += segment.len() as u64;
        if self.read_bytes > self.size_bytes {
            return Err(self.wrong_size());
        }
        Ok(Some(segment))
    }

    fn wrong_size(&self) -> RegistryError {
        RegistryError::SizeDiffers {
            subject: Box::new(self.subject.clone()),
            expected_bytes: self.size_bytes,
            found_bytes: self.read_bytes,
        }
    }

    fn failed(&self, error: io::Error) -> RegistryError {
        let subject = Box::new(self.subject.clone());
        let source = match error.into_inner() {
            Some(inner) => inner,
            None => "the connection broke".into(),
        };
        match source.downcast::<DigestError>() {
            Ok(error) => match *error {
                DigestError::VerificationError { expected, actual } => {
                    RegistryError::ContentDiffers {
                        subject,
                        expected,
                        found: actual,
                    }
                }
                other => RegistryError::Broken {
                    subject,
                    source: Box::new(other),
                },
            },
            Err(source) => match source.downcast::<reqwest::Error>() {
                Ok(error) => RegistryError::Broken {
                    subject,
                    source: Box::new(error.without_url()),
                },
                Err(source) => RegistryError::Broken { subject, source },
            },
        }
    }
}

/// A [`Blob`] for code that blocks.
pub(crate) struct BlobReader<'a> {
    runtime: &'a Runtime,
    blob: Blob,
    segment: Bytes,
}

impl<'a> BlobReader<'a> {
    /// Reads the blob on the runtime that opened it.
    pub(crate) fn new(runtime: &'a Runtime, blob: Blob) -> Self {
        Self {
            runtime,
            blob,
            segment: Bytes::new(),
        }
    }
}

impl Read for BlobReader<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.segment.is_empty() {
            match self.runtime.block_on(self.blob.next()) {
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

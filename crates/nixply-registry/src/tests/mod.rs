//! The client against registries: those of this process, real ones, and proxies that make faults.

mod authentication;
mod reads;
mod retries;
mod streams;
mod tls;
mod uploads;

use crate::buffer::{Part, StreamedLayer};
use crate::repository::{Access, Repository};
use crate::stream_upload::{Resume, StreamFailure};
use crate::{
    Client, ClientOptions, Credentials, FixedKeychain, RegistryError, RequestEvent,
    RequestObserver, Subject,
};
use bytes::Bytes;
use nixply_oci::{Digest, LayerRecord, MediaType};
use std::sync::{Arc, Mutex};
use tokio::sync::{mpsc, oneshot};

/// A user that registries of this process let in.
pub(super) fn ann() -> Credentials {
    Credentials::Basic {
        username: "ann".to_owned(),
        password: "correct horse".to_owned(),
    }
}

pub(super) fn client(credentials: Credentials, options: ClientOptions) -> Client {
    Client::new(Arc::new(FixedKeychain(credentials)), options).unwrap()
}

pub(super) fn anonymous() -> Client {
    client(Credentials::Anonymous, ClientOptions::default())
}

pub(super) fn repository(client: &Client, host: &str, name: &str) -> Repository {
    let reference = format!("{host}/{name}").parse().unwrap();
    client.repository(&reference, Access::Push).unwrap()
}

pub(super) fn subject() -> Subject {
    Subject::Registry {
        host: "test".to_owned(),
    }
}

/// Bytes without a pattern.
pub(super) fn noise(n_bytes: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let words = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.flatten().take(n_bytes).collect()
}

/// In segments, as the engine has them.
pub(super) fn segments(bytes: &[u8]) -> Vec<Bytes> {
    bytes.chunks(100_000).map(Bytes::copy_from_slice).collect()
}

/// Sends a blob; returns what was told of its bytes.
pub(super) async fn upload(repository: &Repository, bytes: &[u8]) -> Result<u64, RegistryError> {
    let (sent, mut told) = mpsc::unbounded_channel();
    let digest = Digest::of(bytes);
    repository
        .upload(digest, segments(bytes), None, &subject(), &sent)
        .await?;
    drop(sent);
    let mut sum = 0;
    while let Some(bytes) = told.recv().await {
        sum += bytes;
    }
    Ok(sum)
}

pub(super) fn record(bytes: &[u8]) -> LayerRecord {
    LayerRecord {
        diff_id: nixply_oci::DiffId::of(bytes),
        digest: nixply_oci::LayerDigest::of(bytes),
        size_bytes: bytes.len() as u64,
        media_type: MediaType::OciLayerTar,
    }
}

/// Makes a layer from an offset on, as a maker does.
pub(super) fn made(bytes: &[u8], from_bytes: u64) -> StreamedLayer {
    let from = usize::try_from(from_bytes).unwrap();
    let mut rest = segments(&bytes[from..]).into_iter();
    let first = rest.by_ref().take(2).collect();
    let (parts, receiver) = mpsc::channel(2);
    let (record_sender, record_receiver) = oneshot::channel();
    let record = record(bytes);
    tokio::spawn(async move {
        for segment in rest {
            if parts.send(Part::Bytes(segment)).await.is_err() {
                return;
            }
        }
        let _ = parts.send(Part::End).await;
        let _ = record_sender.send(record);
    });
    StreamedLayer {
        first,
        parts: receiver,
        record: record_receiver,
    }
}

/// What happened on the way to a layer in the registry.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Way {
    /// Where makers had to begin again.
    pub(super) resumed_at: Vec<u64>,
    /// How often the registry took another method.
    pub(super) refused_methods: usize,
    /// What was told of the bytes.
    pub(super) told_bytes: u64,
}

/// Sends a layer while it is made, again and again, as the engine does.
pub(super) async fn stream(repository: &Repository, bytes: &[u8]) -> Result<Way, RegistryError> {
    let (sent, mut told) = mpsc::unbounded_channel();
    let mut way = Way::default();
    let mut from: Option<Resume> = None;
    loop {
        let offset = from.as_ref().map_or(0, Resume::offset_bytes);
        let layer = made(bytes, offset);
        let result = repository
            .upload_stream(layer, from.take(), &subject(), &sent)
            .await;
        match result {
            Ok(found) => {
                assert_eq!(found, record(bytes));
                while let Ok(bytes) = told.try_recv() {
                    way.told_bytes += bytes;
                }
                return Ok(way);
            }
            Err(StreamFailure::Interrupted { resume, .. }) => {
                way.resumed_at.push(resume.offset_bytes());
                from = Some(resume);
            }
            Err(StreamFailure::MethodRefused { error }) => {
                way.refused_methods += 1;
                if way.refused_methods > 2 {
                    return Err(error);
                }
            }
            Err(StreamFailure::Fatal(error)) => return Err(error),
        }
    }
}

/// Keeps what is told of requests, as lines.
#[derive(Debug, Default)]
pub(super) struct Lines(Mutex<Vec<String>>);

impl Lines {
    pub(super) fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

impl RequestObserver for Lines {
    fn event(&self, event: &RequestEvent<'_>) {
        let line = match event {
            RequestEvent::Answered {
                method,
                url,
                status,
                ..
            } => format!("{method} {url} {status}"),
            RequestEvent::Failed {
                method,
                url,
                reason,
                ..
            } => format!("{method} {url} {reason}"),
            RequestEvent::Retrying {
                reason,
                failures,
                wait,
            } => format!("retry {failures} after {} ms: {reason}", wait.as_millis()),
        };
        self.0.lock().unwrap().push(line);
    }
}

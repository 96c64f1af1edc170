//! Bodies of requests that can be sent any number of times.

use crate::outgoing::{Meter, Outgoing, Progress};
use crate::repository::Repository;
use bytes::Bytes;
use futures_util::stream;
use reqwest::Body;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// How many bytes of a file are read at once.
const FILE_SEGMENT_BYTES: usize = 256 << 10;

/// A body that can be sent any number of times.
#[derive(Debug, Clone)]
pub(crate) enum Payload {
    /// None, but with its length, which some registries ask for.
    Empty,
    /// A short one.
    Bytes(Bytes),
    /// A blob in memory, or a part of one: where it begins, its segments, and who hears how far it is.
    Segments(u64, Vec<Bytes>, Arc<Meter>),
    /// A blob of so many bytes in a file.
    File(Arc<File>, u64, Arc<Meter>),
}

impl Payload {
    pub(crate) fn size_bytes(&self) -> u64 {
        match self {
            Self::Empty => 0,
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Segments(_, segments, _) => {
                segments.iter().map(|segment| segment.len() as u64).sum()
            }
            Self::File(_, size_bytes, _) => *size_bytes,
        }
    }

    pub(crate) fn body(&self, repository: &Repository) -> (Option<Body>, Arc<Progress>) {
        let progress = Progress::new();
        let shared = &repository.shared;
        let body = match self {
            Self::Empty => return (None, Progress::gone()),
            Self::Bytes(bytes) => {
                shared.counters.sent(bytes.len());
                return (Some(Body::from(bytes.clone())), Progress::gone());
            }
            Self::Segments(position, segments, meter) => {
                let segments = stream::iter(segments.clone().into_iter().map(Ok));
                let meter = Some(Arc::clone(meter));
                Body::wrap_stream(Outgoing::new(segments, *position, meter, &progress, shared))
            }
            Self::File(file, size_bytes, meter) => {
                let segments = Box::pin(file_segments(Arc::clone(file), *size_bytes));
                let meter = Some(Arc::clone(meter));
                Body::wrap_stream(Outgoing::new(segments, 0, meter, &progress, shared))
            }
        };
        (Some(body), progress)
    }
}

/// Reads a file from its start, by position: a file that is sent twice at once has one cursor.
fn file_segments(
    file: Arc<File>,
    size_bytes: u64,
) -> impl futures_util::Stream<Item = io::Result<Bytes>> {
    stream::try_unfold(0, move |position: u64| {
        let file = Arc::clone(&file);
        async move {
            let left = usize::try_from(size_bytes - position).unwrap_or(usize::MAX);
            if left == 0 {
                return Ok(None);
            }
            let read = move || {
                let mut segment = vec![0; left.min(FILE_SEGMENT_BYTES)];
                file.read_exact_at(&mut segment, position)?;
                io::Result::Ok(Bytes::from(segment))
            };
            let segment = tokio::task::spawn_blocking(read).await??;
            let next = position + segment.len() as u64;
            Ok(Some((segment, next)))
        }
    })
}

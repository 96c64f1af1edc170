//! Layers in chunks: requests of a few megabytes, each with its place in the layer.

use super::{Layer, StreamFailure, Streaming, end_of_range};
use crate::host::UploadMethod;
use crate::payload::Payload;
use crate::request::Ask;
use crate::retry::{Again, Failure};
use crate::upload::{UploadSession, blob_headers};
use bytes::Bytes;
use reqwest::header::{CONTENT_RANGE, HeaderValue};
use reqwest::{Method, StatusCode};
use std::io;
use std::sync::Arc;

/// How many bytes go into a chunk, except the last and where the registry wants more.
///
/// GHCR refuses chunks of 4 MiB (status 416). Whether it counts to 4,000,000 or to 4,194,304 was told differently
/// (ocx-sh/ocx#237); this is 15 segments of a layer, below both.
const CHUNK_BYTES: u64 = 15 * (256 << 10);

/// The largest chunk that is held in memory for a registry that wants no smaller ones.
const CHUNK_MAX_BYTES: u64 = 16 << 20;

impl Layer {
    /// Up to `size_bytes` or the layer's end, and whether that was reached.
    async fn next_chunk(&mut self, size_bytes: u64) -> io::Result<(Vec<Bytes>, bool)> {
        let mut chunk = Vec::new();
        let mut left = size_bytes;
        while left > 0 {
            let Some(mut segment) = self.next().await? else {
                return Ok((chunk, true));
            };
            let fits = usize::try_from(left).unwrap_or(usize::MAX);
            if segment.len() > fits {
                self.first.push_front(segment.split_off(fits));
            }
            left -= segment.len() as u64;
            chunk.push(segment);
        }
        Ok((chunk, false))
    }
}

impl Streaming<'_> {
    /// One PATCH after the other, with a length and a place in the layer.
    pub(super) async fn in_chunks(
        &self,
        mut session: UploadSession,
        layer: &mut Layer,
    ) -> Result<UploadSession, StreamFailure> {
        let chunk_bytes = CHUNK_BYTES.max(session.chunk_min_bytes);
        if chunk_bytes > CHUNK_MAX_BYTES {
            let ask = Ask::new(Method::PATCH, session.location, self.subject);
            let problem =
                format!("expected a registry that takes chunks of {CHUNK_MAX_BYTES} bytes");
            return Err(self.method_refused(UploadMethod::Chunked, ask.named().protocol(problem)));
        }
        let mut start = self.from_bytes;
        loop {
            let chunk = layer.next_chunk(chunk_bytes).await;
            let (chunk, is_last) = chunk.map_err(|_| self.maker_gave_up(&session))?;
            if !chunk.is_empty() {
                (session, start) = self.chunk(session, chunk, start).await?;
            }
            if is_last {
                return Ok(session);
            }
        }
    }

    /// Sends a chunk that begins at an offset of the layer, and returns the offset behind it.
    async fn chunk(
        &self,
        mut session: UploadSession,
        mut segments: Vec<Bytes>,
        mut start: u64,
    ) -> Result<(UploadSession, u64), StreamFailure> {
        let repository = self.repository;
        let end = start
            + segments
                .iter()
                .map(|segment| segment.len() as u64)
                .sum::<u64>();
        let mut tries = repository.tries_after(self.failures);
        loop {
            let mut headers = blob_headers();
            if let Ok(range) = HeaderValue::from_str(&format!("{start}-{}", end - 1)) {
                headers.insert(CONTENT_RANGE, range);
            }
            let payload = Payload::Segments(start, segments.clone(), Arc::clone(&self.meter));
            let ask = Ask::new(Method::PATCH, session.location.clone(), self.subject)
                .headers(headers)
                .payload(payload)
                .waits_for_storage();
            let failure = match repository.send(&ask).await {
                Ok(answer) if answer.status() == StatusCode::ACCEPTED => {
                    session = UploadSession::of(&repository.host, &ask.named(), &answer)?;
                    match end_of_range(answer.headers()) {
                        Some(reached) if reached < end => Failure::passing(ask.named().protocol(
                            format!("expected a range that ends at {end}, found {reached}"),
                        )),
                        _ => return Ok((session, end)),
                    }
                }
                Ok(answer) => return Err(ask.named().unexpected(202, &answer).into()),
                Err(failure) => failure,
            };
            let status = failure.status();
            if matches!(status, Some(400 | 405 | 411 | 413 | 415 | 501)) {
                return Err(self.method_refused(UploadMethod::Chunked, failure.error));
            }
            if status == Some(404) {
                return Err(self.unknown(UploadMethod::Chunked, failure).await);
            }
            let is_out_of_place = status == Some(416);
            if is_out_of_place && start == 0 {
                // There is no earlier place, so it is the size that is not wanted.
                return Err(self.method_refused(UploadMethod::Chunked, failure.error));
            }
            let again = if is_out_of_place {
                Again::Backoff
            } else {
                failure.again
            };
            let error = tries.again(Failure { again, ..failure }).await?;
            let Some((now, reached)) = self.status(&session).await? else {
                return Err(self.again_from_start(error));
            };
            session = now;
            if reached == end {
                return Ok((session, end));
            }
            if is_out_of_place && reached == start {
                return Err(self.method_refused(UploadMethod::Chunked, error));
            }
            if reached > end {
                return Err(self.again_from_start(error));
            }
            if reached < start {
                let failures = self.failures + 1;
                return Err(self.goes_on_at(Some(session), reached, failures, error));
            }
            skip(&mut segments, reached - start);
            start = reached;
        }
    }
}

/// Drops so many bytes at the start.
fn skip(segments: &mut Vec<Bytes>, n_bytes: u64) {
    let mut left = usize::try_from(n_bytes).unwrap_or(usize::MAX);
    segments.retain_mut(|segment| {
        let skipped = left.min(segment.len());
        left -= skipped;
        let _ = segment.split_to(skipped);
        !segment.is_empty()
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buffer::Part;
    use std::collections::VecDeque;
    use tokio::sync::mpsc;

    #[test]
    fn what_the_registry_has_is_cut_off() {
        let segments = || vec![Bytes::from_static(b"abc"), Bytes::from_static(b"defg")];
        for (n_bytes, expected) in [
            (0, "abcdefg"),
            (2, "cdefg"),
            (3, "defg"),
            (5, "fg"),
            (7, ""),
        ] {
            let mut left = segments();
            skip(&mut left, n_bytes);
            assert_eq!(left.concat(), expected.as_bytes());
        }
    }

    #[tokio::test]
    async fn chunks_are_of_the_size_asked_for_whatever_the_segments_are() {
        let (sender, parts) = mpsc::channel(8);
        let mut layer = Layer {
            first: VecDeque::from([Bytes::from_static(b"abcde")]),
            parts,
        };
        sender
            .send(Part::Bytes(Bytes::from_static(b"fg")))
            .await
            .unwrap();
        sender.send(Part::End).await.unwrap();
        let mut chunks = Vec::new();
        loop {
            let (chunk, is_last) = layer.next_chunk(3).await.unwrap();
            chunks.push(String::from_utf8(chunk.concat()).unwrap());
            if is_last {
                break;
            }
        }
        assert_eq!(chunks, ["abc", "def", "g"]);
        drop(sender);
        assert!(layer.next_chunk(3).await.is_err());
    }
}

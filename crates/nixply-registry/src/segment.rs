//! The buffers of what waits for the network. They go round.
//!
//! New ones would be taken from the system and given back all the time, page by page: a fortieth of the processor time of a push
//! with zstd's level 1 (`perf record`, docs/benchmarks.md).

use bytes::Bytes;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// The bytes that travel together: few enough for a smooth progress bar, many enough to cost nothing by themselves.
pub(crate) const SEGMENT_BYTES: usize = 256 << 10;

/// Buffers of [`SEGMENT_BYTES`] that nobody uses; clones share them. There are never more than were in use at once.
#[derive(Clone, Default)]
pub(crate) struct Segments(Arc<Mutex<Vec<Vec<u8>>>>);

impl Segments {
    /// An empty buffer.
    pub(crate) fn take(&self) -> Vec<u8> {
        let mut unused = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // The last one that was used is the most likely to be in a processor's cache.
        unused
            .pop()
            .unwrap_or_else(|| Vec::with_capacity(SEGMENT_BYTES))
    }

    /// The bytes of a filled buffer, which comes back here when nobody has them any more.
    pub(crate) fn freeze(&self, bytes: Vec<u8>) -> Bytes {
        Bytes::from_owner(Segment {
            bytes,
            home: self.clone(),
        })
    }
}

impl fmt::Debug for Segments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Segments").finish_non_exhaustive()
    }
}

struct Segment {
    bytes: Vec<u8>,
    home: Segments,
}

impl AsRef<[u8]> for Segment {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        let mut buffer = std::mem::take(&mut self.bytes);
        buffer.clear();
        let mut unused = self.home.0.lock().unwrap_or_else(PoisonError::into_inner);
        unused.push(buffer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_when_its_last_bytes_are_gone() {
        let segments = Segments::default();
        let mut buffer = segments.take();
        buffer.extend_from_slice(b"bytes");
        let place = buffer.as_ptr();
        let bytes = segments.freeze(buffer);
        let part = bytes.slice(1..3);
        drop(bytes);
        let other = segments.take();
        assert_ne!(other.as_ptr(), place);
        assert_eq!(part, b"yt".as_slice());
        drop(part);
        let again = segments.take();
        assert_eq!(again.as_ptr(), place);
        assert!(again.is_empty());
    }
}

//! Where a layer's bytes go while they are made: into memory first, and to the network once they are too many.
//!
//! Memory is bounded by construction. A [`LayerSink`] holds at most its budget and one segment; a layer that outgrows
//! it goes through a channel of [`CHANNEL_SEGMENTS`] segments, and its maker waits while that is full.

use bytes::{Bytes, BytesMut};
use nixply_oci::LayerRecord;
use std::io::{self, Write};
use tokio::sync::{mpsc, oneshot};

/// The bytes that travel together: few enough for a smooth progress bar, many enough to cost nothing by themselves.
pub(crate) const SEGMENT_BYTES: usize = 256 << 10;

/// How many segments wait between a layer's maker and the network.
const CHANNEL_SEGMENTS: usize = 4;

/// A part of a layer that is sent while it is made.
#[derive(Debug)]
pub(crate) enum Part {
    /// The next bytes.
    Bytes(Bytes),
    /// All bytes were sent. A channel that ends without this belongs to a layer whose maker failed.
    End,
}

/// A layer that is sent while it is made: its first bytes, and where the others and its record will come from.
#[derive(Debug)]
pub(crate) struct StreamedLayer {
    /// What was in memory when the layer outgrew its budget.
    pub(crate) first: Vec<Bytes>,
    /// The bytes that follow.
    pub(crate) parts: mpsc::Receiver<Part>,
    /// What the layer turned out to be; comes after [`Part::End`], or never if it may not be kept.
    pub(crate) record: oneshot::Receiver<LayerRecord>,
}

/// The maker's end of a [`StreamedLayer`].
struct Stream {
    parts: mpsc::Sender<Part>,
    record: oneshot::Sender<LayerRecord>,
}

/// What became of a layer's bytes once they were all written.
pub(crate) enum Written {
    /// All of them are here.
    InMemory(Vec<Bytes>),
    /// They went the way of the [`StreamedLayer`]; its receiver waits for the record.
    Streamed(oneshot::Sender<LayerRecord>),
}

/// Takes a layer's bytes from its maker.
pub(crate) struct LayerSink<'a> {
    segment: BytesMut,
    held: Vec<Bytes>,
    held_bytes: u64,
    budget_bytes: u64,
    stream: Option<Stream>,
    start_stream: &'a dyn Fn(StreamedLayer),
    is_over: &'a dyn Fn() -> bool,
    has_refused: bool,
}

impl<'a> LayerSink<'a> {
    /// Holds up to `budget_bytes`; calls `start_stream` once with what it holds when that is exceeded; fails as soon as
    /// `is_over` says that the push has ended.
    pub(crate) fn new(
        budget_bytes: u64,
        start_stream: &'a dyn Fn(StreamedLayer),
        is_over: &'a dyn Fn() -> bool,
    ) -> Self {
        Self {
            segment: BytesMut::new(),
            held: Vec::new(),
            held_bytes: 0,
            budget_bytes,
            stream: None,
            start_stream,
            is_over,
            has_refused: false,
        }
    }

    /// True once the sink has refused bytes: something else has ended the push.
    pub(crate) fn has_refused(&self) -> bool {
        self.has_refused
    }

    /// Ends the layer.
    pub(crate) fn finish(mut self) -> io::Result<Written> {
        self.end_segment()?;
        match self.stream {
            None => Ok(Written::InMemory(self.held)),
            Some(stream) => {
                stream.parts.blocking_send(Part::End).map_err(|_| over())?;
                Ok(Written::Streamed(stream.record))
            }
        }
    }

    fn take(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if (self.is_over)() {
            return Err(over());
        }
        let taken = bytes.len().min(SEGMENT_BYTES - self.segment.len());
        self.segment.extend_from_slice(&bytes[..taken]);
        if self.segment.len() == SEGMENT_BYTES {
            self.end_segment()?;
        }
        Ok(taken)
    }

    fn end_segment(&mut self) -> io::Result<()> {
        if self.segment.is_empty() {
            return Ok(());
        }
        let segment = self.segment.split().freeze();
        if let Some(stream) = &self.stream {
            return stream
                .parts
                .blocking_send(Part::Bytes(segment))
                .map_err(|_| over());
        }
        self.held_bytes += segment.len() as u64;
        self.held.push(segment);
        if self.held_bytes > self.budget_bytes {
            let (parts, parts_receiver) = mpsc::channel(CHANNEL_SEGMENTS);
            let (record, record_receiver) = oneshot::channel();
            self.stream = Some(Stream { parts, record });
            (self.start_stream)(StreamedLayer {
                first: std::mem::take(&mut self.held),
                parts: parts_receiver,
                record: record_receiver,
            });
        }
        Ok(())
    }
}

impl Write for LayerSink<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = self.take(bytes);
        self.has_refused |= taken.is_err();
        taken
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What a maker hears when something else has ended the push; nobody else hears it.
fn over() -> io::Error {
    io::Error::other("the push has ended")
}

#[cfg(test)]
mod tests {
    use super::*;
    use nixply_oci::{DiffId, LayerDigest, MediaType};
    use std::cell::RefCell;

    fn joined(segments: &[Bytes]) -> Vec<u8> {
        segments.concat()
    }

    #[test]
    fn a_layer_within_its_budget_stays_in_memory() {
        let bytes: Vec<u8> = (0..=255).cycle().take(2 * SEGMENT_BYTES).collect();
        let refuse = |_| panic!("it fits");
        let mut sink = LayerSink::new(bytes.len() as u64, &refuse, &|| false);
        for chunk in bytes.chunks(1000) {
            sink.write_all(chunk).unwrap();
        }
        let Written::InMemory(segments) = sink.finish().unwrap() else {
            panic!("it fits");
        };
        assert_eq!(joined(&segments), bytes);
    }

    #[test]
    fn a_larger_layer_waits_for_its_receiver() {
        let bytes: Vec<u8> = (0..=250).cycle().take(20 * SEGMENT_BYTES + 7).collect();
        let record = LayerRecord {
            diff_id: DiffId::of(&bytes),
            digest: LayerDigest::of(&bytes),
            size_bytes: bytes.len() as u64,
            media_type: MediaType::OciLayerTar,
        };
        let (streams, stream) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let start = |layer| streams.send(layer).unwrap();
                let mut sink = LayerSink::new(2 * SEGMENT_BYTES as u64, &start, &|| false);
                sink.write_all(&bytes).unwrap();
                let Written::Streamed(sender) = sink.finish().unwrap() else {
                    panic!("it does not fit");
                };
                sender.send(record.clone()).unwrap();
            });
            let mut layer: StreamedLayer = stream.recv().unwrap();
            assert_eq!(
                layer.first.len(),
                3,
                "the budget and the segment that exceeded it"
            );
            assert_eq!(layer.parts.max_capacity(), CHANNEL_SEGMENTS);
            let mut found = joined(&layer.first);
            while let Some(Part::Bytes(segment)) = layer.parts.blocking_recv() {
                found.extend_from_slice(&segment);
            }
            assert_eq!(found, bytes);
            assert_eq!(layer.record.blocking_recv().unwrap(), record);
        });
    }

    #[test]
    fn a_maker_hears_that_the_push_has_ended() {
        let mut sink = LayerSink::new(1 << 20, &|_| (), &|| true);
        assert!(!sink.has_refused());
        assert!(sink.write_all(b"x").is_err());
        assert!(sink.has_refused());

        let kept = RefCell::new(None);
        let start = |layer| *kept.borrow_mut() = Some(layer);
        let mut sink = LayerSink::new(0, &start, &|| false);
        let segment = vec![0; SEGMENT_BYTES];
        sink.write_all(&segment).unwrap();
        drop(kept.take());
        assert!(sink.write_all(&segment).is_err());
    }
}

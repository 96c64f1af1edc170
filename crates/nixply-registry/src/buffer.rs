//! Where a layer's bytes go while they are made: into memory first, and to the network once they are too many.
//!
//! Memory is bounded by construction. A [`LayerSink`] holds at most its budget and one segment; a layer that outgrows
//! it goes through a channel of [`CHANNEL_SEGMENTS`] segments, and its maker waits while that is full; or into a file.

use crate::engine::{Spool, SpooledLayer};
use crate::segment::{SEGMENT_BYTES, Segments};
use bytes::Bytes;
use nixply_oci::LayerRecord;
use std::io::{self, Write};
use tokio::sync::{mpsc, oneshot};

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

impl StreamedLayer {
    /// A layer of which every byte is in memory.
    pub(crate) fn whole(record: LayerRecord, segments: Vec<Bytes>) -> Self {
        let (parts_sender, parts) = mpsc::channel(1);
        let (record_sender, record_receiver) = oneshot::channel();
        // Neither fails: there is room, and both receivers are here.
        let _ = parts_sender.try_send(Part::End);
        let _ = record_sender.send(record);
        Self {
            first: segments,
            parts,
            record: record_receiver,
        }
    }
}

/// The maker's end of a [`StreamedLayer`].
struct Stream {
    parts: mpsc::Sender<Part>,
    record: oneshot::Sender<LayerRecord>,
}

/// What becomes of a layer that outgrows its memory.
pub(crate) enum Overflow<'a> {
    /// It is sent while it is made.
    Stream(Box<dyn FnOnce(StreamedLayer) + 'a>),
    /// It goes into an unlinked temporary file, or nowhere if there is no room.
    Spool(&'a Spool),
    /// Nobody wants its bytes, only its record.
    Drop,
}

/// What became of a layer's bytes once they were all written.
pub(crate) enum Written {
    /// All of them are here.
    InMemory(Vec<Bytes>),
    /// They went the way of the [`StreamedLayer`]; its receiver waits for the end, then for the record.
    Streamed(StreamEnd),
    /// They are in a file.
    Spooled(SpooledLayer),
    /// They are nowhere.
    Dropped,
}

/// The last words of a maker to the receiver of a [`StreamedLayer`]. Dropped unsaid, they break the upload off.
pub(crate) struct StreamEnd(Stream);

impl StreamEnd {
    /// The layer is whole, and is this.
    pub(crate) fn tell(self, record: LayerRecord) {
        // The receiver is gone only if its upload has failed and tells why.
        if self.0.parts.blocking_send(Part::End).is_ok() {
            let _ = self.0.record.send(record);
        }
    }
}

enum Place {
    Memory(Vec<Bytes>),
    Stream(Stream),
    File(SpooledLayer),
    Nowhere,
}

/// Takes a layer's bytes from its maker.
pub(crate) struct LayerSink<'a> {
    segments: Segments,
    /// The bytes that come next, until they fill a segment.
    segment: Vec<u8>,
    place: Place,
    held_bytes: u64,
    budget_bytes: u64,
    /// How many bytes at the beginning the registry has already.
    skip_bytes: u64,
    overflow: Option<Overflow<'a>>,
    is_over: &'a dyn Fn() -> bool,
    has_refused: bool,
}

impl<'a> LayerSink<'a> {
    /// Takes its buffers from `segments`. Leaves out the first `skip_bytes`, holds up to `budget_bytes`, and does what `overflow` says once that is
    /// exceeded; fails as soon as `is_over` says that the push has ended.
    pub(crate) fn new(
        segments: Segments,
        skip_bytes: u64,
        budget_bytes: u64,
        overflow: Overflow<'a>,
        is_over: &'a dyn Fn() -> bool,
    ) -> Self {
        let mut sink = Self {
            segments,
            segment: Vec::new(),
            place: match overflow {
                Overflow::Drop => Place::Nowhere,
                _ => Place::Memory(Vec::new()),
            },
            held_bytes: 0,
            budget_bytes,
            skip_bytes,
            overflow: Some(overflow),
            is_over,
            has_refused: false,
        };
        // The rest of a layer that outgrew its memory before, down to no byte at all, goes the same way again.
        if skip_bytes > 0
            && let Some(Overflow::Stream(start)) = sink.overflow.take()
        {
            sink.place = Place::Stream(start_stream(Vec::new(), start));
        }
        sink
    }

    /// True once the sink has refused bytes: something else has ended the push, or the upload of this layer.
    pub(crate) fn has_refused(&self) -> bool {
        self.has_refused
    }

    /// Ends the layer.
    pub(crate) fn finish(mut self) -> io::Result<Written> {
        self.end_segment()?;
        Ok(match self.place {
            Place::Memory(segments) => Written::InMemory(segments),
            Place::Stream(stream) => Written::Streamed(StreamEnd(stream)),
            Place::File(file) => Written::Spooled(file),
            Place::Nowhere => Written::Dropped,
        })
    }

    fn take(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if (self.is_over)() {
            return Err(over());
        }
        if matches!(self.place, Place::Nowhere) {
            return Ok(bytes.len());
        }
        if self.skip_bytes > 0 {
            let skipped = bytes
                .len()
                .min(usize::try_from(self.skip_bytes).unwrap_or(usize::MAX));
            self.skip_bytes -= skipped as u64;
            return Ok(skipped);
        }
        if self.segment.is_empty() {
            self.segment = self.segments.take();
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
        let segment = self.segments.freeze(std::mem::take(&mut self.segment));
        match &mut self.place {
            Place::Stream(stream) => {
                return stream
                    .parts
                    .blocking_send(Part::Bytes(segment))
                    .map_err(|_| over());
            }
            Place::File(file) => {
                if !file.write(&segment) {
                    self.place = Place::Nowhere;
                }
                return Ok(());
            }
            Place::Nowhere => return Ok(()),
            Place::Memory(held) => {
                self.held_bytes += segment.len() as u64;
                held.push(segment);
            }
        }
        if self.held_bytes > self.budget_bytes {
            self.overflow();
        }
        Ok(())
    }

    fn overflow(&mut self) {
        let Place::Memory(held) = std::mem::replace(&mut self.place, Place::Nowhere) else {
            return;
        };
        match self.overflow.take() {
            Some(Overflow::Stream(start)) => self.place = Place::Stream(start_stream(held, start)),
            Some(Overflow::Spool(spool)) => {
                let Some(mut file) = spool.start() else {
                    return;
                };
                for segment in held {
                    if !file.write(&segment) {
                        return;
                    }
                }
                self.place = Place::File(file);
            }
            Some(Overflow::Drop) | None => {}
        }
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

fn start_stream(first: Vec<Bytes>, start: Box<dyn FnOnce(StreamedLayer) + '_>) -> Stream {
    let (parts, parts_receiver) = mpsc::channel(CHANNEL_SEGMENTS);
    let (record, record_receiver) = oneshot::channel();
    start(StreamedLayer {
        first,
        parts: parts_receiver,
        record: record_receiver,
    });
    Stream { parts, record }
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
    use std::io::Read;

    fn joined(segments: &[Bytes]) -> Vec<u8> {
        segments.concat()
    }

    fn record_of(bytes: &[u8]) -> LayerRecord {
        LayerRecord {
            diff_id: DiffId::of(bytes),
            digest: LayerDigest::of(bytes),
            size_bytes: bytes.len() as u64,
            media_type: MediaType::OciLayerTar,
        }
    }

    fn refuse<'a>() -> Overflow<'a> {
        Overflow::Stream(Box::new(|_| panic!("it fits")))
    }

    #[test]
    fn a_layer_within_its_budget_stays_in_memory() {
        let bytes: Vec<u8> = (0..=255).cycle().take(2 * SEGMENT_BYTES).collect();
        let mut sink = LayerSink::new(
            Segments::default(),
            0,
            bytes.len() as u64,
            refuse(),
            &|| false,
        );
        for chunk in bytes.chunks(1000) {
            sink.write_all(chunk).unwrap();
        }
        let Written::InMemory(segments) = sink.finish().unwrap() else {
            panic!("it fits");
        };
        assert_eq!(joined(&segments), bytes);
    }

    #[test]
    fn what_the_registry_has_is_left_out() {
        let bytes: Vec<u8> = (0..=255).cycle().take(3 * SEGMENT_BYTES).collect();
        for skip in [SEGMENT_BYTES + 77, bytes.len()] {
            let kept = RefCell::new(None);
            let start = Overflow::Stream(Box::new(|layer| *kept.borrow_mut() = Some(layer)));
            let mut sink =
                LayerSink::new(Segments::default(), skip as u64, u64::MAX, start, &|| false);
            let mut layer = kept.take().unwrap();
            for chunk in bytes.chunks(1000) {
                sink.write_all(chunk).unwrap();
            }
            let Written::Streamed(end) = sink.finish().unwrap() else {
                panic!("it is a rest");
            };
            end.tell(record_of(&bytes));
            let mut found = joined(&layer.first);
            while let Some(Part::Bytes(segment)) = layer.parts.blocking_recv() {
                found.extend_from_slice(&segment);
            }
            assert_eq!(found, bytes[skip..]);
        }
    }

    #[test]
    fn a_larger_layer_waits_for_its_receiver() {
        let bytes: Vec<u8> = (0..=250).cycle().take(20 * SEGMENT_BYTES + 7).collect();
        let record = record_of(&bytes);
        let (streams, stream) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let start = Overflow::Stream(Box::new(|layer| streams.send(layer).unwrap()));
                let mut sink = LayerSink::new(
                    Segments::default(),
                    0,
                    2 * SEGMENT_BYTES as u64,
                    start,
                    &|| false,
                );
                sink.write_all(&bytes).unwrap();
                let Written::Streamed(end) = sink.finish().unwrap() else {
                    panic!("it does not fit");
                };
                end.tell(record.clone());
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
    fn a_larger_layer_is_spooled_while_there_is_room() {
        let bytes: Vec<u8> = (0..=250).cycle().take(9 * SEGMENT_BYTES + 7).collect();
        let dir = std::env::temp_dir();
        for (budget_bytes, fits) in [(bytes.len() as u64, true), (bytes.len() as u64 - 1, false)] {
            let spool = Spool::new(Some(dir.clone()), budget_bytes);
            let mut sink =
                LayerSink::new(Segments::default(), 0, 0, Overflow::Spool(&spool), &|| {
                    false
                });
            sink.write_all(&bytes).unwrap();
            match sink.finish().unwrap() {
                Written::Spooled(layer) => {
                    assert!(fits);
                    let mut found = Vec::new();
                    layer.open().unwrap().read_to_end(&mut found).unwrap();
                    assert_eq!(found, bytes);
                    assert_eq!(spool.used_bytes(), bytes.len() as u64);
                }
                Written::Dropped => assert!(!fits),
                _ => panic!("it was to be spooled"),
            }
            assert_eq!(spool.used_bytes(), 0, "room is given back");
        }
    }

    #[test]
    fn a_directory_that_cannot_be_used_is_like_none() {
        let dir = std::env::temp_dir().join("nixply/is/not/here");
        let spool = Spool::new(Some(dir), u64::MAX);
        let mut sink = LayerSink::new(Segments::default(), 0, 0, Overflow::Spool(&spool), &|| {
            false
        });
        sink.write_all(&vec![1; 2 * SEGMENT_BYTES]).unwrap();
        assert!(matches!(sink.finish().unwrap(), Written::Dropped));
    }

    #[test]
    fn a_maker_hears_that_the_push_has_ended() {
        let mut sink = LayerSink::new(Segments::default(), 0, 1 << 20, refuse(), &|| true);
        assert!(!sink.has_refused());
        assert!(sink.write_all(b"x").is_err());
        assert!(sink.has_refused());

        let kept = RefCell::new(None);
        let start = Overflow::Stream(Box::new(|layer| *kept.borrow_mut() = Some(layer)));
        let mut sink = LayerSink::new(Segments::default(), 0, 0, start, &|| false);
        let segment = vec![0; SEGMENT_BYTES];
        sink.write_all(&segment).unwrap();
        drop(kept.take());
        assert!(sink.write_all(&segment).is_err());
    }
}

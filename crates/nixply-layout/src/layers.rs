//! The layers of an image, made in parallel and handed out bottom first, for sinks that have to know a layer's size before
//! its first byte.

use crate::compression::{Uncompress, is_plain};
use crate::pipeline::{Pace, Stop, make_in_order};
use crate::report::WriteObserver;
use crate::spool::{MemoryBudget, Overflow, SpoolWriter, Spooled};
use crate::{LayoutError, WriteOptions};
use nixply_oci::{Image, Layer, LayerError, LayerRecord};
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;

/// Layers that may be made or wait, for each worker: more waits longer and ends no sooner (simulation of 39 plans in
/// `docs/decisions/0005-archive.md`).
const LOOK_AHEAD_PER_JOB: usize = 4;

/// The form in which a sink takes layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LayerForm {
    /// As their makers compress them.
    AsMade,
    /// Uncompressed.
    Tar,
}

/// A layer whose bytes can be written.
pub(crate) struct ReadyLayer<'a> {
    pub(crate) layer_idx: usize,
    pub(crate) layer: &'a dyn Layer,
    pub(crate) record: LayerRecord,
    /// The number of bytes in the form asked for.
    pub(crate) size_bytes: u64,
    /// None where the bytes have to be made (again).
    bytes: Option<Spooled<'a>>,
}

impl ReadyLayer<'_> {
    /// Writes the layer's bytes, exactly [`ReadyLayer::size_bytes`] of them.
    pub(crate) fn copy_to(
        self,
        out: &mut dyn Write,
        observer: &dyn WriteObserver,
    ) -> Result<(), LayoutError> {
        if let Some(bytes) = self.bytes {
            return bytes.copy_to(out);
        }
        let mut out = AtMost {
            out,
            left_bytes: self.size_bytes,
        };
        let mut sink = LayerSink {
            out: &mut out,
            layer_idx: self.layer_idx,
            observer,
        };
        let record = write_layer(self.layer_idx, self.layer, &mut sink)?;
        check_same(self.layer_idx, self.layer, &self.record, &record)
    }
}

enum Made<'a> {
    /// A layer of its own.
    Layer {
        record: LayerRecord,
        size_bytes: u64,
        bytes: Option<Spooled<'a>>,
    },
    /// The same as this lower layer.
    SameAs(usize),
}

/// Makes every layer and gives it to `hand_out`, bottom first.
pub(crate) fn for_each_layer(
    image: &dyn Image,
    form: LayerForm,
    options: &WriteOptions,
    observer: &dyn WriteObserver,
    mut hand_out: impl FnMut(ReadyLayer<'_>) -> Result<(), LayoutError>,
) -> Result<(), LayoutError> {
    let layers = image.layers();
    let twins = lower_twins(layers);
    let weights: Vec<u64> = layers.iter().map(|layer| layer.weight_bytes()).collect();
    let budget = MemoryBudget::new(options.memory_budget_bytes);
    let pace = Pace {
        jobs: options.jobs,
        look_ahead: options.jobs.max(1).saturating_mul(LOOK_AHEAD_PER_JOB),
    };
    let make = |layer_idx: usize, stop: &Stop| {
        if let Some(twin) = twins[layer_idx] {
            return Ok(Made::SameAs(twin));
        }
        let maker = LayerMaker {
            layer_idx,
            layer: &*layers[layer_idx],
            form,
            observer,
        };
        maker.make(&budget, &options.spool_dir, stop)
    };
    // Of every layer handed out: its record and its size in the form asked for.
    let mut done: Vec<(LayerRecord, u64)> = Vec::with_capacity(layers.len());
    make_in_order(&weights, pace, &make, |layer_idx, made| {
        let (record, size_bytes, bytes) = match made {
            Made::Layer {
                record,
                size_bytes,
                bytes,
            } => (record, size_bytes, bytes),
            Made::SameAs(twin) => {
                let (record, size_bytes) = done[twin].clone();
                (record, size_bytes, None)
            }
        };
        done.push((record.clone(), size_bytes));
        hand_out(ReadyLayer {
            layer_idx,
            layer: &*layers[layer_idx],
            record,
            size_bytes,
            bytes,
        })
    })
}

/// Of each layer, the lowest layer below it that is surely the same: it has the same key, or both are known and equal.
pub(crate) fn lower_twins(layers: &[Box<dyn Layer>]) -> Vec<Option<usize>> {
    let mut by_key = BTreeMap::new();
    let mut by_digest = BTreeMap::new();
    layers
        .iter()
        .enumerate()
        .map(|(layer_idx, layer)| {
            let first_of_key = layer
                .key()
                .map(|key| *by_key.entry(key).or_insert(layer_idx));
            let first_of_digest = layer
                .known()
                .map(|record| *by_digest.entry(record.digest).or_insert(layer_idx));
            first_of_key
                .into_iter()
                .chain(first_of_digest)
                .min()
                .filter(|first| *first < layer_idx)
        })
        .collect()
}

/// A layer that is to wait for its turn.
struct LayerMaker<'l> {
    layer_idx: usize,
    layer: &'l dyn Layer,
    form: LayerForm,
    observer: &'l dyn WriteObserver,
}

impl LayerMaker<'_> {
    fn make<'a>(
        &self,
        budget: &'a MemoryBudget,
        spool_dir: &'a Path,
        stop: &Stop,
    ) -> Result<Made<'a>, LayoutError> {
        let Self {
            layer_idx, layer, ..
        } = *self;
        self.observer
            .layer_started(layer_idx, &layer.title(), layer.weight_bytes());
        let known = layer.known();
        let is_plain = is_plain(&layer.media_type());
        if let Some(record) = known.clone().filter(|_| is_plain) {
            // Without compression, making it while it is written costs no more than keeping it.
            return Ok(Made::Layer {
                size_bytes: record.size_bytes,
                record,
                bytes: None,
            });
        }
        let overflow = if is_plain {
            Overflow::Drop
        } else {
            Overflow::Spool(spool_dir)
        };
        let mut spool = SpoolWriter::new(budget, overflow, stop);
        let record = self.write_in_form(&mut spool)?;
        if let Some(known) = known {
            check_same(layer_idx, layer, &known, &record)?;
        }
        let bytes = spool.finish();
        Ok(Made::Layer {
            record,
            size_bytes: bytes.size_bytes(),
            bytes: bytes.is_here().then_some(bytes),
        })
    }

    fn write_in_form(&self, out: &mut dyn Write) -> Result<LayerRecord, LayoutError> {
        let Self {
            layer_idx, layer, ..
        } = *self;
        let mut uncompress;
        let out = match self.form {
            LayerForm::AsMade => out,
            LayerForm::Tar => {
                uncompress = Uncompress::new(&layer.media_type(), out).ok_or_else(|| {
                    LayoutError::LayerCompression {
                        layer_idx,
                        title: layer.title(),
                        media_type: layer.media_type(),
                    }
                })?;
                &mut uncompress
            }
        };
        let mut sink = LayerSink {
            out,
            layer_idx,
            observer: self.observer,
        };
        let record = write_layer(layer_idx, layer, &mut sink)?;
        sink.flush()
            .map_err(|error| layer_error(layer_idx, layer, LayerError::Sink(error)))?;
        Ok(record)
    }
}

/// Makes a layer's bytes as they are.
pub(crate) fn write_layer(
    layer_idx: usize,
    layer: &dyn Layer,
    out: &mut dyn Write,
) -> Result<LayerRecord, LayoutError> {
    layer
        .write_blob(out)
        .map_err(|source| layer_error(layer_idx, layer, source))
}

fn layer_error(layer_idx: usize, layer: &dyn Layer, source: LayerError) -> LayoutError {
    LayoutError::Layer {
        layer_idx,
        title: layer.title(),
        source,
    }
}

/// Compares what a layer was known to be with what it is.
pub(crate) fn check_same(
    layer_idx: usize,
    layer: &dyn Layer,
    expected: &LayerRecord,
    found: &LayerRecord,
) -> Result<(), LayoutError> {
    if expected == found {
        return Ok(());
    }
    Err(LayoutError::LayerChanged {
        layer_idx,
        title: layer.title(),
        expected: expected.digest,
        expected_bytes: expected.size_bytes,
        found: found.digest,
        found_bytes: found.size_bytes,
    })
}

/// Tells the observer of every byte that passes.
pub(crate) struct LayerSink<'a> {
    pub(crate) out: &'a mut dyn Write,
    pub(crate) layer_idx: usize,
    pub(crate) observer: &'a dyn WriteObserver,
}

impl Write for LayerSink<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.out.write(bytes)?;
        self.observer.layer_bytes(self.layer_idx, n as u64);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Keeps a layer that grew from writing over what follows it in the archive.
struct AtMost<'a> {
    out: &'a mut dyn Write,
    left_bytes: u64,
}

impl Write for AtMost<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() as u64 > self.left_bytes {
            return Err(io::Error::other("the layer is longer than before"));
        }
        let n = self.out.write(bytes)?;
        self.left_bytes -= n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

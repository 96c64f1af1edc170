//! The threads that make layers, and the queue before them: the biggest layer first.

use super::counted::Counted;
use super::spool::{Spool, SpooledLayer};
use crate::buffer::{LayerSink, Overflow, StreamedLayer, Written};
use crate::segment::Segments;
use crate::{PushEvent, PushObserver, PushOptions, RegistryError};
use bytes::Bytes;
use nixply_oci::{Image, LayerRecord};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

/// What is to become of a layer's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// They are kept in memory, or sent while they are made where they are too many. The registry has the first
    /// `skip_bytes` already.
    Send {
        /// Not to be sent again.
        skip_bytes: u64,
    },
    /// They are kept in memory, or in a file where they are too many.
    Keep,
    /// Only the record is wanted.
    Learn,
}

/// What came of making a layer.
pub(crate) enum Made {
    /// All of it is in memory.
    InMemory(LayerRecord, Vec<Bytes>),
    /// It is being made.
    Streaming(StreamedLayer),
    /// All of it is in a file.
    Spooled(LayerRecord, SpooledLayer),
    /// Only its record is here.
    Learnt(LayerRecord),
}

/// A layer to make.
struct Job {
    weight_bytes: u64,
    layer_idx: usize,
    purpose: Purpose,
    /// What the layer is to be. One that is sent while it is made and comes out otherwise breaks its upload off.
    expected: Option<LayerRecord>,
    reply: oneshot::Sender<Made>,
}

impl Job {
    fn rank(&self) -> (u64, Reverse<usize>) {
        (self.weight_bytes, Reverse(self.layer_idx))
    }
}

impl PartialEq for Job {
    fn eq(&self, other: &Self) -> bool {
        self.rank() == other.rank()
    }
}

impl Eq for Job {}

impl PartialOrd for Job {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Job {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.rank().cmp(&other.rank())
    }
}

#[derive(Default)]
struct State {
    jobs: BinaryHeap<Job>,
    is_over: bool,
    failure: Option<RegistryError>,
    /// Layers that came out otherwise than expected while they were sent.
    surprises: BTreeMap<usize, LayerRecord>,
}

impl State {
    /// Why a maker went away without its layer.
    fn failure_or_panic(&mut self) -> RegistryError {
        let unknown = || RegistryError::Client("a thread of the push panicked".into());
        self.failure.take().unwrap_or_else(unknown)
    }
}

/// The queue between a push and the threads that make its layers.
pub(crate) struct Makers<'a> {
    image: &'a dyn Image,
    observer: &'a dyn PushObserver,
    options: &'a PushOptions<'a>,
    spool: Spool,
    segments: Segments,
    state: Mutex<State>,
    changed: Condvar,
}

impl<'a> Makers<'a> {
    /// Starts with nothing to do.
    pub(crate) fn new(
        image: &'a dyn Image,
        options: &'a PushOptions<'a>,
        observer: &'a dyn PushObserver,
        spool: Spool,
    ) -> Self {
        Self {
            image,
            options,
            observer,
            spool,
            segments: Segments::default(),
            state: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    /// Has a layer made.
    pub(crate) async fn make(
        &self,
        layer_idx: usize,
        purpose: Purpose,
        expected: Option<LayerRecord>,
    ) -> Result<Made, RegistryError> {
        let (reply, made) = oneshot::channel();
        {
            let mut state = self.lock();
            if state.is_over {
                return Err(state.failure_or_panic());
            }
            state.jobs.push(Job {
                weight_bytes: self.image.layers()[layer_idx].weight_bytes(),
                layer_idx,
                purpose,
                expected,
                reply,
            });
        }
        self.changed.notify_one();
        match made.await {
            Ok(made) => Ok(made),
            Err(_) => Err(self.lock().failure_or_panic()),
        }
    }

    /// Why a layer could not be made, where that is why its upload broke off.
    pub(crate) fn take_failure(&self) -> Option<RegistryError> {
        self.lock().failure.take()
    }

    /// What a layer came out as that was not what was expected, where that is why its upload broke off.
    pub(crate) fn take_surprise(&self, layer_idx: usize) -> Option<LayerRecord> {
        self.lock().surprises.remove(&layer_idx)
    }

    /// Sends every thread home, in the middle of a layer too.
    pub(crate) fn end(&self) {
        let mut state = self.lock();
        state.is_over = true;
        state.jobs.clear();
        self.changed.notify_all();
    }

    /// What one thread does until [`Makers::end`].
    pub(crate) fn work(&self) {
        while let Some(job) = self.next() {
            self.run(job);
        }
    }

    fn next(&self) -> Option<Job> {
        let mut state = self.lock();
        loop {
            if state.is_over {
                return None;
            }
            if let Some(job) = state.jobs.pop() {
                return Some(job);
            }
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn run(&self, job: Job) {
        let layer_idx = job.layer_idx;
        let layer = &self.image.layers()[layer_idx];
        let title = layer.title();
        self.observer.event(&PushEvent::LayerStarted {
            layer_idx,
            title: &title,
            weight_bytes: layer.weight_bytes(),
        });
        let reply = std::cell::RefCell::new(Some(job.reply));
        let answer = |made| {
            if let Some(reply) = reply.take() {
                // Nobody waits any more when the push has ended.
                let _ = reply.send(made);
            }
        };
        let is_over = || self.lock().is_over;
        let start_stream = Box::new(|layer| answer(Made::Streaming(layer)));
        let budget_bytes = self.options.layer_memory_budget_bytes;
        let (skip_bytes, budget_bytes, overflow) = match job.purpose {
            Purpose::Send { skip_bytes } => {
                let overflow = Overflow::Stream(start_stream);
                (skip_bytes, budget_bytes, overflow)
            }
            Purpose::Keep => (0, budget_bytes, Overflow::Spool(&self.spool)),
            Purpose::Learn => (0, 0, Overflow::Drop),
        };
        let mut sink = LayerSink::new(
            self.segments.clone(),
            skip_bytes,
            budget_bytes,
            overflow,
            &is_over,
        );
        let tell = |bytes| {
            let event = PushEvent::BytesMade { layer_idx, bytes };
            self.observer.event(&event);
        };
        let made = layer.write_blob(&mut Counted::new(&mut sink, &tell));
        let record = match made {
            Ok(record) => record,
            // What the sink refuses has its reason elsewhere, and whoever has the reason tells it.
            Err(_) if sink.has_refused() => return,
            Err(source) => return self.fail(RegistryError::Layer { title, source }),
        };
        let Ok(written) = sink.finish() else { return };
        // Before the registry has all of it: a push that ends now finds it there the next time.
        if let (Some(records), Some(key)) = (self.options.records, layer.key()) {
            records.remember(&[(key, record.clone())]);
        }
        self.observer.event(&PushEvent::LayerMade {
            layer_idx,
            size_bytes: record.size_bytes,
        });
        match written {
            Written::InMemory(segments) => answer(Made::InMemory(record, segments)),
            Written::Spooled(file) => answer(Made::Spooled(record, file)),
            Written::Dropped => answer(Made::Learnt(record)),
            Written::Streamed(end) => match job.expected {
                Some(expected) if expected != record => {
                    self.lock().surprises.insert(layer_idx, record);
                }
                _ => end.tell(record),
            },
        }
    }

    fn fail(&self, error: RegistryError) {
        self.lock().failure.get_or_insert(error);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // What a thread that panicked had to say is missed by whoever waits for it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
